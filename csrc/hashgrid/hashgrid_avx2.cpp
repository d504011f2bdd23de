// SPDX-License-Identifier: Apache-2.0
// The stages by 8 points at a time. Bound: reads of rows, one load each as in the AVX-512 file; and, with
// 16 registers, the stores and loads of corners that do not fit.
#include <immintrin.h>

#include "hashgrid/hashgrid_gather.h"

namespace warphash::hashgrid {
namespace {

typedef float Floats8 __attribute__((vector_size(32)));
typedef uint32_t Words8 __attribute__((vector_size(32)));

inline __m256i bits(Words8 x) { return reinterpret_cast<__m256i>(x); }
inline __m256i bits(__m256 x) { return _mm256_castps_si256(x); }
inline Words8 words(__m256i x) { return reinterpret_cast<Words8>(x); }
inline __m256 floats_of(Words8 x) { return _mm256_castsi256_ps(bits(x)); }

// Rows of 1, 2, 4 or 8 32-bit words: word w of the 8 rows becomes out[w].
inline void read_words(const void* base, const uint32_t* row, Words8 (&out)[1]) {
  const char* from = static_cast<const char*>(base);
  const auto word = [&](size_t at) { return load<int>(from + at * 4); };
  const auto four = [&](const uint32_t* some) {
    const TwoRows a(some), b(some + 2);
    const __m128i two = _mm_insert_epi32(_mm_cvtsi32_si128(word(a.first)), word(a.second), 1);
    return _mm_insert_epi32(_mm_insert_epi32(two, word(b.first), 2), word(b.second), 3);
  };
  out[0] = words(_mm256_set_m128i(four(row + 4), four(row)));
}
// Two words at multiples of `step` bytes.
template <int step>
inline void read_doubles(const void* base, const uint32_t* row, Words8* out) {
  // Rows 0, 1, 4, 5 and 2, 3, 6, 7: a shuffle within halves then puts all in order.
  const __m256 low = _mm256_set_m128(two_doubles<step>(base, row + 4), two_doubles<step>(base, row));
  const __m256 high = _mm256_set_m128(two_doubles<step>(base, row + 6), two_doubles<step>(base, row + 2));
  out[0] = words(bits(_mm256_shuffle_ps(low, high, 0x88)));
  out[1] = words(bits(_mm256_shuffle_ps(low, high, 0xdd)));
}
inline void read_words(const void* base, const uint32_t* row, Words8 (&out)[2]) { read_doubles<8>(base, row, out); }
// Four words at `offset` words of rows of `stride` words.
inline void read_quads(const void* base, int64_t stride, int64_t offset, const uint32_t* row, Words8* out) {
  const uint32_t* from = static_cast<const uint32_t*>(base) + offset;
  auto quad = [&](int lane) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + row[lane] * stride)); };
  __m256i part[4];
  for (int j = 0; j < 4; ++j) part[j] = _mm256_inserti128_si256(_mm256_castsi128_si256(quad(j)), quad(4 + j), 1);
  const __m256i a = _mm256_unpacklo_epi32(part[0], part[1]), b = _mm256_unpackhi_epi32(part[0], part[1]);
  const __m256i c = _mm256_unpacklo_epi32(part[2], part[3]), d = _mm256_unpackhi_epi32(part[2], part[3]);
  out[0] = words(_mm256_unpacklo_epi64(a, c));
  out[1] = words(_mm256_unpackhi_epi64(a, c));
  out[2] = words(_mm256_unpacklo_epi64(b, d));
  out[3] = words(_mm256_unpackhi_epi64(b, d));
}
inline void read_words(const void* base, const uint32_t* row, Words8 (&out)[4]) { read_quads(base, 4, 0, row, out); }
inline void read_words(const void* base, const uint32_t* row, Words8 (&out)[8]) {
  read_quads(base, 8, 0, row, out);
  read_quads(base, 8, 4, row, out + 4);
}

// A row of one or two words and the one behind it.
inline void read_two_rows(const void* base, const uint32_t* row, Words8 (&out)[2]) { read_doubles<4>(base, row, out); }
inline void read_two_rows(const void* base, const uint32_t* row, Words8 (&out)[4]) { read_quads(base, 2, 0, row, out); }

inline __m256 float16_in_words(Words8 low_halves) {
  const __m256i packed = _mm256_packus_epi32(bits(low_halves), bits(low_halves));
  return _mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08)));
}

inline __m128i to_bfloat16(__m256 x) {
  const __m256i word = bits(x), odd = _mm256_and_si256(_mm256_srli_epi32(word, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(word, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i nan = bits(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i half = _mm256_blendv_epi8(_mm256_srli_epi32(rounded, 16), _mm256_set1_epi32(0x7fc0), nan);
  return _mm256_castsi256_si128(_mm256_permute4x64_epi64(_mm256_packus_epi32(half, half), 0x08));
}

struct Lanes {
  using Real = float;
  using Reals = Floats8;
  using Words = Words8;
  static constexpr int width = 8;
  static Reals fused(Reals x, float scale, float shift) {
    return _mm256_fmadd_ps(x, _mm256_set1_ps(scale), _mm256_set1_ps(shift));
  }
  static bool all_near(Reals x) {
    const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
    return _mm256_movemask_ps(_mm256_cmp_ps(size, _mm256_set1_ps(0x1p31f), _CMP_LT_OQ)) == 0xff;
  }
  static Reals floored(Reals x, Words& cell) {
    const __m256 low = _mm256_floor_ps(x);
    cell = words(_mm256_cvttps_epi32(low));
    return low;
  }
  static __m256i reached(Words row, uint32_t rows) {
    const __m256i limit = _mm256_set1_epi32(static_cast<int>(rows));
    return _mm256_cmpeq_epi32(_mm256_max_epu32(bits(row), limit), bits(row));
  }
  static Words less_if_reached(Words row, uint32_t rows) { return row - (words(reached(row, rows)) & rows); }
  static bool follows(const uint32_t* low, const uint32_t* high) {
    const Words next = load<Words>(low) + 1;
    return _mm256_movemask_epi8(_mm256_cmpeq_epi32(bits(next), bits(load<Words>(high)))) == -1;
  }
  static bool any_reaches(Words row, uint32_t rows) { return _mm256_movemask_epi8(reached(row, rows)) != 0; }

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
      first = float16_in_words(pairs & 0xffffu), second = float16_in_words(pairs >> 16);
    }
  }
  template <TableType type>
  static Reals wide(const uint16_t* from) {
    const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    if constexpr (type == TableType::f16)
      return _mm256_cvtph_ps(packed);
    else
      return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(packed), 16));
  }
  template <TableType type>
  static void store_narrowed(uint16_t* to, Reals x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     type == TableType::f16 ? _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT) : to_bfloat16(x));
  }
};

}  // namespace

const Kernels<float>& kernels_avx2() {
  static constexpr Kernels<float> kernels = kernels_of_lanes<Lanes>(Isa::avx2);
  return kernels;
}

}  // namespace warphash::hashgrid
