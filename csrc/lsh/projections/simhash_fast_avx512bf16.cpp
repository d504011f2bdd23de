// SPDX-License-Identifier: Apache-2.0
// The fast SimHash with VDPBF16PS: two multiply-adds a lane, so half the instructions of the exact one for the same sums.
// The tiles are those of the exact kernels, with pairs of bfloat16 in the place of float32 values.
#include <immintrin.h>

#include "lsh/projections/chain_tiles.h"
#include "lsh/projections/simhash_fast.h"

namespace warphash::lsh {
namespace {

struct Pairs {
  using Real = Pair;
  using Vec = __m512;
  static constexpr int lanes = 16;
  static Vec zero() { return _mm512_setzero_ps(); }
  static Vec load(const Pair* at) { return _mm512_castsi512_ps(_mm512_loadu_si512(at)); }
  static void store(Pair* at, Vec v) { _mm512_storeu_si512(at, _mm512_castps_si512(v)); }
  static Vec spread(Pair value) { return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(value))); }
  static Vec multiply_add(Vec a, Vec b, Vec c) { return _mm512_dpbf16_ps(c, (__m512bh)(a), (__m512bh)(b)); }
  static unsigned signs(Vec v) { return _mm512_cmp_ps_mask(v, zero(), _CMP_GE_OQ); }
};
struct HalfPairs {
  using Real = Pair;
  using Vec = __m256;
  static constexpr int lanes = 8;
  static Vec zero() { return _mm256_setzero_ps(); }
  static Vec load(const Pair* at) {
    return _mm256_castsi256_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
  }
  static void store(Pair* at, Vec v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), _mm256_castps_si256(v)); }
  static Vec spread(Pair value) { return _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(value))); }
  static Vec multiply_add(Vec a, Vec b, Vec c) { return _mm256_dpbf16_ps(c, (__m256bh)(a), (__m256bh)(b)); }
  static unsigned signs(Vec v) { return _mm256_cmp_ps_mask(v, zero(), _CMP_GE_OQ); }
};

constexpr int panel = 4 * Pairs::lanes;
int layout_width(int columns) {
  return columns <= HalfPairs::lanes ? HalfPairs::lanes : (columns + Pairs::lanes - 1) / Pairs::lanes * Pairs::lanes;
}
template <class Out>
void run(const ChainBlock<Pair>& block, const Out& out) {
  if (block.columns <= HalfPairs::lanes) return run_tiles<HalfPairs, 1, 8, panel>(block, out);
  if (block.columns <= Pairs::lanes) return run_tiles<Pairs, 1, 8, panel>(block, out);
  if (block.columns <= 2 * Pairs::lanes) return run_tiles<Pairs, 2, 8, panel>(block, out);
  if (block.columns <= 3 * Pairs::lanes) return run_tiles<Pairs, 3, 8, panel>(block, out);
  run_tiles<Pairs, 4, 6, panel>(block, out);
}
void signs(const ChainBlock<Pair>& block, uint8_t* bits, int64_t stride) { run(block, ToBits<panel>{bits, stride}); }
void sums(const ChainBlock<Pair>& block) { run(block, ToSums<Pair, panel>{block.sums}); }

// 16 values, of which `there` exist; the others are zero.
inline __m256i rounded(VectorType type, const void* from, int64_t first, __mmask16 there) {
  if (type == VectorType::f32)
    return (__m256i)(_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(there, static_cast<const float*>(from) + first)));
  const __m256i halves = _mm256_maskz_loadu_epi16(there, static_cast<const uint16_t*>(from) + first);
  return type == VectorType::bf16 ? halves : (__m256i)(_mm512_cvtneps_pbh(_mm512_cvtph_ps(halves)));
}

}  // namespace

void round_avx512bf16(VectorType type, const void* from, int64_t count, Pair* to) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i / 2), rounded(type, from, i, 0xffff));
  if (i == count) return;
  const int rest = static_cast<int>(count - i);
  const __m256i last = rounded(type, from, i, static_cast<__mmask16>((1u << rest) - 1));
  _mm256_mask_storeu_epi32(to + i / 2, static_cast<__mmask8>((1u << (rest + 1) / 2) - 1), last);
}

const FastTable& fast_avx512bf16() {
  static constexpr FastTable table = {{panel, layout_width, signs, sums, nullptr}, 1, round_avx512bf16};
  return table;
}

}  // namespace warphash::lsh
