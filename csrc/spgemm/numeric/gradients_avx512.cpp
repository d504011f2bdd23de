// SPDX-License-Identifier: Apache-2.0
// Gradients on a known pattern, sixteen columns at a time; what is left over of a row of b goes under a mask. Bound: the
// loads of the gradient, one a column. They are made one by one and put together, which takes no longer than the gather
// instruction on the processors that have the fastest one and less on all others.
#include <immintrin.h>

#include "spgemm/numeric/gradient_rows.h"

namespace warphash::spgemm {
namespace {

inline __m128 four(const float* gradient, const int32_t* col) {
  const __m128 first = _mm_load_ss(gradient + col[0]);
  const __m128 two = _mm_insert_ps(first, _mm_load_ss(gradient + col[1]), 0x10);
  const __m128 three = _mm_insert_ps(two, _mm_load_ss(gradient + col[2]), 0x20);
  return _mm_insert_ps(three, _mm_load_ss(gradient + col[3]), 0x30);
}
inline __m512 sixteen(const float* gradient, const int32_t* col) {
  const __m256 low = _mm256_insertf128_ps(_mm256_castps128_ps256(four(gradient, col)), four(gradient, col + 4), 1);
  const __m256 high =
      _mm256_insertf128_ps(_mm256_castps128_ps256(four(gradient, col + 8)), four(gradient, col + 12), 1);
  return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
inline __m128d two(const double* gradient, const int32_t* col) {
  return _mm_loadh_pd(_mm_load_sd(gradient + col[0]), gradient + col[1]);
}
inline __m512d eight(const double* gradient, const int32_t* col) {
  const __m256d low = _mm256_insertf128_pd(_mm256_castpd128_pd256(two(gradient, col)), two(gradient, col + 2), 1);
  const __m256d high = _mm256_insertf128_pd(_mm256_castpd128_pd256(two(gradient, col + 4)), two(gradient, col + 6), 1);
  return _mm512_insertf64x4(_mm512_castpd256_pd512(low), high, 1);
}

template <class Value>
struct Walk;

template <>
struct Walk<float> {
  template <bool of_a, bool of_b>
  static float row(const int32_t* col, const float* b, int64_t count, float a, const float* gradient, float* b_sums) {
    const __m512 factor = _mm512_set1_ps(a);
    __m512 sums = _mm512_setzero_ps();
    int64_t at = 0;
    for (; at + lanes <= count; at += lanes) {
      const __m512 g = sixteen(gradient, col + at);
      if constexpr (of_a) sums = _mm512_add_ps(sums, _mm512_mul_ps(g, _mm512_loadu_ps(b + at)));
      if constexpr (of_b)
        _mm512_storeu_ps(b_sums + at, _mm512_add_ps(_mm512_loadu_ps(b_sums + at), _mm512_mul_ps(factor, g)));
    }
    if (at < count) {
      const __mmask16 mask = static_cast<__mmask16>((1u << (count - at)) - 1);
      alignas(64) int32_t left[lanes];  // column 0 where there is none
      _mm512_store_si512(left, _mm512_maskz_loadu_epi32(mask, col + at));
      const __m512 g = sixteen(gradient, left);
      if constexpr (of_a) {
        const __m512 products = _mm512_mul_ps(g, _mm512_maskz_loadu_ps(mask, b + at));
        sums = _mm512_mask_add_ps(sums, mask, sums, products);
      }
      if constexpr (of_b) {
        const __m512 added = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, b_sums + at), _mm512_mul_ps(factor, g));
        _mm512_mask_storeu_ps(b_sums + at, mask, added);
      }
    }
    if constexpr (!of_a) return 0;
    const __m256 by_eight = _mm256_add_ps(_mm512_castps512_ps256(sums), _mm512_extractf32x8_ps(sums, 1));
    const __m128 by_four = _mm_add_ps(_mm256_castps256_ps128(by_eight), _mm256_extractf128_ps(by_eight, 1));
    const __m128 by_two = _mm_add_ps(by_four, _mm_movehl_ps(by_four, by_four));
    return _mm_cvtss_f32(_mm_add_ss(by_two, _mm_movehdup_ps(by_two)));
  }
};

template <>
struct Walk<double> {
  template <bool of_a, bool of_b>
  static double row(const int32_t* col, const double* b, int64_t count, double a, const double* gradient,
                    double* b_sums) {
    const __m512d factor = _mm512_set1_pd(a);
    __m512d low = _mm512_setzero_pd(), high = low;
    int64_t at = 0;
    for (; at + lanes <= count; at += lanes) {
      low = add<of_a, of_b>(low, 0xff, eight(gradient, col + at), b + at, factor, b_sums + at);
      high = add<of_a, of_b>(high, 0xff, eight(gradient, col + at + 8), b + at + 8, factor, b_sums + at + 8);
    }
    if (at < count) {
      const __mmask16 mask = static_cast<__mmask16>((1u << (count - at)) - 1);
      alignas(64) int32_t left[lanes];
      _mm512_store_si512(left, _mm512_maskz_loadu_epi32(mask, col + at));
      low = add<of_a, of_b>(low, static_cast<__mmask8>(mask), eight(gradient, left), b + at, factor, b_sums + at);
      if (count - at > 8)
        high = add<of_a, of_b>(high, static_cast<__mmask8>(mask >> 8), eight(gradient, left + 8), b + at + 8, factor,
                               b_sums + at + 8);
    }
    if constexpr (!of_a) return 0;
    const __m512d by_eight = _mm512_add_pd(low, high);
    const __m256d by_four = _mm256_add_pd(_mm512_castpd512_pd256(by_eight), _mm512_extractf64x4_pd(by_eight, 1));
    const __m128d by_two = _mm_add_pd(_mm256_castpd256_pd128(by_four), _mm256_extractf128_pd(by_four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(by_two, _mm_unpackhi_pd(by_two, by_two)));
  }

 private:
  template <bool of_a, bool of_b>
  static __m512d add(__m512d sums, __mmask8 mask, __m512d g, const double* b, __m512d factor, double* b_sums) {
    if constexpr (of_b) {
      const __m512d added = _mm512_add_pd(_mm512_maskz_loadu_pd(mask, b_sums), _mm512_mul_pd(factor, g));
      _mm512_mask_storeu_pd(b_sums, mask, added);
    }
    if constexpr (!of_a) return sums;
    return _mm512_mask_add_pd(sums, mask, sums, _mm512_mul_pd(g, _mm512_maskz_loadu_pd(mask, b)));
  }
};

}  // namespace

GradientRows gradient_rows_avx512(ValueType type) { return gradient_rows_with<Walk>(type); }

}  // namespace warphash::spgemm
