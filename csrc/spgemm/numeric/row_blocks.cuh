// SPDX-License-Identifier: Apache-2.0
// The blocks of rows in which B's gradient is summed: those of gradients.cpp, found on the device, so that nothing is waited
// for. How many there are depends on the operands alone: about the number of products, estimated from a sixteenth of A's
// entries, and the sizes of the operands.
#pragma once

#include "spgemm/numeric/gradient_blocks.h"
#include "spgemm/numeric/long_rows.cuh"

namespace warphash::spgemm {
namespace {

constexpr int64_t sampled_period = sampled_run * sampled_runs;
constexpr int32_t no_row = 0x7fffffff;

struct RowBlocks {
  unsigned long long* products;  // of the sampled entries
  int32_t* starts;               // [most + 1]: the blocks' first rows, then no_row

  explicit RowBlocks(Arena& arena) {
    products = arena.take<unsigned long long>(1);
    starts = arena.take<int32_t>(most_gradient_blocks + 1);
  }
};

__host__ __device__ __forceinline__ int64_t sampled_entries(int64_t entries) {
  if (entries < sampled_period) return entries;
  const int64_t rest = entries % sampled_period;
  return entries / sampled_period * sampled_run + (rest < sampled_run ? rest : sampled_run);
}

__global__ void __launch_bounds__(threads) sample_products(const Pattern a, const Pattern b, const RowBlocks blocks) {
  const int64_t count = sampled_entries(a.entries);
  int64_t own = 0;
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < count; i += int64_t(gridDim.x) * threads) {
    const int64_t entry = a.entries < sampled_period ? i : i / sampled_run * sampled_period + i % sampled_run;
    const Range row = row_range(b, __ldg(a.col + entry));
    own += row.end - row.begin;
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) own += __shfl_xor_sync(all_lanes, own, distance);
  if (threadIdx.x % 32 == 0 && own > 0) atomicAdd(blocks.products, static_cast<unsigned long long>(own));
}

__global__ void __launch_bounds__(32) find_blocks(const Pattern a, const Pattern b, const Pattern pattern,
                                                  const int64_t worth_blocks, const RowBlocks blocks) {
  int64_t products = static_cast<int64_t>(*blocks.products), count = 1;
  if (a.entries >= sampled_period)
    products = static_cast<int64_t>(double(products) * double(a.entries) / double(sampled_entries(a.entries)));
  if (products >= worth_blocks) {
    const int64_t room = 2 * (a.entries + b.entries + pattern.entries);
    count = min(max(min(products / products_a_sum, room) / b.entries, int64_t{1}), most_gradient_blocks);
  }
  // Entries of A and of the pattern, and rows, before a row.
  const auto before = [&](int64_t row) { return a.crow[row] + pattern.crow[row] + row; };
  const int64_t block = threadIdx.x;
  if (block > most_gradient_blocks) return;
  int64_t low = 0, high = a.rows;
  if (block > 0 && block < count) {
    const int64_t work = before(a.rows) / count * block;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (before(middle) < work)
        low = middle + 1;
      else
        high = middle;
    }
  }
  blocks.starts[block] = block < count ? static_cast<int32_t>(low) : no_row;
}

inline cudaError_t find_row_blocks(const Pattern& a, const Pattern& b, const Pattern& pattern, int64_t worth_blocks,
                                   const RowBlocks& blocks, cudaStream_t stream) {
  cudaError_t error = cudaMemsetAsync(blocks.products, 0, sizeof *blocks.products, stream);
  if (error == cudaSuccess && a.entries > 0)
    error = launch(sample_products, blocks_for(sampled_entries(a.entries), 4 * threads), dim3(threads), 0, stream, a, b,
                   blocks);
  if (error != cudaSuccess) return error;
  return launch(find_blocks, dim3(1), dim3(32), 0, stream, a, b, pattern, worth_blocks, blocks);
}

}  // namespace
}  // namespace warphash::spgemm
