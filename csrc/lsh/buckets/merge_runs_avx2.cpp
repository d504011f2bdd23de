// SPDX-License-Identifier: Apache-2.0
// Eight numbers a vector, which three stages sort where it ascends and then descends.
#include <immintrin.h>

#include <array>

#include "lsh/buckets/merge_runs.h"

namespace warphash::lsh {
namespace {

// The lanes of each mask, a byte each, the first ones first.
constexpr std::array<uint64_t, 256> lanes_of_masks = [] {
  std::array<uint64_t, 256> lanes{};
  for (uint64_t mask = 0; mask < 256; ++mask)
    for (uint64_t lane = 0, place = 0; lane < 8; ++lane)
      if ((mask >> lane & 1) != 0) lanes[mask] |= lane << (8 * place++);
  return lanes;
}();

struct Eight {
  static constexpr int lanes = 8;
  struct Narrowed {
    __m256i numbers;
    bool fits;
  };

  static __m256i all(int32_t number) { return _mm256_set1_epi32(number); }
  static __m256i load(const int32_t* from) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(from)); }
  static void store(int32_t* to, __m256i v) { _mm256_store_si256(reinterpret_cast<__m256i*>(to), v); }
  static __m256i smaller(__m256i a, __m256i b) { return _mm256_min_epi32(a, b); }
  static __m256i larger(__m256i a, __m256i b) { return _mm256_max_epi32(a, b); }
  static __m256i reversed(__m256i v) {
    return _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0));
  }
  template <int larger_lanes>
  static __m256i stage(__m256i v, __m256i partners) {
    return _mm256_blend_epi32(smaller(v, partners), larger(v, partners), larger_lanes);
  }
  static __m256i sorted(__m256i v) {
    v = stage<0xf0>(v, _mm256_permute4x64_epi64(v, 0b01'00'11'10));
    v = stage<0xcc>(v, _mm256_shuffle_epi32(v, 0b01'00'11'10));
    return stage<0xaa>(v, _mm256_shuffle_epi32(v, 0b10'11'00'01));
  }
  // Lanes below `count` of four.
  static __m256i below(int64_t count) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
  }
  static __m256i four(const int64_t* from, int64_t count, __m256i& outside) {
    const __m256i mask = below(count), one = _mm256_set1_epi64x(1);
    const __m256i numbers = _mm256_maskload_epi64(reinterpret_cast<const long long*>(from), mask);
    // What is neither negative nor filler and above has no bit from 31 on, nor has the number after it.
    outside = _mm256_or_si256(outside, _mm256_srli_epi64(_mm256_add_epi64(numbers, one), 31));
    outside = _mm256_or_si256(outside, _mm256_srli_epi64(numbers, 31));
    return _mm256_blendv_epi8(_mm256_set1_epi64x(filler), numbers, mask);
  }
  static Narrowed narrow(const int64_t* from, int64_t count) {
    __m256i outside = _mm256_setzero_si256();
    const __m256i low = four(from, count, outside), high = four(from + 4, count - 4, outside);
    const __m256 both = _mm256_shuffle_ps(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high), 0b10'00'10'00);
    return {_mm256_permute4x64_epi64(_mm256_castps_si256(both), 0b11'01'10'00),
            _mm256_testz_si256(outside, outside) != 0};
  }
  static int64_t distinct(__m256i v, __m256i before, int64_t count, int64_t* out) {
    const __m256i one_up = _mm256_setr_epi32(7, 0, 1, 2, 3, 4, 5, 6);
    const __m256i left =
        _mm256_blend_epi32(_mm256_permutevar8x32_epi32(v, one_up), _mm256_permutevar8x32_epi32(before, one_up), 1);
    const unsigned equal = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(v, left))));
    const unsigned first = ~equal & ((1u << count) - 1);
    const __m256i chosen_lanes = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(lanes_of_masks[first])));
    const __m256i chosen = _mm256_permutevar8x32_epi32(v, chosen_lanes);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_cvtepi32_epi64(_mm256_castsi256_si128(chosen)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 4),
                        _mm256_cvtepi32_epi64(_mm256_extracti128_si256(chosen, 1)));
    return __builtin_popcount(first);
  }
};

}  // namespace

int64_t merge_runs_avx2(Run* runs, int64_t count, int32_t* from, int32_t* to, int64_t* out) {
  return merge_runs<Eight>(runs, count, from, to, out);
}

}  // namespace warphash::lsh
