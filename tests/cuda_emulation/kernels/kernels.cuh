// SPDX-License-Identifier: Apache-2.0
// The launchers of the emulator's own test kernels. Pointers are device pointers; shapes stand beside them.
#pragma once
#include "common/portable.h"

namespace warphash::demo {

// sums [blocks] add up to the sum of x [n].
cudaError_t block_sum(const float* x, float* sums, int n, int blocks, cudaStream_t stream);

// y [n]: inclusive prefix sums of x [n], below 2^30 in all; state [ceil(n / 128) + 1]: workspace.
cudaError_t scan(const unsigned* x, unsigned* y, unsigned* state, int n, cudaStream_t stream);

// bins [256]: how often each value occurs in x [n].
cudaError_t histogram(const unsigned char* x, unsigned* bins, int n, int blocks, cudaStream_t stream);

// best [q, k]: the k smallest of distance << 32 | index for queries [q, words] among codes [n, words]; ~0 where n < k.
// k from 1 to 64.
cudaError_t hamming_topk(const unsigned long long* queries, const unsigned long long* codes, unsigned long long* best,
                         int q, int n, int words, int k, cudaStream_t stream);

// distances [q, n] between queries [q, 8] and codes [n, 8] of 256 bits.
cudaError_t hamming_tiles(const unsigned* queries, const unsigned* codes, int* distances, int q, int n,
                          cudaStream_t stream);

// d [16, 8] = a [16, 32] * transposed b [8, 32], signed bytes; or a unsigned.
cudaError_t tile_s8(const signed char* a, const signed char* b, int* d, cudaStream_t stream);
cudaError_t tile_u8_s8(const unsigned char* a, const signed char* b, int* d, cudaStream_t stream);
// d [16, 8] += a [16, 16] * transposed b [8, 16], both rounded to bfloat16.
cudaError_t tile_bf16(const float* a, const float* b, float* d, cudaStream_t stream);

// Trilinear hash grid: y [n, levels, 2] from points [n, 3] in [0, 1] and table [levels, slots, 2]; slots a power of 2.
cudaError_t grid_forward(const float* points, const float* table, float* y, int n, int levels, unsigned slots,
                         cudaStream_t stream);
// dtable [levels, slots, 2] from dy [n, levels, 2].
cudaError_t grid_backward(const float* points, const float* dy, float* dtable, int n, int levels, unsigned slots,
                          cudaStream_t stream);

// C = A B in CSR. With columns null it only writes counts [rows]; then, given c_rows, columns in rising order and
// values. slots: a power of 2, at least twice the distinct columns of any row of C.
cudaError_t spgemm(const int* a_rows, const int* a_columns, const float* a_values, const int* b_rows,
                   const int* b_columns, const float* b_values, int* counts, const int* c_rows, int* columns,
                   float* values, int rows, int slots, cudaStream_t stream);

// y [rows, n]: inclusive prefix sums of each row of x, a row a cluster of `size` blocks at a time.
cudaError_t cluster_scan(const unsigned* x, unsigned* y, int rows, int n, int size, int clusters, cudaStream_t stream);
// y [n] = 2 x + 1, by bulk copies; both begin at any float.
cudaError_t copy_out(const unsigned* x, unsigned* y, int n, int blocks, cudaStream_t stream);
// Not allowed: 0: a barrier that a block of the cluster never reaches; 1: the shared memory of a block that may not have begun;
// 2: of one that may have ended; 3: static shared memory; 4: a rank that is not there. And a bulk copy: 5: of 8 bytes; 6: from
// global memory.
cudaError_t wrong_cluster(unsigned* x, int kind, cudaStream_t stream);
// What a card of this compute capability has: how many clusters of `size` blocks at once; whether bulk copies.
cudaError_t card(int compute_major, int size, int* clusters, int* bulk_copies, cudaStream_t stream);

// What the intrinsics answer; intrinsics.cu says in which order.
cudaError_t integers(const unsigned* x, const unsigned* y, unsigned* integers, cudaStream_t stream);
cudaError_t atomics(const unsigned* x, unsigned* narrow, unsigned long long* wide, cudaStream_t stream);
cudaError_t floats(const float* x, const float* y, float* floats, cudaStream_t stream);
cudaError_t group_adds(const float* x, float* sums, cudaStream_t stream);
cudaError_t halves_adds(const unsigned* halves, unsigned* sums, cudaStream_t stream);
// narrow, wide [blocks], zeros: become 1, 2, ... and the same times 2^40.
cudaError_t relaxed_words(unsigned* narrow, unsigned long long* wide, int blocks, cudaStream_t stream);
// Not allowed: a group of two that begins at an odd float.
cudaError_t unaligned_adds(float* sums, cudaStream_t stream);

// Each block waits for the last one: ends only if all blocks are resident. flags [blocks], zeros.
cudaError_t wait_for_last_block(unsigned* flags, int blocks, cudaStream_t stream);

// To time the emulator: one access per thread of x [n]; and `times` barriers in blocks of 256 threads.
cudaError_t touch(int* x, int n, cudaStream_t stream);
cudaError_t sync_many(int* x, int blocks, int times, cudaStream_t stream);

}  // namespace warphash::demo
