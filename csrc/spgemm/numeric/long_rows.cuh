// SPDX-License-Identifier: Apache-2.0
// Rows in two kinds: most are short, and a warp has one; long ones are cut into parts, and blocks take these from a list.
#pragma once

#include "spgemm/walk.cuh"

namespace warphash::spgemm {
namespace {

constexpr int threads = 128, warps = threads / 32;
#if defined(WARPHASH_CUDA_EMULATION)
// So small that tests see several pieces of a row, and several turns of a block.
constexpr int64_t long_pattern_row = 16, long_a_row = 24;
constexpr int64_t pattern_part = 40, a_part = 8;
constexpr int warp_bytes = 256, block_bytes = 1024;
#else
constexpr int64_t long_pattern_row = 256, long_a_row = 1024;
constexpr int64_t pattern_part = 2048, a_part = 64;
constexpr int warp_bytes = 3072;       // 16 blocks of four warps on a multiprocessor
constexpr int block_bytes = 32 << 10;  // 6 blocks
#endif
constexpr int64_t most_row_blocks = 1024;  // that take parts of long rows
// What launch bounds say, so that registers are used rather than spilled.
template <int group>
constexpr int blocks_of_multiprocessor = group == 32 ? 9 : 6;

__device__ __forceinline__ bool is_long(const Pattern& a, const Pattern& pattern, int64_t row) {
  const Range of_pattern = row_range(pattern, row), of_a = row_range(a, row);
  return of_pattern.end - of_pattern.begin > long_pattern_row || of_a.end - of_a.begin > long_a_row;
}

// Parts of long rows: runs of `length` entries of the pattern or of A.
struct Parts {
  bool of_a;
  int64_t length;
};

struct LongRows {
  unsigned long long *count, *taken;
  int64_t* list;  // [most, 2]: row, number of its part
  int64_t most;
  Parts parts;

  LongRows(Arena& arena, const Pattern& a, const Pattern& pattern, Parts row_parts) : parts(row_parts) {
    const int64_t rows = pattern.entries / long_pattern_row + a.entries / long_a_row;
    most = (rows < a.rows ? rows : a.rows) + (parts.of_a ? a : pattern).entries / parts.length;
    if (rows == 0) most = 0;
    count = arena.take<unsigned long long>(2), taken = count + 1;
    list = arena.take<int64_t>(2 * most);
  }
};

__device__ __forceinline__ Range parted_range(const Pattern& a, const Pattern& pattern, const Parts& parts,
                                              int64_t row) {
  if (parts.of_a) return row_range(a, row);
  return row_range(pattern, row);
}

__global__ void __launch_bounds__(threads) list_rows(const Pattern a, const Pattern pattern, const LongRows rows) {
  for (int64_t row = int64_t(blockIdx.x) * threads + threadIdx.x; row < a.rows; row += int64_t(gridDim.x) * threads) {
    if (!is_long(a, pattern, row)) continue;
    const Range range = parted_range(a, pattern, rows.parts, row);
    const int64_t parts = max((range.end - range.begin + rows.parts.length - 1) / rows.parts.length, int64_t{1});
    const int64_t first = static_cast<int64_t>(atomicAdd(rows.count, static_cast<unsigned long long>(parts)));
    for (int64_t part = 0; part < parts && first + part < rows.most; ++part)
      rows.list[2 * (first + part)] = row, rows.list[2 * (first + part) + 1] = part;
  }
}

__device__ __forceinline__ Range part_of(Range row, const Parts& parts, int64_t part) {
  row.begin = min(row.begin + part * parts.length, row.end);
  return {row.begin, min(row.begin + parts.length, row.end)};
}

// Calls run(row, range) for rows of the caller's group, and the range of the pattern's or of A's entries that it has of
// them: short rows whole, a warp each; parts of long ones, a block each.
template <int group, class Run>
__device__ __forceinline__ void for_rows(const Pattern& a, const Pattern& pattern, const LongRows& rows,
                                         const Run& run) {
  if constexpr (group == 32) {
    for (int64_t row = int64_t(blockIdx.x) * warps + threadIdx.x / 32; row < a.rows; row += int64_t(gridDim.x) * warps)
      if (!is_long(a, pattern, row)) run(row, parted_range(a, pattern, rows.parts, row));
  } else {
    __shared__ int64_t place;
    const int64_t count = static_cast<int64_t>(min(*rows.count, static_cast<unsigned long long>(rows.most)));
    while (next_place(rows.taken, &place) < count) {
      const int64_t row = rows.list[2 * place];
      run(row, part_of(parted_range(a, pattern, rows.parts, row), rows.parts, rows.list[2 * place + 1]));
    }
  }
}

// Dynamic shared memory of a group.
struct SharedBytes {
  int of_warp = warp_bytes, of_block = block_bytes;
};

// short_kernel, long_kernel: one kernel, with groups of a warp and of a block.
template <class... Parameters, class... Arguments>
cudaError_t launch_rows(void (*short_kernel)(Parameters...), void (*long_kernel)(Parameters...), SharedBytes bytes,
                        Parts parts, const Pattern& a, const Pattern& pattern, void* workspace, cudaStream_t stream,
                        const Arguments&... arguments) {
  if (a.rows == 0) return cudaSuccess;
  Arena arena(workspace);
  const LongRows rows(arena, a, pattern, parts);
  if (rows.most > 0) {
    cudaError_t error = cudaMemsetAsync(rows.count, 0, 2 * sizeof *rows.count, stream);
    if (error == cudaSuccess)
      error = launch(list_rows, blocks_for(a.rows, threads), dim3(threads), 0, stream, a, pattern, rows);
    if (error == cudaSuccess)
      error = launch(long_kernel, blocks_for(clamp(rows.most, 1, most_row_blocks), 1), dim3(threads),
                     static_cast<size_t>(bytes.of_block), stream, rows, arguments...);
    if (error != cudaSuccess) return error;
  }
  return launch(short_kernel, blocks_for(a.rows, warps), dim3(threads), static_cast<size_t>(warps * bytes.of_warp),
                stream, rows, arguments...);
}

}  // namespace
}  // namespace warphash::spgemm
