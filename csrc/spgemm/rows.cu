// SPDX-License-Identifier: Apache-2.0
// The rows of a product in order of their work. Bound: latency of the look-ups of B's row pointers, one an entry of A.
//
// A warp counts a row's products. Rows above the small classes are then listed by class, the largest first, so that the
// blocks that take them from the list end at about the same time. The order within a class is as it happens: no result
// depends on it.
#include "spgemm/rows.cuh"

namespace warphash::spgemm {
namespace {

constexpr int threads = 256, warps = threads / 32;

__device__ __forceinline__ int class_of(int64_t products) { return 64 - __clzll(products); }

__global__ void __launch_bounds__(threads)
    count_products(const Pattern a, const Pattern b, int64_t* products, unsigned long long* counts) {
  __shared__ unsigned own[classes];
  for (int c = threadIdx.x; c < classes; c += threads) own[c] = 0;
  __syncthreads();
  const int lane = threadIdx.x % 32;
  for (int64_t row = int64_t(blockIdx.x) * warps + threadIdx.x / 32; row < a.rows; row += int64_t(gridDim.x) * warps) {
    const Range entries = row_range(a, row);
    int64_t sum = 0;
#pragma unroll 4
    for (int64_t e = entries.begin + lane; e < entries.end; e += 32) {
      const Range part = row_range(b, __ldg(a.col + e));
      sum += part.end - part.begin;
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(all_lanes, sum, distance);
    if (lane == 0) {
      products[row] = sum;
      atomicAdd(own + class_of(sum), 1u);
    }
  }
  __syncthreads();
  for (int c = threadIdx.x; c < classes; c += threads)
    if (own[c] != 0) atomicAdd(counts + c, static_cast<unsigned long long>(own[c]));
}

// counts become the numbers of rows of higher classes, where each class begins in the list.
__global__ void __launch_bounds__(classes) order_classes(unsigned long long* counts, unsigned long long* cursors) {
  __shared__ unsigned long long all[classes];
  const int c = threadIdx.x;
  all[c] = counts[c];
  __syncthreads();
  unsigned long long above = 0;
  for (int higher = c + 1; higher < classes; ++higher) above += all[higher];
  counts[c] = above, cursors[c] = above;
}

__global__ void __launch_bounds__(threads)
    list_rows(const int64_t* __restrict__ products, const int64_t rows, unsigned long long* cursors, int64_t* list) {
  __shared__ unsigned own[classes];
  __shared__ unsigned long long starts[classes];
  for (int64_t first = int64_t(blockIdx.x) * threads; first < rows; first += int64_t(gridDim.x) * threads) {
    for (int c = threadIdx.x; c < classes; c += threads) own[c] = 0;
    __syncthreads();
    const int64_t row = first + threadIdx.x;
    const int c = row < rows ? class_of(products[row]) : 0;
    unsigned place = 0;
    if (c > small_class) place = atomicAdd(own + c, 1u);
    __syncthreads();
    for (int i = threadIdx.x; i < classes; i += threads)
      if (own[i] != 0) starts[i] = atomicAdd(cursors + i, static_cast<unsigned long long>(own[i]));
    __syncthreads();
    if (c > small_class) list[starts[c] + place] = row;
    __syncthreads();
  }
}

}  // namespace

cudaError_t sort_rows(const Pattern& a, const Pattern& b, const RowBins& bins, cudaStream_t stream) {
  const size_t bytes = (2 * classes + counters) * sizeof(unsigned long long);
  cudaError_t error = cudaMemsetAsync(bins.above, 0, bytes, stream);
  if (error != cudaSuccess || a.rows == 0) return error;
  error = launch(count_products, blocks_for(a.rows, warps), dim3(threads), 0, stream, a, b, bins.products, bins.above);
  if (error == cudaSuccess) error = launch(order_classes, dim3(1), dim3(classes), 0, stream, bins.above, bins.cursors);
  if (error != cudaSuccess) return error;
  return launch(list_rows, blocks_for(a.rows, threads), dim3(threads), 0, stream,
                static_cast<const int64_t*>(bins.products), a.rows, bins.cursors, bins.list);
}

}  // namespace warphash::spgemm
