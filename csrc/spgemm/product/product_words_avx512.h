// SPDX-License-Identifier: Apache-2.0
// Products of rows whose entries stand in words of 16 columns (product_words.h), with AVX-512: values of a word are spread to
// their columns, and sums of all 16 are loaded and stored at once. Sums of other columns are added +0 to, which changes none
// (no sum is -0, since they begin at +0), or keep what they have; so all have the bits of the scalar loop.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "spgemm/product/product_words.h"
#include "spgemm/semirings.h"

namespace warphash::spgemm {
namespace {

// A value in a register: an expansion straight from memory takes longer.
inline __m512i loaded(__m512i x) {
  asm("" : "+v"(x));
  return x;
}

// Arithmetic of lanes. What a mask leaves out is 0 in products, and stays where one of two is chosen.
template <class Value>
struct Vector;

template <>
struct Vector<float> {
  using Mask = __mmask16;
  static __m512 in(__m512i x) { return _mm512_castsi512_ps(x); }
  static __m512i out(__m512 x) { return _mm512_castps_si512(x); }
  static __m512i repeated(float x) { return out(_mm512_set1_ps(x)); }
  static __m512i expanded(Mask to, __m512i x) { return _mm512_maskz_expand_epi32(to, loaded(x)); }
  static __m512i first(int64_t count, const float* from) {
    return _mm512_maskz_loadu_epi32(static_cast<Mask>((1u << count) - 1), from);
  }
  static __m512i plus(__m512i x, __m512i y) { return out(_mm512_add_ps(in(x), in(y))); }
  static __m512i times(__m512i x, __m512i y) { return out(_mm512_mul_ps(in(x), in(y))); }
  static __m512i times(Mask here, __m512i x, __m512i y) { return out(_mm512_maskz_mul_ps(here, in(x), in(y))); }
  // NaN wins over every number, and of equal ones the sum stays (wins_min, wins_max).
  static __m512i lesser(__m512i sum, Mask here, __m512i x) {
    return winner(sum, _mm512_mask_cmp_ps_mask(here, in(x), in(sum), _CMP_NGE_UQ), x);
  }
  static __m512i greater(__m512i sum, Mask here, __m512i x) {
    return winner(sum, _mm512_mask_cmp_ps_mask(here, in(x), in(sum), _CMP_NLE_UQ), x);
  }
  static __m512i winner(__m512i sum, Mask wins, __m512i x) {
    return _mm512_mask_mov_epi32(sum, _mm512_mask_cmp_ps_mask(wins, in(sum), in(sum), _CMP_ORD_Q), x);
  }
};

template <>
struct Vector<int32_t> {
  using Mask = __mmask16;
  static __m512i repeated(int32_t x) { return _mm512_set1_epi32(x); }
  static __m512i expanded(Mask to, __m512i x) { return _mm512_maskz_expand_epi32(to, loaded(x)); }
  static __m512i first(int64_t count, const int32_t* from) {
    return _mm512_maskz_loadu_epi32(static_cast<Mask>((1u << count) - 1), from);
  }
  static __m512i plus(__m512i x, __m512i y) { return _mm512_add_epi32(x, y); }
  static __m512i times(__m512i x, __m512i y) { return _mm512_mullo_epi32(x, y); }
  static __m512i times(Mask here, __m512i x, __m512i y) { return _mm512_maskz_mullo_epi32(here, x, y); }
  static __m512i lesser(__m512i sum, Mask here, __m512i x) { return _mm512_mask_min_epi32(sum, here, sum, x); }
  static __m512i greater(__m512i sum, Mask here, __m512i x) { return _mm512_mask_max_epi32(sum, here, sum, x); }
};

template <>
struct Vector<double> {
  using Mask = __mmask8;
  static __m512d in(__m512i x) { return _mm512_castsi512_pd(x); }
  static __m512i out(__m512d x) { return _mm512_castpd_si512(x); }
  static __m512i repeated(double x) { return out(_mm512_set1_pd(x)); }
  static __m512i expanded(Mask to, __m512i x) { return _mm512_maskz_expand_epi64(to, loaded(x)); }
  static __m512i first(int64_t count, const double* from) {
    return _mm512_maskz_loadu_epi64(static_cast<Mask>((1u << count) - 1), from);
  }
  static __m512i plus(__m512i x, __m512i y) { return out(_mm512_add_pd(in(x), in(y))); }
  static __m512i times(__m512i x, __m512i y) { return out(_mm512_mul_pd(in(x), in(y))); }
  static __m512i times(Mask here, __m512i x, __m512i y) { return out(_mm512_maskz_mul_pd(here, in(x), in(y))); }
  static __m512i lesser(__m512i sum, Mask here, __m512i x) {
    return winner(sum, _mm512_mask_cmp_pd_mask(here, in(x), in(sum), _CMP_NGE_UQ), x);
  }
  static __m512i greater(__m512i sum, Mask here, __m512i x) {
    return winner(sum, _mm512_mask_cmp_pd_mask(here, in(x), in(sum), _CMP_NLE_UQ), x);
  }
  static __m512i winner(__m512i sum, Mask wins, __m512i x) {
    return _mm512_mask_mov_epi64(sum, _mm512_mask_cmp_pd_mask(wins, in(sum), in(sum), _CMP_ORD_Q), x);
  }
};

template <>
struct Vector<int64_t> {
  using Mask = __mmask8;
  static __m512i repeated(int64_t x) { return _mm512_set1_epi64(x); }
  static __m512i expanded(Mask to, __m512i x) { return _mm512_maskz_expand_epi64(to, loaded(x)); }
  static __m512i first(int64_t count, const int64_t* from) {
    return _mm512_maskz_loadu_epi64(static_cast<Mask>((1u << count) - 1), from);
  }
  static __m512i plus(__m512i x, __m512i y) { return _mm512_add_epi64(x, y); }
  static __m512i times(__m512i x, __m512i y) { return _mm512_mullo_epi64(x, y); }
  static __m512i times(Mask here, __m512i x, __m512i y) { return _mm512_maskz_mullo_epi64(here, x, y); }
  static __m512i lesser(__m512i sum, Mask here, __m512i x) { return _mm512_mask_min_epi64(sum, here, sum, x); }
  static __m512i greater(__m512i sum, Mask here, __m512i x) { return _mm512_mask_max_epi64(sum, here, sum, x); }
};

// sum ⊕ (factor ⊗ values) in the lanes `here`.
template <class Value, class Ring>
struct Combined;
template <class Value>
struct Combined<Value, PlusTimes<Value>> {
  using V = Vector<Value>;
  static __m512i of(__m512i sum, typename V::Mask here, __m512i factor, __m512i values) {
    return V::plus(sum, V::times(here, factor, values));
  }
};
template <class Value>
struct Combined<Value, MinPlus<Value>> {
  using V = Vector<Value>;
  static __m512i of(__m512i sum, typename V::Mask here, __m512i factor, __m512i values) {
    return V::lesser(sum, here, V::plus(factor, values));
  }
};
template <class Value>
struct Combined<Value, MaxTimes<Value>> {
  using V = Vector<Value>;
  static __m512i of(__m512i sum, typename V::Mask here, __m512i factor, __m512i values) {
    return V::greater(sum, here, V::times(factor, values));
  }
};

// Whether vectors take words of these values: not bool.
template <class Value>
constexpr bool vectors_take = sizeof(Value) >= 4;

struct NoMarks {
  void operator()(uint32_t, uint32_t) const {}
};

// Long rows are fetched ahead: the processor by itself stops at the end of each page.
constexpr int64_t long_row = 512, ahead_bytes = 4096;

// marks(column, mask) is told of each word. freely: 16 values after b's last one may be read.
template <class Value, class Ring, bool freely, bool fetches, class Marks>
void add_words(Value a, const Value* b, const Word* words, int64_t count, Marks marks, Value* sums) {
  using V = Vector<Value>;
  constexpr int lanes = 64 / sizeof(Value), vectors = 16 / lanes;
  const __m512i factor = V::repeated(a);
  asm("" : "+r"(sums));  // the window's beginning is folded into it once, not in each step
  for (const Word *word = words, *end = words + count; word < end; ++word) {
    if constexpr (fetches) {
      _mm_prefetch(reinterpret_cast<const char*>(b) + ahead_bytes, _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(word) + ahead_bytes, _MM_HINT_T0);
    }
    const uint64_t column = word->column;
    const uint32_t mask = word->mask;
    marks(word->column, mask);
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      const auto here = static_cast<typename V::Mask>(mask >> v * lanes);
      const int64_t entries = _mm_popcnt_u32(here);
      const __m512i next = freely ? _mm512_loadu_si512(b) : V::first(entries, b);
      Value* at = sums + column + v * lanes;
      // All lanes are stored: a store under a mask is not forwarded to the load of the next row of B.
      _mm512_store_si512(at, Combined<Value, Ring>::of(_mm512_load_si512(at), here, factor, V::expanded(here, next)));
      b += entries;
    }
  }
}

// Products of a with `entries` values from b on, which end before b_end.
template <class Value, class Ring, class Marks>
void add_words(Value a, const Value* b, const Value* b_end, const Word* words, int64_t count, int64_t entries,
               Marks marks, Value* sums) {
  if (b_end - b < entries + 16)
    add_words<Value, Ring, false, false>(a, b, words, count, marks, sums);
  else if (count < long_row)
    add_words<Value, Ring, true, false>(a, b, words, count, marks, sums);
  else
    add_words<Value, Ring, true, true>(a, b, words, count, marks, sums);
}

template <class Value, class Ring, int rows, class Marks>
void add_alike_rows(const Value* a, const Value* const* rows_of_b, const Word* words, int64_t count, Marks marks,
                    Value* sums) {
  using V = Vector<Value>;
  constexpr int lanes = 64 / sizeof(Value), vectors = 16 / lanes;
  const Value* b[rows];
  __m512i factors[rows];
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) factors[r] = V::repeated(a[r]), b[r] = rows_of_b[r];
  for (const Word *word = words, *end = words + count; word < end; ++word) {
    uint32_t all = 0;
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      Value* at = sums + word->column + v * lanes;
      __m512i sum = _mm512_load_si512(at);
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
        const auto here = static_cast<typename V::Mask>(word[r * count].mask >> v * lanes);
        sum = Combined<Value, Ring>::of(sum, here, factors[r], V::expanded(here, _mm512_loadu_si512(b[r])));
        b[r] += _mm_popcnt_u32(here);
      }
      _mm512_store_si512(at, sum);
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) all |= word[r * count].mask;
    marks(word->column, all);
  }
}

// Products of 2 to 4 neighbouring rows whose words are alike, `count` each, one row's behind the other's: a sum is loaded and
// stored once for all of them. Reads up to 15 values beyond the last row.
constexpr int64_t most_alike = 4;
template <class Value, class Ring, class Marks>
void add_alike(const Value* a, const Value* const* b, int64_t rows, const Word* words, int64_t count, Marks marks,
               Value* sums) {
  if (rows == 2) return add_alike_rows<Value, Ring, 2>(a, b, words, count, marks, sums);
  if (rows == 3) return add_alike_rows<Value, Ring, 3>(a, b, words, count, marks, sums);
  add_alike_rows<Value, Ring, 4>(a, b, words, count, marks, sums);
}

}  // namespace
}  // namespace warphash::spgemm
