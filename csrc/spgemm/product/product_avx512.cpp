// SPDX-License-Identifier: Apache-2.0
// Rows of the product with AVX-512: see product_windows.h. Vectors read flags and take entries out of windows, 16 columns at
// a time; sums stay scalar, since a scatter is slower than the stores it stands for.
#include <immintrin.h>

#include "spgemm/product/product_kernels.h"
#include "spgemm/product/product_words_avx512.h"

namespace warphash::spgemm {
namespace {

template <class, class>
constexpr bool is_same = false;
template <class T>
constexpr bool is_same<T, T> = true;

struct Ascending {
  alignas(64) uint8_t of[64];
  constexpr Ascending() : of() {
    for (int i = 0; i < 64; ++i) of[i] = static_cast<uint8_t>(i);
  }
};
constexpr Ascending ascending;

struct Avx512Lanes {
  static constexpr int64_t few = 256, few_bits = 8, few_span = int64_t{1} << 23;
  static constexpr int64_t together = most_alike;

  // Bit i: whether flag i of 64 is set; all are zero afterwards.
  static uint64_t take_flags(uint8_t* flags) {
    const __m512i all = _mm512_loadu_si512(flags);
    _mm512_storeu_si512(flags, _mm512_setzero_si512());
    return _mm512_test_epi8_mask(all, all);
  }

  static __m512i lane_numbers() { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }

  // ---- rows of few products -----------------------------------------------------------------------------------------
  // Keys of `count` entries: column - base above, number of the product below. Writes up to 15 beyond them.
  static void few_keys(const int32_t* col, int64_t count, int32_t base, uint32_t number, uint32_t* keys) {
    for (int64_t q = 0; q < count; q += 16) {
      const __mmask16 here = count - q >= 16 ? 0xffff : static_cast<__mmask16>((1u << (count - q)) - 1);
      const __m512i columns = _mm512_sub_epi32(_mm512_maskz_loadu_epi32(here, col + q), _mm512_set1_epi32(base));
      const __m512i numbers = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(number + q)), lane_numbers());
      _mm512_storeu_si512(keys + q, _mm512_or_si512(_mm512_slli_epi32(columns, few_bits), numbers));
    }
  }

  // Sorts; tells how many columns there are. Keys from `count` on are overwritten up to the next multiple of 16.
  static int64_t sort_few(uint32_t* keys, int64_t count) {
    for (int64_t i = count; i % 16 != 0; ++i) keys[i] = ~0u;
    if (count <= 16) return sorted<1>(keys, count);
    if (count <= 32) return sorted<2>(keys, count);
    if (count <= 64) return sorted<4>(keys, count);
    if (count <= 128) return sorted<8>(keys, count);
    return sorted<16>(keys, count);
  }

  // Lanes of x whose number has bit `far` set take the larger one of themselves and the lane at distance `far`, or the
  // smaller one; `up` are the lanes that take the larger one.
  static __m512i exchanged(__m512i x, __m512i other, __mmask16 larger) {
    return _mm512_mask_max_epu32(_mm512_min_epu32(x, other), larger, x, other);
  }
  template <int far>
  static __m512i partner(__m512i x) {
    if constexpr (far == 1) return _mm512_shuffle_epi32(x, _MM_PERM_CDAB);
    if constexpr (far == 2) return _mm512_shuffle_epi32(x, _MM_PERM_BADC);
    if constexpr (far == 4) return _mm512_permutex_epi64(x, 0b01001110);
    return _mm512_shuffle_i64x2(x, x, 0b01001110);
  }
  // The lanes of a bitonic sequence of 16 in order.
  static __m512i merged(__m512i x) {
    x = exchanged(x, partner<8>(x), 0xff00);
    x = exchanged(x, partner<4>(x), 0xf0f0);
    x = exchanged(x, partner<2>(x), 0xcccc);
    return exchanged(x, partner<1>(x), 0xaaaa);
  }
  static __m512i reversed(__m512i x) {
    return _mm512_permutexvar_epi32(_mm512_sub_epi32(_mm512_set1_epi32(15), lane_numbers()), x);
  }
  static __m512i sorted_lanes(__m512i x) {
    x = exchanged(x, partner<1>(x), 0xaaaa);
    // Partners in mirrored order: (0, 3), (1, 2); then eight, then sixteen lanes.
    x = exchanged(x, _mm512_shuffle_epi32(x, _MM_PERM_ABCD), 0xcccc);
    x = exchanged(x, partner<1>(x), 0xaaaa);
    x = exchanged(x, _mm512_permutex_epi64(_mm512_shuffle_epi32(x, _MM_PERM_ABCD), 0b01001110), 0xf0f0);
    x = exchanged(x, partner<2>(x), 0xcccc);
    x = exchanged(x, partner<1>(x), 0xaaaa);
    x = exchanged(x, reversed(x), 0xff00);
    x = exchanged(x, partner<4>(x), 0xf0f0);
    x = exchanged(x, partner<2>(x), 0xcccc);
    return exchanged(x, partner<1>(x), 0xaaaa);
  }

  template <int vectors>
  static int64_t sorted(uint32_t* keys, int64_t count) {
    __m512i x[vectors];
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) x[v] = 16 * v < count ? _mm512_loadu_si512(keys + 16 * v) : _mm512_set1_epi32(-1);
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) x[v] = sorted_lanes(x[v]);
#pragma GCC unroll 8
    for (int run = 1; run < vectors; run *= 2)
#pragma GCC unroll 16
      for (int first = 0; first < vectors; first += 2 * run) {
      // Two runs in order, the second one mirrored, are bitonic: halves exchange, then quarters …
#pragma GCC unroll 16
        for (int v = 0; v < run; ++v) {
          const __m512i low = x[first + v], high = reversed(x[first + 2 * run - 1 - v]);
          x[first + v] = _mm512_min_epu32(low, high);
          x[first + 2 * run - 1 - v] = _mm512_max_epu32(low, high);
        }
#pragma GCC unroll 8
        for (int half = run / 2; half > 0; half /= 2)
#pragma GCC unroll 16
          for (int v = 0; v < 2 * run; ++v)
            if ((v & half) == 0) {
              const __m512i low = x[first + v], high = x[first + v + half];
              x[first + v] = _mm512_min_epu32(low, high);
              x[first + v + half] = _mm512_max_epu32(low, high);
            }
#pragma GCC unroll 16
        for (int v = 0; v < 2 * run; ++v) x[first + v] = merged(x[first + v]);
      }
    // A column begins where a key differs from the one before above its number.
    __m512i before = _mm512_set1_epi32(-1);
    int64_t distinct = 0;
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) {
      const __m512i last = _mm512_alignr_epi32(x[v], before, 15);
      const __mmask16 begins =
          _mm512_cmpneq_epu32_mask(_mm512_srli_epi32(x[v], few_bits), _mm512_srli_epi32(last, few_bits));
      const int64_t left = count - 16 * v;
      const __mmask16 own = left >= 16 ? 0xffff : left <= 0 ? 0 : static_cast<__mmask16>((1u << left) - 1);
      distinct += _mm_popcnt_u32(begins & own);
      before = x[v];
      if (left > 0) _mm512_storeu_si512(keys + 16 * v, x[v]);
    }
    return distinct;
  }

  // Entries of products whose columns all differ.
  template <class A>
  static void write_few(const uint32_t* keys, int64_t count, int32_t base, const typename A::Value* made,
                        int32_t* columns, typename A::Value* values) {
    for (int64_t i = 0; i < count; i += 16) {
      const __mmask16 here = count - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (count - i)) - 1);
      const __m512i key = _mm512_loadu_si512(keys + i);
      _mm512_mask_storeu_epi32(columns + i, here,
                               _mm512_add_epi32(_mm512_srli_epi32(key, few_bits), _mm512_set1_epi32(base)));
    }
    if constexpr (A::valued)
      for (int64_t i = 0; i < count; ++i) values[i] = A::plus(A::zero(), made[keys[i] & 255]);
  }

  // ---- words --------------------------------------------------------------------------------------------------------
  template <bool coarsely>
  struct Marks {
    uint16_t* bits;
    uint8_t* coarse;
    void operator()(uint64_t column, uint32_t mask) const {
      *reinterpret_cast<uint16_t*>(reinterpret_cast<char*>(bits) + column / 8) |= static_cast<uint16_t>(mask);
      if constexpr (coarsely) coarse[column / group] = 1;
    }
  };

  // Sums that one row of B adds to one by one and the next one in vectors wait for each other: other than the cheapest
  // sums do better one by one where not most of B has words.
  template <class A>
  static constexpr bool adds_words() {
    return vectors_take<typename A::Value>;
  }
  template <class A>
  static constexpr bool adds_few_words() {
    return is_same<A, Algebra<float, PlusTimes<float>>> || is_same<A, Algebra<int32_t, PlusTimes<int32_t>>>;
  }
  template <class A, bool coarsely>
  static void add_words(typename A::Value a, const typename A::Value* b, const typename A::Value* b_end,
                        const Word* words, int64_t count, int64_t entries, uint16_t* bits, uint8_t* coarse,
                        typename A::Value* sums) {
    asm("" : "+r"(bits), "+r"(coarse));  // as of the sums
    spgemm::add_words<typename A::Value, typename A::Semiring>(a, b, b_end, words, count, entries,
                                                               Marks<coarsely>{bits, coarse}, sums);
  }
  template <class A, bool coarsely>
  static void add_alike(const typename A::Value* a, const typename A::Value* const* b, int64_t rows, const Word* words,
                        int64_t count, uint16_t* bits, uint8_t* coarse, typename A::Value* sums) {
    spgemm::add_alike<typename A::Value, typename A::Semiring>(a, b, rows, words, count, Marks<coarsely>{bits, coarse},
                                                               sums);
  }

  // ---- windows ------------------------------------------------------------------------------------------------------
  // Entries are taken out by the numbers of the bits that are set: few or many, near or far, there is no branch on where
  // they lie, whose wrong guesses would cost more than all the rest.
  static __m512i numbers_of(uint64_t mask) { return _mm512_maskz_compress_epi8(mask, _mm512_load_si512(ascending.of)); }
  static __m512i first_numbers(__m512i numbers) { return _mm512_cvtepu8_epi32(_mm512_castsi512_si128(numbers)); }
  static __m512i without_first(__m512i numbers) { return _mm512_alignr_epi64(numbers, numbers, 2); }
  static __mmask16 first_lanes(int64_t count) {
    return count >= 16 ? __mmask16{0xffff} : static_cast<__mmask16>((1u << count) - 1);
  }

  static void write_columns(uint64_t mask, int32_t column, int32_t* columns, int64_t room) {
    write_lanes(mask, column, columns, room, [](int64_t, __m512i, __mmask16) {});
  }

  // Calls put(number of the first, numbers, lanes) for up to 16 entries at a time. All lanes are stored where there is room:
  // what lies behind belongs to the same row and comes later.
  template <class Put>
  [[gnu::always_inline]] static void write_lanes(uint64_t mask, int32_t column, int32_t* columns, int64_t room,
                                                 const Put& put) {
    const __m512i base = _mm512_set1_epi32(column);
    const int64_t count = static_cast<int64_t>(_mm_popcnt_u64(mask));
    __m512i numbers = numbers_of(mask);
    if (room >= group) {
      for (int64_t i = 0;;) {
        const __m512i some = first_numbers(numbers);
        _mm512_storeu_si512(columns + i, _mm512_add_epi32(base, some));
        put(i, some, 0xffff);
        if ((i += 16) >= count) return;
        numbers = without_first(numbers);
      }
    }
    for (int64_t i = 0; i < count && i < room; i += 16, numbers = without_first(numbers)) {
      const __m512i some = first_numbers(numbers);
      const __mmask16 here = first_lanes(count < room ? count - i : room - i);
      _mm512_mask_storeu_epi32(columns + i, here, _mm512_add_epi32(base, some));
      put(i, some, here);
    }
  }

  template <class A>
  static void write(uint64_t mask, int32_t column, typename A::Value* sums, int32_t* columns, typename A::Value* values,
                    int64_t room) {
    using Value = typename A::Value;
    constexpr int64_t lanes = 64 / sizeof(Value), vectors = group / lanes;
    __m512i all[vectors];
#pragma GCC unroll 8
    for (int64_t v = 0; v < vectors; ++v) all[v] = _mm512_load_si512(sums + v * lanes);
    if constexpr (sizeof(Value) == 1) {
      write_columns(mask, column, columns, room);
      const int64_t count = static_cast<int64_t>(_mm_popcnt_u64(mask));
      const int64_t put = count < room ? count : room;
      const __mmask64 here = put >= 64 ? ~__mmask64{0} : (__mmask64{1} << put) - 1;
      _mm512_mask_storeu_epi8(values, here, _mm512_maskz_compress_epi8(mask, all[0]));
    } else {
      write_lanes(mask, column, columns, room, [&](int64_t i, __m512i numbers, __mmask16 here) {
        if constexpr (sizeof(Value) == 4) {
          const __m512i low = _mm512_permutex2var_epi32(all[0], numbers, all[1]);
          const __m512i high = _mm512_permutex2var_epi32(all[2], numbers, all[3]);
          const __mmask16 upper = _mm512_test_epi32_mask(numbers, _mm512_set1_epi32(32));
          _mm512_mask_storeu_epi32(values + i, here, _mm512_mask_blend_epi32(upper, low, high));
        } else {
          const __m512i low = _mm512_i32gather_epi64(_mm512_castsi512_si256(numbers), sums, 8);
          const __m512i high = _mm512_i32gather_epi64(_mm512_extracti64x4_epi64(numbers, 1), sums, 8);
          _mm512_mask_storeu_epi64(values + i, static_cast<__mmask8>(here), low);
          _mm512_mask_storeu_epi64(values + i + 8, static_cast<__mmask8>(here >> 8), high);
        }
      });
    }
    __m512i zeros = _mm512_setzero_si512();
    if constexpr (vectors_take<Value>) zeros = Vector<Value>::repeated(A::zero());
#pragma GCC unroll 8
    for (int64_t v = 0; v < vectors; ++v) _mm512_store_si512(sums + v * lanes, zeros);
  }
};

}  // namespace

void count_rows_avx512(const ProductOperands& operands, Scratch& scratch, int64_t first, int64_t last,
                       int64_t* counts) {
  count_rows<Avx512Lanes>(operands, scratch, first, last, counts);
}

void fill_rows_avx512(const FillTask& task) { fill_rows<Avx512Lanes>(task); }

}  // namespace warphash::spgemm
