// SPDX-License-Identifier: Apache-2.0
// The stages by 16 points at a time.
//
// Bound: reads of rows, one load each; everything else (about 12 instructions a corner) is done beside them. Single
// loads, put together by shuffles, took a fifth less time than gather instructions (Zen 5). Rows of 16 bytes and more are
// read whole and transposed.
#include <immintrin.h>

#include "hashgrid/hashgrid_gather.h"

namespace warphash::hashgrid {
namespace {

typedef float Floats16 __attribute__((vector_size(64)));
typedef uint32_t Words16 __attribute__((vector_size(64)));

inline __m512i bits(Words16 x) { return reinterpret_cast<__m512i>(x); }
inline __m512i bits(__m512 x) { return _mm512_castps_si512(x); }
inline Words16 words(__m512i x) { return reinterpret_cast<Words16>(x); }
inline __m512 floats_of(Words16 x) { return _mm512_castsi512_ps(bits(x)); }

// Rows of 1, 2, 4 or 8 32-bit words: word w of the 16 rows becomes out[w].
inline void read_words(const void* base, const uint32_t* row, Words16 (&out)[1]) {
  const char* from = static_cast<const char*>(base);
  const auto one = [&](size_t at) { return _mm_loadu_si32(from + at * 4); };
  const auto eight = [&](const uint32_t* some) {
    const TwoRows a(some), b(some + 2), c(some + 4), d(some + 6);
    __m256i all = _mm256_castsi128_si256(one(a.first));
    all = _mm256_mask_broadcastd_epi32(all, 0x02, one(a.second));
    all = _mm256_mask_broadcastd_epi32(all, 0x04, one(b.first));
    all = _mm256_mask_broadcastd_epi32(all, 0x08, one(b.second));
    all = _mm256_mask_broadcastd_epi32(all, 0x10, one(c.first));
    all = _mm256_mask_broadcastd_epi32(all, 0x20, one(c.second));
    all = _mm256_mask_broadcastd_epi32(all, 0x40, one(d.first));
    return _mm256_mask_broadcastd_epi32(all, 0x80, one(d.second));
  };
  out[0] = words(_mm512_inserti64x4(_mm512_castsi256_si512(eight(row)), eight(row + 8), 1));
}
// Two words at multiples of `step` bytes.
template <int step>
inline __m512i eight_doubles(const void* base, const uint32_t* row) {
  const __m256 low = _mm256_set_m128(two_doubles<step>(base, row + 2), two_doubles<step>(base, row));
  const __m256 high = _mm256_set_m128(two_doubles<step>(base, row + 6), two_doubles<step>(base, row + 4));
  return _mm512_inserti64x4(_mm512_castps_si512(_mm512_castps256_ps512(low)), _mm256_castps_si256(high), 1);
}
template <int step>
inline void read_doubles(const void* base, const uint32_t* row, Words16* out) {
  const __m512i low = eight_doubles<step>(base, row), high = eight_doubles<step>(base, row + 8);
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  out[0] = words(_mm512_permutex2var_epi32(low, even, high));
  out[1] = words(_mm512_permutex2var_epi32(low, _mm512_add_epi32(even, _mm512_set1_epi32(1)), high));
}
inline void read_words(const void* base, const uint32_t* row, Words16 (&out)[2]) { read_doubles<8>(base, row, out); }
// Four words at `offset` words of rows of `stride` words.
inline void read_quads(const void* base, int64_t stride, int64_t offset, const uint32_t* row, Words16* out) {
  const uint32_t* from = static_cast<const uint32_t*>(base) + offset;
  auto quad = [&](int lane) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + row[lane] * stride)); };
  __m512i part[4];
  for (int j = 0; j < 4; ++j) {  // rows j, 4 + j, 8 + j, 12 + j
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(quad(j)), quad(4 + j), 1);
    const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(quad(8 + j)), quad(12 + j), 1);
    part[j] = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
  const __m512i a = _mm512_unpacklo_epi32(part[0], part[1]), b = _mm512_unpackhi_epi32(part[0], part[1]);
  const __m512i c = _mm512_unpacklo_epi32(part[2], part[3]), d = _mm512_unpackhi_epi32(part[2], part[3]);
  out[0] = words(_mm512_unpacklo_epi64(a, c));
  out[1] = words(_mm512_unpackhi_epi64(a, c));
  out[2] = words(_mm512_unpacklo_epi64(b, d));
  out[3] = words(_mm512_unpackhi_epi64(b, d));
}
inline void read_words(const void* base, const uint32_t* row, Words16 (&out)[4]) { read_quads(base, 4, 0, row, out); }
inline void read_words(const void* base, const uint32_t* row, Words16 (&out)[8]) {
  read_quads(base, 8, 0, row, out);
  read_quads(base, 8, 4, row, out + 4);
}

// A row of one or two words and the one behind it.
inline void read_two_rows(const void* base, const uint32_t* row, Words16 (&out)[2]) { read_doubles<4>(base, row, out); }
inline void read_two_rows(const void* base, const uint32_t* row, Words16 (&out)[4]) {
  read_quads(base, 2, 0, row, out);
}

inline __m256i to_bfloat16(__m512 x) {
  const __m512i word = bits(x), odd = _mm512_and_si512(_mm512_srli_epi32(word, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(word, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(_mm512_srli_epi32(rounded, 16), nan, _mm512_set1_epi32(0x7fc0)));
}

struct Lanes {
  using Real = float;
  using Reals = Floats16;
  using Words = Words16;
  static constexpr int width = 16;
  static Reals fused(Reals x, float scale, float shift) {
    return _mm512_fmadd_ps(x, _mm512_set1_ps(scale), _mm512_set1_ps(shift));
  }
  static bool all_near(Reals x) {
    return _mm512_cmp_ps_mask(_mm512_abs_ps(x), _mm512_set1_ps(0x1p31f), _CMP_LT_OQ) == 0xffff;
  }
  static Reals floored(Reals x, Words& cell) {
    const __m512 low = _mm512_floor_ps(x);
    cell = words(_mm512_cvttps_epi32(low));
    return low;
  }
  static Words less_if_reached(Words row, uint32_t rows) {
    const __m512i limit = _mm512_set1_epi32(static_cast<int>(rows));
    return words(_mm512_mask_sub_epi32(bits(row), _mm512_cmpge_epu32_mask(bits(row), limit), bits(row), limit));
  }
  static bool follows(const uint32_t* low, const uint32_t* high) {
    const __m512i next = _mm512_add_epi32(_mm512_loadu_si512(low), _mm512_set1_epi32(1));
    return _mm512_cmpeq_epi32_mask(next, _mm512_loadu_si512(high)) == 0xffff;
  }
  static bool any_reaches(Words row, uint32_t rows) {
    return _mm512_cmpge_epu32_mask(bits(row), _mm512_set1_epi32(static_cast<int>(rows))) != 0;
  }

  static Reals floats(Words x) { return floats_of(x); }
  template <int count>
  static void read_words(const void* base, const uint32_t* row, Words (&out)[count]) {
    hashgrid::read_words(base, row, out);
  }
  template <int count>
  static void read_two_rows(const void* base, const uint32_t* row, Words (&out)[count]) {
    hashgrid::read_two_rows(base, row, out);
  }
  template <TableType type>
  static void halves(Words pairs, Reals& first, Reals& second) {
    if constexpr (type == TableType::bf16) {
      first = floats(pairs << 16), second = floats(pairs & 0xffff0000u);
    } else {
      first = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(bits(pairs)));
      second = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(bits(pairs >> 16)));
    }
  }
  template <TableType type>
  static Reals wide(const uint16_t* from) {
    const __m256i packed = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    if constexpr (type == TableType::f16)
      return _mm512_cvtph_ps(packed);
    else
      return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(packed), 16));
  }
  template <TableType type>
  static void store_narrowed(uint16_t* to, Reals x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        type == TableType::f16 ? _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT) : to_bfloat16(x));
  }
};

}  // namespace

const Kernels<float>& kernels_avx512() {
  static constexpr Kernels<float> kernels = kernels_of_lanes<Lanes>(Isa::avx512);
  return kernels;
}

}  // namespace warphash::hashgrid
