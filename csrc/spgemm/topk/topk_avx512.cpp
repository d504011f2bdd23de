// SPDX-License-Identifier: Apache-2.0
// Windows of sums by 64 bytes at a time. Bound: a load and a store of the first-level cache for each vector of sums.
//
// What is large enough leaves its vector by a compressing move within registers; a compressing store to memory is slow on
// some processors.
#include <immintrin.h>

#include "spgemm/topk/topk_loops.h"

namespace warphash::spgemm {
namespace {

inline __m512i columns_from(int32_t first) {
  const __m512i steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_add_epi32(_mm512_set1_epi32(first), steps);
}
inline __mmask16 first_lanes(int64_t count) { return count >= 16 ? 0xffff : static_cast<__mmask16>((1u << count) - 1); }

// ---- float ----
int64_t inspect_f32(const int32_t* col, const float* values, int64_t count, int32_t base, int32_t width, float* least) {
  const __m512i low = _mm512_set1_epi32(base), size = _mm512_set1_epi32(width);
  __m512 lowest = _mm512_set1_ps(__builtin_inff());
  __mmask16 bad = 0;
  int64_t i = 0;
  for (; i < count; i += 16) {
    const __mmask16 lanes = first_lanes(count - i);
    const __m512i at = _mm512_sub_epi32(_mm512_maskz_loadu_epi32(lanes, col + i), low);
    const __mmask16 outside = static_cast<__mmask16>(~_mm512_mask_cmplt_epu32_mask(lanes, at, size));
    const __mmask16 inside = outside == 0 ? 0xffff : static_cast<__mmask16>((1u << __builtin_ctz(outside)) - 1);
    const __m512 v = _mm512_abs_ps(_mm512_maskz_loadu_ps(inside, values + i));
    bad |= _mm512_mask_cmp_ps_mask(inside, v, _mm512_setzero_ps(), _CMP_NGT_UQ);
    lowest = _mm512_mask_min_ps(lowest, inside, lowest, v);
    if (outside != 0) {
      i += __builtin_ctz(outside);
      break;
    }
  }
  *least = bad ? 0.0f : _mm512_reduce_min_ps(lowest);
  return i;
}

void add_f32(float* sums, const float* row, int64_t width, float factor) {
  const __m512 a = _mm512_set1_ps(factor);
  for (int64_t i = 0; i < width; i += 16)
    _mm512_storeu_ps(sums + i, _mm512_add_ps(_mm512_loadu_ps(sums + i), _mm512_mul_ps(a, _mm512_loadu_ps(row + i))));
}

inline void keep_f32(__m512 v, int32_t first, __mmask16 wanted, Found<float>* found) {
  _mm512_storeu_ps(found->values + found->count, _mm512_maskz_compress_ps(wanted, v));
  _mm512_storeu_si512(found->columns + found->count, _mm512_maskz_compress_epi32(wanted, columns_from(first)));
  found->count += __builtin_popcount(wanted);
}

int64_t collect_f32(float* sums, int64_t begin, int64_t width, int32_t base, float floor, bool all,
                    Found<float>* found) {
  const __m512 least = _mm512_set1_ps(floor), untouched = _mm512_set1_ps(-0.0f);
  for (int64_t i = begin; i < width; i += 16) {
    const __m512 v = _mm512_loadu_ps(sums + i);
    const __mmask16 touched = _mm512_cmpneq_epi32_mask(_mm512_castps_si512(v), _mm512_castps_si512(untouched));
    const __mmask16 wanted = all ? touched : _mm512_mask_cmp_ps_mask(touched, v, least, _CMP_GE_OQ);
    if (__builtin_expect(wanted != 0, 0)) {
      if (found->count + 16 > found->room) return i;
      keep_f32(v, base + static_cast<int32_t>(i), wanted, found);
    }
    _mm512_storeu_ps(sums + i, untouched);
  }
  return width;
}

int64_t collect_marked_f32(float* sums, uint8_t* marks, int64_t begin, int64_t width, int32_t base, float floor,
                           bool all, Found<float>* found) {
  const __m512 least = _mm512_set1_ps(floor), untouched = _mm512_set1_ps(-0.0f);
  for (int64_t i = begin; i < width; i += 16) {
    const __m128i flags = _mm_loadu_si128(reinterpret_cast<const __m128i*>(marks + i));
    const __mmask16 marked = _mm_test_epi8_mask(flags, flags);
    if (marked == 0) continue;
    const __m512 v = _mm512_add_ps(_mm512_loadu_ps(sums + i), _mm512_setzero_ps());
    const __mmask16 wanted = all ? marked : _mm512_mask_cmp_ps_mask(marked, v, least, _CMP_GE_OQ);
    if (wanted != 0) {
      if (found->count + 16 > found->room) return i;
      keep_f32(v, base + static_cast<int32_t>(i), wanted, found);
    }
    _mm512_storeu_ps(sums + i, untouched);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(marks + i), _mm_setzero_si128());
  }
  return width;
}

// ---- double ----
int64_t inspect_f64(const int32_t* col, const double* values, int64_t count, int32_t base, int32_t width,
                    double* least) {
  *least = __builtin_inf();
  return inspect_loop(col, values, count, base, width, 0, least);
}

void add_f64(double* sums, const double* row, int64_t width, double factor) {
  const __m512d a = _mm512_set1_pd(factor);
  for (int64_t i = 0; i < width; i += 8)
    _mm512_storeu_pd(sums + i, _mm512_add_pd(_mm512_loadu_pd(sums + i), _mm512_mul_pd(a, _mm512_loadu_pd(row + i))));
}

inline void keep_f64(__m512d v, int32_t first, __mmask8 wanted, Found<double>* found) {
  const __m256i columns = _mm512_castsi512_si256(columns_from(first));
  _mm512_storeu_pd(found->values + found->count, _mm512_maskz_compress_pd(wanted, v));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(found->columns + found->count),
                      _mm256_maskz_compress_epi32(wanted, columns));
  found->count += __builtin_popcount(wanted);
}

int64_t collect_f64(double* sums, int64_t begin, int64_t width, int32_t base, double floor, bool all,
                    Found<double>* found) {
  const __m512d least = _mm512_set1_pd(floor), untouched = _mm512_set1_pd(-0.0);
  for (int64_t i = begin; i < width; i += 8) {
    const __m512d v = _mm512_loadu_pd(sums + i);
    const __mmask8 touched = _mm512_cmpneq_epi64_mask(_mm512_castpd_si512(v), _mm512_castpd_si512(untouched));
    const __mmask8 wanted = all ? touched : _mm512_mask_cmp_pd_mask(touched, v, least, _CMP_GE_OQ);
    if (__builtin_expect(wanted != 0, 0)) {
      if (found->count + 16 > found->room) return i;
      keep_f64(v, base + static_cast<int32_t>(i), wanted, found);
    }
    _mm512_storeu_pd(sums + i, untouched);
  }
  return width;
}

int64_t collect_marked_f64(double* sums, uint8_t* marks, int64_t begin, int64_t width, int32_t base, double floor,
                           bool all, Found<double>* found) {
  const __m512d least = _mm512_set1_pd(floor), untouched = _mm512_set1_pd(-0.0);
  for (int64_t i = begin; i < width; i += 8) {
    const __m128i flags = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(marks + i));
    const __mmask8 marked = static_cast<__mmask8>(_mm_test_epi8_mask(flags, flags));
    if (marked == 0) continue;
    const __m512d v = _mm512_add_pd(_mm512_loadu_pd(sums + i), _mm512_setzero_pd());
    const __mmask8 wanted = all ? marked : _mm512_mask_cmp_pd_mask(marked, v, least, _CMP_GE_OQ);
    if (wanted != 0) {
      if (found->count + 16 > found->room) return i;
      keep_f64(v, base + static_cast<int32_t>(i), wanted, found);
    }
    _mm512_storeu_pd(sums + i, untouched);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(marks + i), _mm_setzero_si128());
  }
  return width;
}

constexpr TopkKernels<float> kernels_f32 = {inspect_f32, add_f32, collect_f32, collect_marked_f32};
constexpr TopkKernels<double> kernels_f64 = {inspect_f64, add_f64, collect_f64, collect_marked_f64};

}  // namespace

const TopkKernels<float>& topk_kernels_avx512(float) { return kernels_f32; }
const TopkKernels<double>& topk_kernels_avx512(double) { return kernels_f64; }

}  // namespace warphash::spgemm
