// SPDX-License-Identifier: Apache-2.0
// Sixteen numbers a vector, which four stages sort where it ascends and then descends.
#include <immintrin.h>

#include "lsh/buckets/merge_runs.h"

namespace warphash::lsh {
namespace {

struct Sixteen {
  static constexpr int lanes = 16;
  struct Narrowed {
    __m512i numbers;
    bool fits;
  };

  static __m512i all(int32_t number) { return _mm512_set1_epi32(number); }
  static __m512i load(const int32_t* from) { return _mm512_load_si512(from); }
  static void store(int32_t* to, __m512i v) { _mm512_store_si512(to, v); }
  static __m512i smaller(__m512i a, __m512i b) { return _mm512_min_epi32(a, b); }
  static __m512i larger(__m512i a, __m512i b) { return _mm512_max_epi32(a, b); }
  static __m512i reversed(__m512i v) {
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), v);
  }
  static __m512i stage(__m512i v, __m512i partners, __mmask16 larger) {
    return _mm512_mask_max_epi32(_mm512_min_epi32(v, partners), larger, v, partners);
  }
  static __m512i sorted(__m512i v) {
    v = stage(v, _mm512_shuffle_i64x2(v, v, 0b01'00'11'10), 0xff00);
    v = stage(v, _mm512_shuffle_i64x2(v, v, 0b10'11'00'01), 0xf0f0);
    v = stage(v, _mm512_shuffle_epi32(v, _MM_PERM_BADC), 0xcccc);
    return stage(v, _mm512_shuffle_epi32(v, _MM_PERM_CDAB), 0xaaaa);
  }
  static Narrowed narrow(const int64_t* from, int64_t count) {
    const __mmask16 mask = static_cast<__mmask16>((1u << count) - 1);
    const __m512i fillers = _mm512_set1_epi64(filler);
    const __m512i low = _mm512_mask_loadu_epi64(fillers, static_cast<__mmask8>(mask), from);
    const __m512i high = _mm512_mask_loadu_epi64(fillers, static_cast<__mmask8>(mask >> 8), from + 8);
    const int outside = _mm512_mask_cmpge_epu64_mask(static_cast<__mmask8>(mask), low, fillers) |
                        _mm512_mask_cmpge_epu64_mask(static_cast<__mmask8>(mask >> 8), high, fillers);
    return {_mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(low)), _mm512_cvtepi64_epi32(high), 1),
            outside == 0};
  }
  static int64_t distinct(__m512i v, __m512i before, int64_t count, int64_t* out) {
    const __mmask16 mask = static_cast<__mmask16>((1u << count) - 1);
    const __mmask16 first = _mm512_mask_cmpneq_epi32_mask(mask, v, _mm512_alignr_epi32(v, before, 15));
    const __m512i chosen = _mm512_maskz_compress_epi32(first, v);
    _mm512_storeu_si512(out, _mm512_cvtepi32_epi64(_mm512_castsi512_si256(chosen)));
    _mm512_storeu_si512(out + 8, _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(chosen, 1)));
    return __builtin_popcount(first);
  }
};

}  // namespace

int64_t merge_runs_avx512(Run* runs, int64_t count, int32_t* from, int32_t* to, int64_t* out) {
  return merge_runs<Sixteen>(runs, count, from, to, out);
}

}  // namespace warphash::lsh
