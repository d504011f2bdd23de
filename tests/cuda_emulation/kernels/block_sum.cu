// SPDX-License-Identifier: Apache-2.0
// Sum by warp shuffles, then across warps through shared memory: every kind of barrier mistake can be planted here.
#include "kernels.cuh"

#ifndef BUG
#define BUG 0
#endif

namespace warphash::demo {
namespace {

__device__ __forceinline__ float warp_sum(float v) {
#if BUG == 5  // half of the warp is not named
  constexpr unsigned mask = 0x0000ffffu;
#else
  constexpr unsigned mask = 0xffffffffu;
#endif
  for (int step = 16; step > 0; step /= 2) v += __shfl_down_sync(mask, v, step);
  return v;
}

template <int threads>
__global__ void __launch_bounds__(threads)
    block_sum_kernel(const float* __restrict__ x, float* __restrict__ sums, int n) {
  __shared__ float partial[threads / 32];
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float sum = 0;
#if BUG == 3  // reads one element too many
  int end = n + 1;
#else
  int end = n;
#endif
  for (int i = blockIdx.x * threads + threadIdx.x; i < end; i += gridDim.x * threads) sum += __ldg(x + i);
  sum = warp_sum(sum);
#if BUG == 2  // writes behind the end of shared memory
  if (lane == 0) partial[warp + 1] = sum;
#else
  if (lane == 0) partial[warp] = sum;
#endif
#if BUG == 4  // a barrier that half of the block never reaches
  if (warp < 2) __syncthreads();
#elif BUG != 1  // 1: no barrier
  __syncthreads();
#endif
  if (warp == 0) {
    sum = warp_sum(lane < threads / 32 ? partial[lane] : 0.0f);
    if (lane == 0) sums[blockIdx.x] = sum;
  }
}

}  // namespace

cudaError_t block_sum(const float* x, float* sums, int n, int blocks, cudaStream_t stream) {
  return launch(block_sum_kernel<128>, blocks, 128, 0, stream, x, sums, n);
}

}  // namespace warphash::demo
