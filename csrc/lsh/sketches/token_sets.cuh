// SPDX-License-Identifier: Apache-2.0
// How warps share out token sets. A set of up to `most_tokens` tokens is one warp's; longer ones are cut at multiples of
// that many tokens of the whole array, a warp each, whose minima meet by atomicMin: in any order the result is the same.
//
// Sets of either kind are found without a word from the host, which knows no offsets: first every set's warp looks at its
// length, then a second launch, of a warp for each piece of the array, at the sets in which its first and its last token
// lie. A long set that meets a piece has one of the two.
#pragma once

#include "common/arena.cuh"
#include "lsh/mixing.h"
#include "lsh/sketches/sketches.cuh"

namespace warphash::lsh {

constexpr unsigned all_lanes = 0xffffffffu;
#if defined(WARPHASH_CUDA_EMULATION)
constexpr int64_t most_tokens = 96, most_blocks = 3;
#else
constexpr int64_t most_tokens = 8192, most_blocks = int64_t{1} << 20;
#endif

inline dim3 blocks_for(int64_t items, int64_t items_a_block) {
  return dim3(static_cast<unsigned>(clamp(ceil_divide(items, items_a_block), 1, most_blocks)));
}

struct Span {
  int64_t begin, end;
  __device__ __forceinline__ int64_t size() const { return end - begin; }
};

__device__ __forceinline__ Span span_of(const Sets& sets, int64_t set) {
  const int64_t begin = max(int64_t{0}, min(__ldg(sets.offsets + set), sets.count));
  return {begin, max(begin, min(__ldg(sets.offsets + set + 1), sets.count))};
}

// The last set that begins at or before a token; -1: none. Any answer from 0 on is a set, whatever the offsets.
__device__ __forceinline__ int64_t set_of(const Sets& sets, int64_t token) {
  int64_t low = 0, high = sets.sets;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (__ldg(sets.offsets + middle) <= token)
      low = middle + 1;
    else
      high = middle;
  }
  return low - 1;
}

// What a warp has to do for an item, in up to two turns: of whole sets one, of pieces one for each of two long sets.
struct Part {
  int64_t set;  // below 0: nothing
  Span span;
};
__device__ __forceinline__ Part part_of(const Sets& sets, bool long_sets, int64_t item, int turn) {
  if (!long_sets) {
    if (turn > 0) return {-1, {0, 0}};
    const Span span = span_of(sets, item);
    return {item, {span.begin, span.size() <= most_tokens ? span.end : span.begin}};
  }
  const Span here{item * most_tokens, min((item + 1) * most_tokens, sets.count)};
  const int64_t first = set_of(sets, here.begin), set = turn == 0 ? first : set_of(sets, here.end - 1);
  if (set < 0 || (turn == 1 && set == first)) return {-1, {0, 0}};
  const Span whole = span_of(sets, set);
  if (whole.size() <= most_tokens) return {-1, {0, 0}};
  return {set, {max(whole.begin, here.begin), min(whole.end, here.end)}};
}

inline int64_t pieces_of(const Sets& sets) { return ceil_divide(sets.count, most_tokens); }

// A token before any permutation.
__device__ __forceinline__ uint32_t mixed(const Sets& sets, int64_t place) {
  if (sets.wide)
    return static_cast<uint32_t>(
        fmix64(static_cast<uint64_t>(__ldg(static_cast<const int64_t*>(sets.tokens) + place))));
  return fmix32(static_cast<uint32_t>(__ldg(static_cast<const int32_t*>(sets.tokens) + place)));
}

}  // namespace warphash::lsh
