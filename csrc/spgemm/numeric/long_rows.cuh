// SPDX-License-Identifier: Apache-2.0
// Rows in two kinds: most are short, and a warp has one; long ones are listed, and blocks take them one by one.
#pragma once

#include "spgemm/walk.cuh"

namespace warphash::spgemm {
namespace {

constexpr int threads = 128, warps = threads / 32;
#if defined(WARPHASH_CUDA_EMULATION)
// So small that tests see several pieces of a row, and several turns of a block.
constexpr int64_t long_pattern_row = 16, long_a_row = 24;
constexpr int warp_bytes = 256, block_bytes = 1024;
#else
constexpr int64_t long_pattern_row = 256, long_a_row = 1024;
constexpr int warp_bytes = 3072;       // 16 blocks of four warps on a multiprocessor
constexpr int block_bytes = 32 << 10;  // 6 blocks
#endif
constexpr int64_t most_row_blocks = 1024;  // that take long rows
// What launch bounds say, so that registers are used rather than spilled.
template <int group>
constexpr int blocks_of_multiprocessor = group == 32 ? 9 : 6;

__device__ __forceinline__ bool is_long(const Pattern& a, const Pattern& pattern, int64_t row) {
  const Range of_pattern = row_range(pattern, row), of_a = row_range(a, row);
  return of_pattern.end - of_pattern.begin > long_pattern_row || of_a.end - of_a.begin > long_a_row;
}

inline int64_t most_long_rows(const Pattern& a, const Pattern& pattern) {
  const int64_t most = pattern.entries / long_pattern_row + a.entries / long_a_row;
  return most < a.rows ? most : a.rows;
}

struct LongRows {
  unsigned long long *count, *taken;
  int64_t* rows;
  int64_t most;

  LongRows(Arena& arena, const Pattern& a, const Pattern& pattern) : most(most_long_rows(a, pattern)) {
    count = arena.take<unsigned long long>(2), taken = count + 1;
    rows = arena.take<int64_t>(most);
  }
};

__global__ void __launch_bounds__(threads) list_rows(const Pattern a, const Pattern pattern, const LongRows list) {
  for (int64_t row = int64_t(blockIdx.x) * threads + threadIdx.x; row < a.rows; row += int64_t(gridDim.x) * threads) {
    if (!is_long(a, pattern, row)) continue;
    const unsigned long long slot = atomicAdd(list.count, 1ull);
    if (slot < list.most) list.rows[slot] = row;
  }
}

// Calls run(row) for the rows of the caller's group: short ones a warp each, long ones a block each.
template <int group, class Run>
__device__ __forceinline__ void for_rows(const Pattern& a, const Pattern& pattern, const LongRows& list,
                                         const Run& run) {
  if constexpr (group == 32) {
    for (int64_t row = int64_t(blockIdx.x) * warps + threadIdx.x / 32; row < a.rows; row += int64_t(gridDim.x) * warps)
      if (!is_long(a, pattern, row)) run(row);
  } else {
    __shared__ int64_t place;
    const int64_t count = static_cast<int64_t>(min(*list.count, static_cast<unsigned long long>(list.most)));
    while (next_place(list.taken, &place) < count) run(list.rows[place]);
  }
}

// Dynamic shared memory of a group.
struct SharedBytes {
  int of_warp = warp_bytes, of_block = block_bytes;
};

// short_kernel, long_kernel: one kernel, with groups of a warp and of a block.
template <class... Parameters, class... Arguments>
cudaError_t launch_rows(void (*short_kernel)(Parameters...), void (*long_kernel)(Parameters...), SharedBytes bytes,
                        const Pattern& a, const Pattern& pattern, void* workspace, cudaStream_t stream,
                        const Arguments&... arguments) {
  if (a.rows == 0) return cudaSuccess;
  Arena arena(workspace);
  const LongRows list(arena, a, pattern);
  if (list.most > 0) {
    cudaError_t error = cudaMemsetAsync(list.count, 0, 2 * sizeof *list.count, stream);
    if (error == cudaSuccess)
      error = launch(list_rows, blocks_for(a.rows, threads), dim3(threads), 0, stream, a, pattern, list);
    if (error == cudaSuccess)
      error = launch(long_kernel, blocks_for(clamp(list.most, 1, most_row_blocks), 1), dim3(threads),
                     static_cast<size_t>(bytes.of_block), stream, list, arguments...);
    if (error != cudaSuccess) return error;
  }
  return launch(short_kernel, blocks_for(a.rows, warps), dim3(threads), static_cast<size_t>(warps * bytes.of_warp),
                stream, list, arguments...);
}

}  // namespace
}  // namespace warphash::spgemm
