// SPDX-License-Identifier: Apache-2.0
// Results gathered in shared memory and copied out from there while the next ones are computed: two buffers, the aligned
// middle of each by a bulk copy, its ends by plain stores.
#include "kernels.cuh"

#ifndef BUG
#define BUG 0
#endif

namespace warphash::demo {
namespace {

constexpr int tile = 64;

__global__ void __launch_bounds__(tile)
    copy_out_kernel(const unsigned* __restrict__ x, unsigned* __restrict__ y, int n) {
  __shared__ __align__(16) unsigned rows[2][tile + 4];
  const int thread = threadIdx.x;
  int turn = 0;
  for (int first = blockIdx.x * tile; first < n; first += gridDim.x * tile, turn ^= 1) {
#if BUG != 1  // 1: nobody waits until the buffer has been read
    if (thread == 0) bulk_wait_read<1>();
#endif
    __syncthreads();
    unsigned* const to = y + first;
    const int count = min(tile, n - first), phase = int(reinterpret_cast<size_t>(to) % 16 / 4);
    unsigned* const own = rows[turn] + phase;
    if (thread < count) own[thread] = 2 * x[first + thread] + 1;
#if BUG != 2  // 2: the stores may not have reached what the copy reads
    fence_shared_for_async();
#endif
#if BUG != 3  // 3: only the copying thread's own stores are there
    __syncthreads();
#endif
    const int head = min(count, (4 - phase) % 4), middle = (count - head) / 4 * 4;
    if (thread == 0 && middle > 0) bulk_store(to + head, own + head, unsigned(middle) * 4);
    if (thread == 0) bulk_commit();
    if (thread < count && (thread < head || thread >= head + middle)) to[thread] = own[thread];
  }
#if BUG != 4  // 4: the block's shared memory may go to another one before it has been read
  if (thread == 0) bulk_wait_read<0>();
#endif
}

}  // namespace

cudaError_t copy_out(const unsigned* x, unsigned* y, int n, int blocks, cudaStream_t stream) {
  return launch(copy_out_kernel, blocks, tile, 0, stream, x, y, n);
}

}  // namespace warphash::demo
