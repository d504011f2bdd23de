// SPDX-License-Identifier: Apache-2.0
// Names the launchers for Python.
#include "kernels.cuh"

EMULATED_LAUNCHER(block_sum, warphash::demo::block_sum);
EMULATED_LAUNCHER(scan, warphash::demo::scan);
EMULATED_LAUNCHER(histogram, warphash::demo::histogram);
EMULATED_LAUNCHER(hamming_topk, warphash::demo::hamming_topk);
EMULATED_LAUNCHER(hamming_tiles, warphash::demo::hamming_tiles);
EMULATED_LAUNCHER(tile_s8, warphash::demo::tile_s8);
EMULATED_LAUNCHER(tile_u8_s8, warphash::demo::tile_u8_s8);
EMULATED_LAUNCHER(tile_bf16, warphash::demo::tile_bf16);
EMULATED_LAUNCHER(grid_forward, warphash::demo::grid_forward);
EMULATED_LAUNCHER(grid_backward, warphash::demo::grid_backward);
EMULATED_LAUNCHER(spgemm, warphash::demo::spgemm);
EMULATED_LAUNCHER(integers, warphash::demo::integers);
EMULATED_LAUNCHER(atomics, warphash::demo::atomics);
EMULATED_LAUNCHER(floats, warphash::demo::floats);
EMULATED_LAUNCHER(group_adds, warphash::demo::group_adds);
EMULATED_LAUNCHER(halves_adds, warphash::demo::halves_adds);
EMULATED_LAUNCHER(relaxed_words, warphash::demo::relaxed_words);
EMULATED_LAUNCHER(unaligned_adds, warphash::demo::unaligned_adds);
EMULATED_LAUNCHER(cluster_scan, warphash::demo::cluster_scan);
EMULATED_LAUNCHER(copy_out, warphash::demo::copy_out);
EMULATED_LAUNCHER(wrong_cluster, warphash::demo::wrong_cluster);
EMULATED_LAUNCHER(card, warphash::demo::card);
EMULATED_LAUNCHER(wait_for_last_block, warphash::demo::wait_for_last_block);
EMULATED_LAUNCHER(touch, warphash::demo::touch);
EMULATED_LAUNCHER(sync_many, warphash::demo::sync_many);
