// SPDX-License-Identifier: Apache-2.0
// Row-wise sparse product: one block per row of C sums the products in a hash table in dynamic shared memory.
#include "kernels.cuh"

#ifndef BUG
#define BUG 0
#endif

namespace warphash::demo {
namespace {

__global__ void spgemm_kernel(const int* __restrict__ a_rows, const int* __restrict__ a_columns,
                              const float* __restrict__ a_values, const int* __restrict__ b_rows,
                              const int* __restrict__ b_columns, const float* __restrict__ b_values,
                              int* __restrict__ counts, const int* __restrict__ c_rows, int* __restrict__ columns,
                              float* __restrict__ values, int slots) {
  DYNAMIC_SHARED(int, keys);
  float* sums = reinterpret_cast<float*>(keys + slots);
  __shared__ int distinct;
  int row = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
  for (int s = threadIdx.x; s < slots; s += blockDim.x) keys[s] = -1, sums[s] = 0;
  if (threadIdx.x == 0) distinct = 0;
#if BUG != 1  // 1: no barrier
  __syncthreads();
#endif
  for (int i = a_rows[row] + warp; i < a_rows[row + 1]; i += warps) {
    int middle = a_columns[i];
    for (int j = b_rows[middle] + lane; j < b_rows[middle + 1]; j += 32) {
      int column = b_columns[j];
      for (unsigned s = unsigned(column) * 2654435761u & (slots - 1);; s = (s + 1) & (slots - 1)) {
#if BUG == 9  // check, then act: two threads may claim the same slot
        int found = keys[s];
        __threadfence_block();
        if (found == -1) keys[s] = column;
#else
        int found = atomicCAS(&keys[s], -1, column);
#endif
        if (found == -1) atomicAdd(&distinct, 1);
        if (found == -1 || found == column) {
          atomicAdd(&sums[s], a_values[i] * b_values[j]);
          break;
        }
      }
    }
  }
  __syncthreads();
  if (columns == nullptr) {
    if (threadIdx.x == 0) counts[row] = distinct;
    return;
  }
  for (int s = threadIdx.x; s < slots; s += blockDim.x) {
    if (keys[s] < 0) continue;
    int rank = 0;
    for (int other = 0; other < slots; ++other) rank += keys[other] >= 0 && keys[other] < keys[s];
    columns[c_rows[row] + rank] = keys[s];
    values[c_rows[row] + rank] = sums[s];
  }
}

}  // namespace

cudaError_t spgemm(const int* a_rows, const int* a_columns, const float* a_values, const int* b_rows,
                   const int* b_columns, const float* b_values, int* counts, const int* c_rows, int* columns,
                   float* values, int rows, int slots, cudaStream_t stream) {
  size_t bytes = slots * (sizeof(int) + sizeof(float));
  cudaError_t error = cudaFuncSetAttribute(spgemm_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes));
  if (error != cudaSuccess) return error;
  return launch(spgemm_kernel, rows, 128, bytes, stream, a_rows, a_columns, a_values, b_rows, b_columns, b_values,
                counts, c_rows, columns, values, slots);
}

}  // namespace warphash::demo
