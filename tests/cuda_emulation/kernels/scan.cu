// SPDX-License-Identifier: Apache-2.0
// Prefix sums in one pass: a tile looks back over its predecessors' published sums. Blocks talk through acquire and
// release, and take tickets, so that a tile's predecessors are under way before it waits for them.
#include "kernels.cuh"

#ifndef BUG
#define BUG 0
#endif

namespace warphash::demo {
namespace {

// state[t] = flag << 30 | value; flag 1: the tile's own sum, flag 2: the sum up to and including it.
template <int threads>
__global__ void __launch_bounds__(threads)
    scan_kernel(const unsigned* __restrict__ x, unsigned* __restrict__ y, unsigned* state, unsigned* ticket, int n) {
  __shared__ unsigned tile, before, warp_sums[threads / 32];
  if (threadIdx.x == 0) tile = atomicAdd(ticket, 1u);
  __syncthreads();
  int i = tile * threads + threadIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  unsigned sum = i < n ? x[i] : 0;
  for (int step = 1; step < 32; step *= 2) {
    unsigned left = __shfl_up_sync(0xffffffffu, sum, step);
    if (lane >= step) sum += left;
  }
  if (lane == 31) warp_sums[warp] = sum;
  __syncthreads();
  for (int w = 0; w < warp; ++w) sum += warp_sums[w];
  if (threadIdx.x == threads - 1) {
    unsigned earlier = 0;
    if (tile > 0) {
      store_release(state + tile, 1u << 30 | sum);
      for (int t = tile - 1;; --t) {
        unsigned seen;
        do seen = load_acquire(state + t);
        while (seen >> 30 == 0);
        earlier += seen & 0x3fffffffu;
        if (seen >> 30 == 2) break;
      }
    }
    store_release(state + tile, 2u << 30 | (earlier + sum));
    before = earlier;
  }
#if BUG != 1  // 1: the others do not wait for the look-back
  __syncthreads();
#endif
  if (i < n) y[i] = before + sum;
}

__global__ void wait_kernel(unsigned* flags) {
  store_release(flags + blockIdx.x, 1);
  while (load_acquire(flags + gridDim.x - 1) == 0) {
  }
}

}  // namespace

cudaError_t scan(const unsigned* x, unsigned* y, unsigned* state, int n, cudaStream_t stream) {
  int tiles = (n + 127) / 128;
  cudaError_t error = cudaMemsetAsync(state, 0, (tiles + 1) * sizeof(unsigned), stream);
  if (error != cudaSuccess) return error;
  return launch(scan_kernel<128>, tiles, 128, 0, stream, x, y, state, state + tiles, n);
}

cudaError_t wait_for_last_block(unsigned* flags, int blocks, cudaStream_t stream) {
  return launch(wait_kernel, blocks, 1, 0, stream, flags);
}

}  // namespace warphash::demo
