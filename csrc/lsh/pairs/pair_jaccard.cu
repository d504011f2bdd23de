// SPDX-License-Identifier: Apache-2.0
// Jaccard similarity of pairs of sets, a warp each. Bound: latency of the tokens' loads; sets that occur in several pairs
// come from L2.
//
// The merge of two ascending lists is cut into 32 equal steps: a lane finds by search where its share begins (merge path),
// then merges it. Of equal tokens that of the first set comes first, so a token of both is counted where the first set's
// is passed, no matter whose share the other one is in.
#include "common/arena.cuh"
#include "lsh/pairs/pairs.cuh"

namespace warphash::lsh {
namespace {

constexpr int threads = 128, warps = threads / 32;
#if defined(WARPHASH_CUDA_EMULATION)
constexpr int64_t most_blocks = 3;
#else
constexpr int64_t most_blocks = int64_t{1} << 20;
#endif

struct List {
  const int64_t* tokens;
  int64_t count;
};
__device__ __forceinline__ List list_of(const SortedSets& sets, int64_t set) {
  const int64_t begin = min(max(__ldg(sets.offsets + set), int64_t{0}), sets.token_count);
  const int64_t end = min(max(__ldg(sets.offsets + set + 1), begin), sets.token_count);
  return {sets.tokens + begin, end - begin};
}

// What the caller's lane finds in common in its share of the merge.
__device__ __forceinline__ int64_t count_common(const List& a, const List& b) {
  const int64_t all = a.count + b.count, share = (all + 31) / 32;
  const int64_t begin = min(int64_t(threadIdx.x % 32) * share, all), end = min(begin + share, all);
  int64_t i = max(begin - b.count, int64_t{0}), high = min(begin, a.count);
  while (i < high) {
    const int64_t middle = i + (high - i) / 2;
    if (__ldg(a.tokens + middle) <= __ldg(b.tokens + begin - 1 - middle))
      i = middle + 1;
    else
      high = middle;
  }
  int64_t j = begin - i, common = 0;
  int64_t x = i < a.count ? __ldg(a.tokens + i) : 0, y = j < b.count ? __ldg(b.tokens + j) : 0;
  for (int64_t step = begin; step < end; ++step) {
    if (i < a.count && (j >= b.count || x <= y)) {
      common += j < b.count && x == y;
      if (++i < a.count) x = __ldg(a.tokens + i);
    } else {
      if (++j < b.count) y = __ldg(b.tokens + j);
    }
  }
  return common;
}

__global__ void __launch_bounds__(threads)
    compare_sets(const SortedSets sets, const int64_t* __restrict__ pairs, const int64_t count, double* similarity) {
  for (int64_t pair = int64_t(blockIdx.x) * warps + threadIdx.x / 32; pair < count;
       pair += int64_t(gridDim.x) * warps) {
    const int64_t first = __ldg(pairs + 2 * pair), second = __ldg(pairs + 2 * pair + 1);
    List a{nullptr, 0}, b{nullptr, 0};
    if (first >= 0 && first < sets.sets && second >= 0 && second < sets.sets)
      a = list_of(sets, first), b = list_of(sets, second);
    int64_t common = count_common(a, b);
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) common += __shfl_xor_sync(~0u, common, distance);
    const int64_t either = a.count + b.count - common;
    if (threadIdx.x % 32 == 0) similarity[pair] = either == 0 ? 0.0 : double(common) / double(either);
  }
}

}  // namespace

cudaError_t pair_jaccard(const SortedSets& sets, const int64_t* pairs, int64_t count, double* similarity,
                         cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  return launch(compare_sets, dim3(static_cast<unsigned>(clamp(ceil_divide(count, warps), 1, most_blocks))),
                dim3(threads), 0, stream, sets, pairs, count, similarity);
}

}  // namespace warphash::lsh
