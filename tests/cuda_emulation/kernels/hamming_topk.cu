// SPDX-License-Identifier: Apache-2.0
// Exact Hamming top-k, one warp per query: keys below the worst kept one are appended by ballot to the warp's buffer in
// shared memory, which is cut back to k when it runs full. Lanes pass data through memory, ordered by __syncwarp alone.
#include "kernels.cuh"

#ifndef BUG
#define BUG 0
#endif

namespace warphash::demo {
namespace {

using u64 = unsigned long long;
constexpr int capacity = 128, warps = 4;

// Keeps the k smallest of the first count keys, sorted. The keys differ, so ranks are unique.
__device__ int keep_smallest(u64* buffer, int count, int k) {
  int lane = threadIdx.x % 32;
  u64 own[capacity / 32];
  int rank[capacity / 32];
  __syncwarp();
  for (int j = 0; j < capacity / 32; ++j) {
    int i = lane + 32 * j;
    own[j] = i < count ? buffer[i] : ~0ull;
    rank[j] = 0;
    for (int other = 0; other < count; ++other) rank[j] += buffer[other] < own[j];
  }
#if BUG != 7  // 7: nothing between reading the buffer and writing it anew
  __syncwarp();
#endif
  for (int j = 0; j < capacity / 32; ++j)
    if (lane + 32 * j < count && rank[j] < k) buffer[rank[j]] = own[j];
  __syncwarp();
  return min(count, k);
}

// Key: distance << 32 | index, so that ties go to the lower index.
__global__ void hamming_topk_kernel(const u64* __restrict__ queries, const u64* __restrict__ codes,
                                    u64* __restrict__ best, int q, int n, int words, int k) {
  __shared__ u64 buffers[warps][capacity];
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, query = blockIdx.x * warps + warp;
  if (query >= q) return;
  u64* buffer = buffers[warp];
  int count = 0;
  u64 worst = ~0ull;
  for (int start = 0; start < n; start += 32) {
    int i = start + lane;
    u64 key = ~0ull;
    if (i < n) {
      int distance = 0;
      for (int w = 0; w < words; ++w)
        distance += __popcll(queries[size_t(query) * words + w] ^ __ldg(codes + size_t(i) * words + w));
      key = u64(distance) << 32 | unsigned(i);
    }
    unsigned takers = __ballot_sync(0xffffffffu, key < worst);
    if (takers == 0) continue;
    if (key < worst) buffer[count + __popc(takers & ((1u << lane) - 1))] = key;
    count += __popc(takers);
    if (count > capacity - 32) {
      count = keep_smallest(buffer, count, k);
      if (count == k) worst = buffer[k - 1];
      __syncwarp();
    }
  }
  count = keep_smallest(buffer, count, k);
  for (int j = lane; j < k; j += 32) best[size_t(query) * k + j] = j < count ? buffer[j] : ~0ull;
}

}  // namespace

cudaError_t hamming_topk(const u64* queries, const u64* codes, u64* best, int q, int n, int words, int k,
                         cudaStream_t stream) {
  if (k < 1 || k > capacity - 64) return cudaErrorInvalidValue;
  return launch(hamming_topk_kernel, (q + warps - 1) / warps, 32 * warps, 0, stream, queries, codes, best, q, n, words,
                k);
}

}  // namespace warphash::demo
