// SPDX-License-Identifier: Apache-2.0
// Rotations in AVX-512: up to 256 float32 (128 float64) values in 16 registers.
#include <immintrin.h>

#include "lsh/projections/rotation_passes.h"

namespace warphash::lsh {
namespace {

struct Single {
  using Real = float;
  using Vec = __m512;
  static constexpr int lanes = 16, log_lanes = 4, most_vectors = 16;
  static Vec load(const float* at) { return _mm512_loadu_ps(at); }
  static void store(float* at, Vec v) { _mm512_storeu_ps(at, v); }
  static Vec spread(float value) { return _mm512_set1_ps(value); }
  static Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
  static Vec subtract(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
  static Vec multiply(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
  static Vec multiply_add(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
  static Vec magnitude(Vec v) { return _mm512_abs_ps(v); }
  static Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
  static float greatest(Vec v) { return _mm512_reduce_max_ps(v); }
  static unsigned signs(Vec v) { return _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_GE_OQ); }
  static unsigned equal(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
  static Vec negated(Vec v, const uint8_t* packed, int64_t first) {
    uint16_t mask;
    std::memcpy(&mask, packed + first / 8, 2);
    return _mm512_mask_xor_ps(v, mask, v, _mm512_set1_ps(-0.0f));
  }
  template <int stage>
  static Vec swapped(Vec v) {
    if constexpr (stage == 0) return _mm512_permute_ps(v, 0xb1);
    if constexpr (stage == 1) return _mm512_permute_ps(v, 0x4e);
    if constexpr (stage == 2) return _mm512_shuffle_f32x4(v, v, 0xb1);
    return _mm512_shuffle_f32x4(v, v, 0x4e);
  }
  template <int stage>
  static Vec alternating() {
    constexpr uint16_t masks[] = {0xaaaa, 0xcccc, 0xf0f0, 0xff00};
    return _mm512_mask_blend_ps(masks[stage], _mm512_set1_ps(1.0f), _mm512_set1_ps(-1.0f));
  }
};

struct Wide {
  using Real = double;
  using Vec = __m512d;
  static constexpr int lanes = 8, log_lanes = 3, most_vectors = 16;
  static Vec load(const double* at) { return _mm512_loadu_pd(at); }
  static void store(double* at, Vec v) { _mm512_storeu_pd(at, v); }
  static Vec spread(double value) { return _mm512_set1_pd(value); }
  static Vec add(Vec a, Vec b) { return _mm512_add_pd(a, b); }
  static Vec subtract(Vec a, Vec b) { return _mm512_sub_pd(a, b); }
  static Vec multiply(Vec a, Vec b) { return _mm512_mul_pd(a, b); }
  static Vec multiply_add(Vec a, Vec b, Vec c) { return _mm512_fmadd_pd(a, b, c); }
  static Vec magnitude(Vec v) { return _mm512_abs_pd(v); }
  static Vec max(Vec a, Vec b) { return _mm512_max_pd(a, b); }
  static double greatest(Vec v) { return _mm512_reduce_max_pd(v); }
  static unsigned signs(Vec v) { return _mm512_cmp_pd_mask(v, _mm512_setzero_pd(), _CMP_GE_OQ); }
  static unsigned equal(Vec a, Vec b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
  static Vec negated(Vec v, const uint8_t* packed, int64_t first) {
    return _mm512_mask_xor_pd(v, packed[first / 8], v, _mm512_set1_pd(-0.0));
  }
  template <int stage>
  static Vec swapped(Vec v) {
    if constexpr (stage == 0) return _mm512_permute_pd(v, 0x55);
    if constexpr (stage == 1) return _mm512_shuffle_f64x2(v, v, 0xb1);
    return _mm512_shuffle_f64x2(v, v, 0x4e);
  }
  template <int stage>
  static Vec alternating() {
    constexpr uint8_t masks[] = {0xaa, 0xcc, 0xf0};
    return _mm512_mask_blend_pd(masks[stage], _mm512_set1_pd(1.0), _mm512_set1_pd(-1.0));
  }
};

}  // namespace

const RotationTable& rotations_avx512() {
  static constexpr RotationTable table = {{Single::log_lanes, rotated_signs<Single>, rotated_largest<Single>},
                                          {Wide::log_lanes, rotated_signs<Wide>, rotated_largest<Wide>}};
  return table;
}

}  // namespace warphash::lsh
