// SPDX-License-Identifier: Apache-2.0
// Chains of fused multiply-adds in AVX2: tiles of 6 rows and 16 columns, or of 8 rows and one vector.
#include <immintrin.h>

#include "lsh/projections/chain_tiles.h"

namespace warphash::lsh {
namespace {

struct Single {
  using Real = float;
  using Vec = __m256;
  static constexpr int lanes = 8;
  static Vec zero() { return _mm256_setzero_ps(); }
  static Vec load(const float* at) { return _mm256_loadu_ps(at); }
  static void store(float* at, Vec v) { _mm256_storeu_ps(at, v); }
  static Vec spread(float value) { return _mm256_set1_ps(value); }
  static Vec multiply_add(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
  static unsigned signs(Vec v) {
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(v, zero(), _CMP_GE_OQ)));
  }
  static Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
  static Vec divide(Vec a, Vec b) { return _mm256_div_ps(a, b); }
  static void store_floors(int32_t* to, Vec v) {
    const Vec floors = _mm256_floor_ps(v);
    const Vec high = _mm256_cmp_ps(floors, spread(2147483648.0f), _CMP_GE_OQ);  // all else out of range gives the least
    const __m256i codes = _mm256_xor_si256(_mm256_cvttps_epi32(floors), _mm256_castps_si256(high));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), codes);
  }
};

struct Wide {
  using Real = double;
  using Vec = __m256d;
  static constexpr int lanes = 4;
  static Vec zero() { return _mm256_setzero_pd(); }
  static Vec load(const double* at) { return _mm256_loadu_pd(at); }
  static void store(double* at, Vec v) { _mm256_storeu_pd(at, v); }
  static Vec spread(double value) { return _mm256_set1_pd(value); }
  static Vec multiply_add(Vec a, Vec b, Vec c) { return _mm256_fmadd_pd(a, b, c); }
  static unsigned signs(Vec v) {
    return static_cast<unsigned>(_mm256_movemask_pd(_mm256_cmp_pd(v, zero(), _CMP_GE_OQ)));
  }
  static Vec add(Vec a, Vec b) { return _mm256_add_pd(a, b); }
  static Vec divide(Vec a, Vec b) { return _mm256_div_pd(a, b); }
  static void store_floors(int32_t* to, Vec v) {
    const Vec floors = _mm256_min_pd(_mm256_floor_pd(v), spread(2147483647.0));
    // min gives its second operand beside NaN.
    const Vec codes = _mm256_blendv_pd(floors, v, _mm256_cmp_pd(v, v, _CMP_UNORD_Q));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvttpd_epi32(codes));
  }
};

// A panel is two vectors.
template <class V>
int layout_width(int columns) {
  return columns <= V::lanes ? V::lanes : 2 * V::lanes;
}
template <class V, class Out>
void run(const ChainBlock<typename V::Real>& block, const Out& out) {
  if (block.columns <= V::lanes) return run_tiles<V, 1, 8, 2 * V::lanes>(block, out);
  run_tiles<V, 2, 6, 2 * V::lanes>(block, out);
}
template <class V>
void signs(const ChainBlock<typename V::Real>& block, uint8_t* bits, int64_t stride) {
  run<V>(block, ToBits<2 * V::lanes>{bits, stride});
}
template <class V>
void sums(const ChainBlock<typename V::Real>& block) {
  run<V>(block, ToSums<typename V::Real, 2 * V::lanes>{block.sums});
}

void widen(VectorType type, const uint16_t* from, int64_t count, float* to) {
  const auto widened = [type](__m128i halves) {
    return type == VectorType::f16 ? _mm256_cvtph_ps(halves)
                                   : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
  };
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    _mm256_storeu_ps(to + i, widened(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
  if (i == count) return;
  alignas(16) uint16_t rest[8] = {};
  alignas(32) float wide[8];
  std::memcpy(rest, from + i, 2 * (count - i));
  _mm256_store_ps(wide, widened(_mm_load_si128(reinterpret_cast<const __m128i*>(rest))));
  std::memcpy(to + i, wide, 4 * (count - i));
}

}  // namespace

const ChainTable& chains_avx2() {
  static constexpr ChainTable table = {
      {2 * Single::lanes, layout_width<Single>, signs<Single>, sums<Single>, quantise<Single>},
      {2 * Wide::lanes, layout_width<Wide>, signs<Wide>, sums<Wide>, quantise<Wide>},
      widen};
  return table;
}

}  // namespace warphash::lsh
