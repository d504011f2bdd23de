// SPDX-License-Identifier: Apache-2.0
// int64 columns as int32. Bound: reading them, writing half as many bytes. What does not fit becomes -1, which kernels pass
// over: it must not come out as another column.
#include "spgemm/narrowed.cuh"

#include "spgemm/rows.cuh"

namespace warphash::spgemm {
namespace {

constexpr int threads = 256;

__global__ void __launch_bounds__(threads)
    narrow_columns(const int64_t* __restrict__ from, const int64_t entries, int32_t* __restrict__ to) {
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < entries; i += int64_t(gridDim.x) * threads) {
    const int64_t column = from[i];
    to[i] = column >= 0 && column <= INT32_MAX ? static_cast<int32_t>(column) : -1;
  }
}

}  // namespace

cudaError_t narrow(const int64_t* from, int64_t entries, int32_t* to, cudaStream_t stream) {
  if (entries == 0) return cudaSuccess;
  return launch(narrow_columns, blocks_for(entries, threads), dim3(threads), 0, stream, from, entries, to);
}

}  // namespace warphash::spgemm
