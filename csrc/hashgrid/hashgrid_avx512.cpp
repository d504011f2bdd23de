// SPDX-License-Identifier: Apache-2.0
// The stages by 16 points at a time.
//
// Bound: gathers. A level's corner of 16 points is 16 reads of a row, two instructions of 8 for rows of 8 bytes; everything
// else (about 12 instructions a corner) is done beside them. Rows of 16 bytes and more are read one by one and transposed,
// for which there is no gather.
#include <immintrin.h>

#include "hashgrid/hashgrid_half.h"
#include "hashgrid/hashgrid_stages.h"

namespace warphash::hashgrid {
namespace {

typedef float Floats16 __attribute__((vector_size(64)));
typedef uint32_t Words16 __attribute__((vector_size(64)));

inline __m512i bits(Words16 x) { return reinterpret_cast<__m512i>(x); }
inline __m512i bits(__m512 x) { return _mm512_castps_si512(x); }
inline Words16 words(__m512i x) { return reinterpret_cast<Words16>(x); }
inline __m512 floats(Words16 x) { return _mm512_castsi512_ps(bits(x)); }

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
  static Reals truncated(Reals x, Words& cell) {
    const __m512i whole = _mm512_cvttps_epi32(x);
    cell = words(whole);
    return _mm512_cvtepi32_ps(whole);
  }
  static void step_down_if_above(Reals x, Reals& low, Words& cell) {
    const __mmask16 above = _mm512_cmp_ps_mask(x, low, _CMP_LT_OQ);
    low = _mm512_mask_sub_ps(low, above, low, _mm512_set1_ps(1));
    cell = words(_mm512_mask_sub_epi32(bits(cell), above, bits(cell), _mm512_set1_epi32(1)));
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
};

// Rows of 1, 2, 4 or 8 32-bit words: word w of the 16 rows becomes out[w].
template <int count>
inline void read_words(const void* base, const uint32_t* row, Words16 (&out)[count]);

template <>
inline void read_words<1>(const void* base, const uint32_t* row, Words16 (&out)[1]) {
  // Without its mask the gather would merge into a register and wait for it.
  out[0] = words(_mm512_mask_i32gather_epi32(_mm512_setzero_si512(), 0xffff, _mm512_loadu_si512(row), base, 4));
}
// Two words at multiples of `step` bytes.
template <int step>
inline void read_doubles(const void* base, const uint32_t* row, Words16* out) {
  const __m512i low = _mm512_i32gather_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row)), base, step);
  const __m512i high =
      _mm512_i32gather_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 8)), base, step);
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  out[0] = words(_mm512_permutex2var_epi32(low, even, high));
  out[1] = words(_mm512_permutex2var_epi32(low, _mm512_add_epi32(even, _mm512_set1_epi32(1)), high));
}
template <>
inline void read_words<2>(const void* base, const uint32_t* row, Words16 (&out)[2]) {
  read_doubles<8>(base, row, out);
}
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
template <>
inline void read_words<4>(const void* base, const uint32_t* row, Words16 (&out)[4]) {
  read_quads(base, 4, 0, row, out);
}
template <>
inline void read_words<8>(const void* base, const uint32_t* row, Words16 (&out)[8]) {
  read_quads(base, 8, 0, row, out);
  read_quads(base, 8, 4, row, out + 4);
}

// A row of one or two words and the one behind it.
template <int count>
inline void read_two_rows(const void* base, const uint32_t* row, Words16 (&out)[2 * count]) {
  if constexpr (count == 1)
    read_doubles<4>(base, row, out);
  else
    read_quads(base, 2, 0, row, out);
}

template <int width>
struct FloatRows {
  static constexpr int features = width;
  static constexpr bool pairs = width <= 2;
  const void* base;
  FloatRows(const void* rows, int, int) : base(rows) {}
  void read(const uint32_t* row, Floats16* out) const {
    Words16 found[width];
    read_words<width>(base, row, found);
    for (int f = 0; f < width; ++f) out[f] = floats(found[f]);
  }
  void read_two(const uint32_t* row, Floats16* out) const {
    Words16 found[2 * width];
    read_two_rows<width>(base, row, found);
    for (int f = 0; f < 2 * width; ++f) out[f] = floats(found[f]);
  }
};

// A word holds two features of a half type.
template <TableType type>
inline void halves(Words16 pairs, Floats16& first, Floats16& second) {
  if constexpr (type == TableType::bf16) {
    first = floats(pairs << 16), second = floats(pairs & 0xffff0000u);
  } else {
    first = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(bits(pairs)));
    second = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(bits(pairs >> 16)));
  }
}

template <TableType type, int width>
struct HalfRows {
  static constexpr int features = width;
  static constexpr bool pairs = width <= 4;
  const void* base;
  HalfRows(const void* rows, int, int) : base(rows) {}
  void read(const uint32_t* row, Floats16* out) const {
    Words16 found[width / 2];
    read_words<width / 2>(base, row, found);
    for (int pair = 0; pair < width / 2; ++pair) halves<type>(found[pair], out[2 * pair], out[2 * pair + 1]);
  }
  void read_two(const uint32_t* row, Floats16* out) const {
    Words16 found[width];
    read_two_rows<width / 2>(base, row, found);
    for (int pair = 0; pair < width; ++pair) halves<type>(found[pair], out[2 * pair], out[2 * pair + 1]);
  }
};

// One feature of rows of any number of features, and single halves, which no gather reads without reading past them.
template <class Stored, TableType type>
struct SingleFeature {
  static constexpr int features = 1;
  static constexpr bool pairs = false;
  const Stored* base;
  int64_t stride;
  SingleFeature(const void* rows, int all, int first) : base(static_cast<const Stored*>(rows) + first), stride(all) {}
  void read(const uint32_t* row, Floats16* out) const {
    Stored values[16];
    for (int lane = 0; lane < 16; ++lane) values[lane] = base[row[lane] * stride];
    if constexpr (type == TableType::f32) {
      out[0] = load<Floats16>(values);
    } else {
      const __m256i packed = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values));
      if constexpr (type == TableType::f16)
        out[0] = _mm512_cvtph_ps(packed);
      else
        out[0] = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(packed), 16));
    }
  }
};

void widen(TableType type, const uint16_t* from, int64_t count, float* to) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256i packed = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i));
    _mm512_storeu_ps(to + i, type == TableType::f16
                                 ? _mm512_cvtph_ps(packed)
                                 : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(packed), 16)));
  }
  for (; i < count; ++i) to[i] = type == TableType::f16 ? float_of_float16(from[i]) : float_of_bfloat16(from[i]);
}

inline __m256i to_bfloat16(__m512 x) {
  const __m512i word = bits(x), odd = _mm512_and_si512(_mm512_srli_epi32(word, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(word, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(_mm512_srli_epi32(rounded, 16), nan, _mm512_set1_epi32(0x7fc0)));
}

void narrow(TableType type, const float* from, int64_t count, uint16_t* to) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m512 x = _mm512_loadu_ps(from + i);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i),
                        type == TableType::f16 ? _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT) : to_bfloat16(x));
  }
  for (; i < count; ++i) to[i] = type == TableType::f16 ? float16_of_float(from[i]) : bfloat16_of_float(from[i]);
}

template <TableType type>
constexpr void set_half(Kernels<float>& kernels) {
  set_rows<Lanes, SingleFeature<uint16_t, type>>(kernels, type, 0);
  set_rows<Lanes, SingleFeature<uint16_t, type>>(kernels, type, 1);
  set_rows<Lanes, HalfRows<type, 2>>(kernels, type, 2);
  set_rows<Lanes, HalfRows<type, 4>>(kernels, type, 3);
  set_rows<Lanes, HalfRows<type, 8>>(kernels, type, 4);
}

constexpr Kernels<float> make() {
  Kernels<float> kernels{};
  kernels.isa = Isa::avx512;
  set_stages<Lanes>(kernels);
  set_rows<Lanes, SingleFeature<float, TableType::f32>>(kernels, TableType::f32, 0);
  set_rows<Lanes, FloatRows<1>>(kernels, TableType::f32, 1);
  set_rows<Lanes, FloatRows<2>>(kernels, TableType::f32, 2);
  set_rows<Lanes, FloatRows<4>>(kernels, TableType::f32, 3);
  set_rows<Lanes, FloatRows<8>>(kernels, TableType::f32, 4);
  set_half<TableType::f16>(kernels);
  set_half<TableType::bf16>(kernels);
  kernels.widen = widen;
  kernels.narrow = narrow;
  return kernels;
}

}  // namespace

const Kernels<float>& kernels_avx512() {
  static constexpr Kernels<float> kernels = make();
  return kernels;
}

}  // namespace warphash::hashgrid
