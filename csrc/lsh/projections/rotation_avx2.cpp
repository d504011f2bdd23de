// SPDX-License-Identifier: Apache-2.0
// Rotations in AVX2: up to 64 float32 (32 float64) values in 8 registers, larger ones in the first cache.
#include <immintrin.h>

#include "lsh/projections/rotation_passes.h"

namespace warphash::lsh {
namespace {

struct Single {
  using Real = float;
  using Vec = __m256;
  static constexpr int lanes = 8, log_lanes = 3, most_vectors = 8;
  static Vec load(const float* at) { return _mm256_loadu_ps(at); }
  static void store(float* at, Vec v) { _mm256_storeu_ps(at, v); }
  static Vec spread(float value) { return _mm256_set1_ps(value); }
  static Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
  static Vec subtract(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
  static Vec multiply(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
  static Vec multiply_add(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
  static Vec magnitude(Vec v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }
  static Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
  static float greatest(Vec v) {
    __m128 most = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    most = _mm_max_ps(most, _mm_movehl_ps(most, most));
    return _mm_cvtss_f32(_mm_max_ss(most, _mm_movehdup_ps(most)));
  }
  static unsigned signs(Vec v) {
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_GE_OQ)));
  }
  static unsigned equal(Vec a, Vec b) {
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ)));
  }
  static Vec negated(Vec v, const uint8_t* packed, int64_t first) {
    const __m256i counts = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
    const __m256i byte = _mm256_set1_epi32(packed[first / 8]);
    const __m256i moved = _mm256_sllv_epi32(byte, counts);  // bit i of the byte to the sign of lane i
    return _mm256_xor_ps(v, _mm256_and_ps(_mm256_castsi256_ps(moved), _mm256_set1_ps(-0.0f)));
  }
  template <int stage>
  static Vec swapped(Vec v) {
    if constexpr (stage == 0) return _mm256_permute_ps(v, 0xb1);
    if constexpr (stage == 1) return _mm256_permute_ps(v, 0x4e);
    return _mm256_permute2f128_ps(v, v, 1);
  }
  template <int stage>
  static Vec alternating() {
    if constexpr (stage == 0) return _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1);
    if constexpr (stage == 1) return _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1);
    return _mm256_setr_ps(1, 1, 1, 1, -1, -1, -1, -1);
  }
};

struct Wide {
  using Real = double;
  using Vec = __m256d;
  static constexpr int lanes = 4, log_lanes = 2, most_vectors = 8;
  static Vec load(const double* at) { return _mm256_loadu_pd(at); }
  static void store(double* at, Vec v) { _mm256_storeu_pd(at, v); }
  static Vec spread(double value) { return _mm256_set1_pd(value); }
  static Vec add(Vec a, Vec b) { return _mm256_add_pd(a, b); }
  static Vec subtract(Vec a, Vec b) { return _mm256_sub_pd(a, b); }
  static Vec multiply(Vec a, Vec b) { return _mm256_mul_pd(a, b); }
  static Vec multiply_add(Vec a, Vec b, Vec c) { return _mm256_fmadd_pd(a, b, c); }
  static Vec magnitude(Vec v) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), v); }
  static Vec max(Vec a, Vec b) { return _mm256_max_pd(a, b); }
  static double greatest(Vec v) {
    const __m128d most = _mm_max_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_max_sd(most, _mm_unpackhi_pd(most, most)));
  }
  static unsigned signs(Vec v) {
    return static_cast<unsigned>(_mm256_movemask_pd(_mm256_cmp_pd(v, _mm256_setzero_pd(), _CMP_GE_OQ)));
  }
  static unsigned equal(Vec a, Vec b) {
    return static_cast<unsigned>(_mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_EQ_OQ)));
  }
  static Vec negated(Vec v, const uint8_t* packed, int64_t first) {
    const __m256i nibble = _mm256_set1_epi64x(packed[first / 8] >> (first % 8));
    const __m256i moved = _mm256_sllv_epi64(nibble, _mm256_setr_epi64x(63, 62, 61, 60));
    return _mm256_xor_pd(v, _mm256_and_pd(_mm256_castsi256_pd(moved), _mm256_set1_pd(-0.0)));
  }
  template <int stage>
  static Vec swapped(Vec v) {
    if constexpr (stage == 0) return _mm256_permute_pd(v, 0x5);
    return _mm256_permute2f128_pd(v, v, 1);
  }
  template <int stage>
  static Vec alternating() {
    if constexpr (stage == 0) return _mm256_setr_pd(1, -1, 1, -1);
    return _mm256_setr_pd(1, 1, -1, -1);
  }
};

}  // namespace

const RotationTable& rotations_avx2() {
  static constexpr RotationTable table = {{3, rotated_signs<Single>, rotated_largest<Single>},
                                          {3, rotated_signs<Wide>, rotated_largest<Wide>}};
  return table;
}

}  // namespace warphash::lsh
