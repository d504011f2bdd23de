// SPDX-License-Identifier: Apache-2.0
// A histogram per block by atomics in shared memory, then one atomic per bin and block to global memory.
#include "kernels.cuh"

#ifndef BUG
#define BUG 0
#endif

namespace warphash::demo {
namespace {

__global__ void histogram_kernel(const unsigned char* __restrict__ x, unsigned* __restrict__ bins, int n) {
  __shared__ unsigned local[256];
  for (int b = threadIdx.x; b < 256; b += blockDim.x) local[b] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
#if BUG == 6  // a plain increment where an atomic is needed
    local[x[i]] += 1;
#else
    atomicAdd(&local[x[i]], 1u);
#endif
  }
#if BUG != 1  // 1: no barrier
  __syncthreads();
#endif
  for (int b = threadIdx.x; b < 256; b += blockDim.x)
    if (local[b]) atomicAdd(&bins[b], local[b]);
}

__global__ void touch_kernel(int* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] += i;
}

__global__ void sync_many_kernel(int* x, int times) {
  for (int i = 0; i < times; ++i) __syncthreads();
  x[blockIdx.x * blockDim.x + threadIdx.x] = times;
}

}  // namespace

cudaError_t histogram(const unsigned char* x, unsigned* bins, int n, int blocks, cudaStream_t stream) {
  cudaError_t error = cudaMemsetAsync(bins, 0, 256 * sizeof(unsigned), stream);
  if (error != cudaSuccess) return error;
  return launch(histogram_kernel, blocks, 128, 0, stream, x, bins, n);
}

cudaError_t touch(int* x, int n, cudaStream_t stream) {
  return launch(touch_kernel, (n + 255) / 256, 256, 0, stream, x, n);
}

cudaError_t sync_many(int* x, int blocks, int times, cudaStream_t stream) {
  return launch(sync_many_kernel, blocks, 256, 0, stream, x, times);
}

}  // namespace warphash::demo
