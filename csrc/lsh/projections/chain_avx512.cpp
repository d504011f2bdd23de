// SPDX-License-Identifier: Apache-2.0
// Chains of fused multiply-adds in AVX-512: tiles of 6 rows and 64 columns (32 of float64); of 8 rows and fewer vectors in
// a narrower last panel, down to half a vector.
#include <immintrin.h>

#include "lsh/projections/chain_tiles.h"

namespace warphash::lsh {
namespace {

struct Single {
  using Real = float;
  using Vec = __m512;
  static constexpr int lanes = 16;
  static Vec zero() { return _mm512_setzero_ps(); }
  static Vec load(const float* at) { return _mm512_loadu_ps(at); }
  static void store(float* at, Vec v) { _mm512_storeu_ps(at, v); }
  static Vec spread(float value) { return _mm512_set1_ps(value); }
  static Vec multiply_add(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
  static unsigned signs(Vec v) { return _mm512_cmp_ps_mask(v, zero(), _CMP_GE_OQ); }
  static Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
  static Vec divide(Vec a, Vec b) { return _mm512_div_ps(a, b); }
  static void store_floors(int32_t* to, Vec v) {
    const Vec floors = _mm512_floor_ps(v);
    const __mmask16 high = _mm512_cmp_ps_mask(floors, spread(2147483648.0f), _CMP_GE_OQ);
    const __m512i most = _mm512_set1_epi32(INT32_MAX);  // all else out of range is converted to the least
    _mm512_storeu_si512(to, _mm512_mask_mov_epi32(_mm512_cvttps_epi32(floors), high, most));
  }
};
struct HalfSingle {
  using Real = float;
  using Vec = __m256;
  static constexpr int lanes = 8;
  static Vec zero() { return _mm256_setzero_ps(); }
  static Vec load(const float* at) { return _mm256_loadu_ps(at); }
  static void store(float* at, Vec v) { _mm256_storeu_ps(at, v); }
  static Vec spread(float value) { return _mm256_set1_ps(value); }
  static Vec multiply_add(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
  static unsigned signs(Vec v) { return _mm256_cmp_ps_mask(v, zero(), _CMP_GE_OQ); }
};
struct Wide {
  using Real = double;
  using Vec = __m512d;
  static constexpr int lanes = 8;
  static Vec zero() { return _mm512_setzero_pd(); }
  static Vec load(const double* at) { return _mm512_loadu_pd(at); }
  static void store(double* at, Vec v) { _mm512_storeu_pd(at, v); }
  static Vec spread(double value) { return _mm512_set1_pd(value); }
  static Vec multiply_add(Vec a, Vec b, Vec c) { return _mm512_fmadd_pd(a, b, c); }
  static unsigned signs(Vec v) { return _mm512_cmp_pd_mask(v, zero(), _CMP_GE_OQ); }
  static Vec add(Vec a, Vec b) { return _mm512_add_pd(a, b); }
  static Vec divide(Vec a, Vec b) { return _mm512_div_pd(a, b); }
  static void store_floors(int32_t* to, Vec v) {
    const Vec floors = _mm512_floor_pd(v);
    const __mmask8 high = _mm512_cmp_pd_mask(floors, spread(2147483648.0), _CMP_GE_OQ);
    const __m256i most = _mm256_set1_epi32(INT32_MAX);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_mask_mov_epi32(_mm512_cvttpd_epi32(floors), high, most));
  }
};
struct HalfWide {
  using Real = double;
  using Vec = __m256d;
  static constexpr int lanes = 4;
  static Vec zero() { return _mm256_setzero_pd(); }
  static Vec load(const double* at) { return _mm256_loadu_pd(at); }
  static void store(double* at, Vec v) { _mm256_storeu_pd(at, v); }
  static Vec spread(double value) { return _mm256_set1_pd(value); }
  static Vec multiply_add(Vec a, Vec b, Vec c) { return _mm256_fmadd_pd(a, b, c); }
  static unsigned signs(Vec v) { return _mm256_cmp_pd_mask(v, zero(), _CMP_GE_OQ); }
};

// A panel is four vectors.
template <class V>
int layout_width(int columns) {
  return columns <= V::lanes / 2 ? V::lanes / 2 : (columns + V::lanes - 1) / V::lanes * V::lanes;
}
template <class V, class Half, class Out>
void run(const ChainBlock<typename V::Real>& block, const Out& out) {
  constexpr int panel = 4 * V::lanes;
  if (block.columns <= Half::lanes) return run_tiles<Half, 1, 8, panel>(block, out);
  if (block.columns <= V::lanes) return run_tiles<V, 1, 8, panel>(block, out);
  if (block.columns <= 2 * V::lanes) return run_tiles<V, 2, 8, panel>(block, out);
  if (block.columns <= 3 * V::lanes) return run_tiles<V, 3, 8, panel>(block, out);
  run_tiles<V, 4, 6, panel>(block, out);
}
template <class V, class Half>
void signs(const ChainBlock<typename V::Real>& block, uint8_t* bits, int64_t stride) {
  run<V, Half>(block, ToBits<4 * V::lanes>{bits, stride});
}
template <class V, class Half>
void sums(const ChainBlock<typename V::Real>& block) {
  run<V, Half>(block, ToSums<typename V::Real, 4 * V::lanes>{block.sums});
}

void widen(VectorType type, const uint16_t* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 there = static_cast<__mmask16>(count - i < 16 ? (1u << (count - i)) - 1 : 0xffff);
    const __m256i halves = _mm256_maskz_loadu_epi16(there, from + i);
    const __m512 wide = type == VectorType::f16
                            ? _mm512_cvtph_ps(halves)
                            : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
    _mm512_mask_storeu_ps(to + i, there, wide);
  }
}

}  // namespace

const ChainTable& chains_avx512() {
  static constexpr ChainTable table = {
      {4 * Single::lanes, layout_width<Single>, signs<Single, HalfSingle>, sums<Single, HalfSingle>, quantise<Single>},
      {4 * Wide::lanes, layout_width<Wide>, signs<Wide, HalfWide>, sums<Wide, HalfWide>, quantise<Wide>},
      widen};
  return table;
}

}  // namespace warphash::lsh
