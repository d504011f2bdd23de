// SPDX-License-Identifier: Apache-2.0
// What of a pattern is broken: one pass over the pointers, one over the columns. Bound: reading both.
//
// No entry's row is looked for: the columns' descents are counted over all entries, and those between one row's last
// column and the next one's first are taken off. A pattern is in order if nothing is left.
#include "spgemm/inspect/inspect.cuh"

#include "common/arena.cuh"

namespace warphash::spgemm {
namespace {

constexpr int threads = 256;
#if defined(WARPHASH_CUDA_EMULATION)
constexpr int64_t most_blocks = 3;  // so that tests see blocks go round their loops
#else
constexpr int64_t most_blocks = 4096;
#endif

using Number = unsigned long long;
struct Sums {
  Number broken, outside;  // the least found; all ones: none
  Number descents;         // less those at the rows' beginnings, modulo 2^64
};

__device__ __forceinline__ Number least(Number own) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) own = min(own, __shfl_xor_sync(~0u, own, distance));
  return own;
}
__device__ __forceinline__ Number all(Number own) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) own += __shfl_xor_sync(~0u, own, distance);
  return own;
}

__global__ void __launch_bounds__(32) begin(Sums* sums) {
  if (threadIdx.x == 0) *sums = {~Number{0}, ~Number{0}, 0};
}

template <class Index>
__global__ void __launch_bounds__(threads)
    look_at_pointers(const Index* __restrict__ crow, const Index* __restrict__ col, const int64_t rows,
                     const int64_t entries, Sums* sums) {
  Number broken = ~Number{0}, at_starts = 0;
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i <= rows; i += int64_t(gridDim.x) * threads) {
    const int64_t start = crow[i], before = i > 0 ? int64_t(crow[i - 1]) : 0;
    if (start < before || (i == 0 && start != 0) || (i == rows && start != entries)) broken = min(broken, Number(i));
    if (i < rows && start > 0 && start < entries && start < int64_t(crow[i + 1]))
      at_starts += col[start] <= col[start - 1];
  }
  broken = least(broken), at_starts = all(at_starts);
  if (threadIdx.x % 32 != 0) return;
  if (broken != ~Number{0}) atomicMin(&sums->broken, broken);
  if (at_starts != 0) atomicAdd(&sums->descents, Number{0} - at_starts);
}

template <class Index>
__global__ void __launch_bounds__(threads)
    look_at_columns(const Index* __restrict__ col, const int64_t columns, const int64_t entries, Sums* sums) {
  Number outside = ~Number{0}, descents = 0;
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < entries; i += int64_t(gridDim.x) * threads) {
    const int64_t column = col[i];
    if (column < 0 || column >= columns) outside = min(outside, Number(i));
    descents += i > 0 && column <= int64_t(col[i - 1]);
  }
  outside = least(outside), descents = all(descents);
  if (threadIdx.x % 32 != 0) return;
  if (outside != ~Number{0}) atomicMin(&sums->outside, outside);
  if (descents != 0) atomicAdd(&sums->descents, descents);
}

__global__ void __launch_bounds__(32) tell(const Sums* sums, int64_t* found) {
  if (threadIdx.x != 0) return;
  const bool broken = sums->broken != ~Number{0};
  found[0] = int64_t(sums->broken);  // all ones are -1
  found[1] = broken ? -1 : int64_t(sums->outside);
  found[2] = !broken && sums->descents != 0;
}

dim3 blocks_for(int64_t count) {
  return dim3(static_cast<unsigned>(clamp(ceil_divide(count, threads), 1, most_blocks)));
}

}  // namespace

size_t inspect_workspace() { return sizeof(Sums); }

template <class Index>
cudaError_t inspect(const Index* crow, const Index* col, int64_t rows, int64_t columns, int64_t entries,
                    void* workspace, int64_t* found, cudaStream_t stream) {
  Sums* const sums = static_cast<Sums*>(workspace);
  cudaError_t error = launch(begin, dim3(1), dim3(32), 0, stream, sums);
  if (error == cudaSuccess)
    error =
        launch(look_at_pointers<Index>, blocks_for(rows + 1), dim3(threads), 0, stream, crow, col, rows, entries, sums);
  if (error == cudaSuccess && entries > 0)
    error = launch(look_at_columns<Index>, blocks_for(entries), dim3(threads), 0, stream, col, columns, entries, sums);
  return error == cudaSuccess ? launch(tell, dim3(1), dim3(32), 0, stream, static_cast<const Sums*>(sums), found)
                              : error;
}

template cudaError_t inspect(const int32_t*, const int32_t*, int64_t, int64_t, int64_t, void*, int64_t*, cudaStream_t);
template cudaError_t inspect(const int64_t*, const int64_t*, int64_t, int64_t, int64_t, void*, int64_t*, cudaStream_t);

}  // namespace warphash::spgemm
