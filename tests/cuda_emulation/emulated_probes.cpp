// SPDX-License-Identifier: Apache-2.0
// Names the probes' launchers for Python.
#include "common/probes_cuda.cuh"

EMULATED_LAUNCHER(probe_copy, warphash::probe_copy);
EMULATED_LAUNCHER(probe_popc, warphash::probe_popc);
EMULATED_LAUNCHER(probe_mma_b1, warphash::probe_mma_b1);
EMULATED_LAUNCHER(probe_mma_s8, warphash::probe_mma_s8);
EMULATED_LAUNCHER(probe_affine_min, warphash::probe_affine_min);
EMULATED_LAUNCHER(probe_gather_rows, warphash::probe_gather_rows);
EMULATED_LAUNCHER(probe_gather_lines, warphash::probe_gather_lines);
EMULATED_LAUNCHER(probe_count, warphash::probe_count);
EMULATED_LAUNCHER(probe_accumulate, warphash::probe_accumulate);
EMULATED_LAUNCHER(
    probe_add, +[](int addition, void* table, int64_t bytes, int multiprocessors, int rounds, cudaStream_t stream) {
      return warphash::probe_add(static_cast<warphash::Addition>(addition), table, bytes, multiprocessors, rounds,
                                 stream);
    });
