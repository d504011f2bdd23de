// SPDX-License-Identifier: Apache-2.0
// Sketches by AVX-512: 16 permutations a vector, or 8 of 64 bits. Bound: the ports of integer vectors. For 16 permutations
// and a token affine32 takes vpmulld (two operations on Intel, one of the double pumped on AMD), vpaddd and vpminud.
#include <immintrin.h>

#include "lsh/sketches/sketches_loops.h"

namespace warphash::lsh {
namespace {

constexpr int64_t mersenne61 = (int64_t{1} << 61) - 1;

// ---- MinHash --------------------------------------------------------------------------------------------------------

// 16 * vectors permutations, whose parameters and minima stay in registers.
template <int vectors>
void affine32_block(const uint32_t* tokens, int64_t count, const uint32_t* a, const uint32_t* b, uint32_t* row) {
  __m512i factor[vectors], summand[vectors], least[vectors];
  for (int k = 0; k < vectors; ++k) {
    factor[k] = _mm512_load_si512(a + 16 * k);
    summand[k] = _mm512_load_si512(b + 16 * k);
    least[k] = _mm512_load_si512(row + 16 * k);
  }
  for (int64_t t = 0; t < count; ++t) {
    const __m512i x = _mm512_set1_epi32(static_cast<int>(tokens[t]));
    for (int k = 0; k < vectors; ++k)
      least[k] = _mm512_min_epu32(least[k], _mm512_add_epi32(_mm512_mullo_epi32(x, factor[k]), summand[k]));
  }
  for (int k = 0; k < vectors; ++k) _mm512_store_si512(row + 16 * k, least[k]);
}

void affine32(const void* token_data, int64_t count, const void* a_data, const void* b_data, int64_t permutations,
              uint32_t* row) {
  const uint32_t* tokens = static_cast<const uint32_t*>(token_data);
  const uint32_t *a = static_cast<const uint32_t*>(a_data), *b = static_cast<const uint32_t*>(b_data);
  int64_t p = 0;
  for (; p + 64 <= permutations; p += 64) affine32_block<4>(tokens, count, a + p, b + p, row + p);
  if (p + 48 == permutations) return affine32_block<3>(tokens, count, a + p, b + p, row + p);
  if (p + 32 == permutations) return affine32_block<2>(tokens, count, a + p, b + p, row + p);
  if (p + 16 == permutations) return affine32_block<1>(tokens, count, a + p, b + p, row + p);
}

// Schemes of 64-bit arithmetic: parameters of 8 permutations, and of a token their values in one half of each lane.
struct MultiplyShift64 {
  static constexpr bool high_half = true;
  using Token = uint32_t;
  static __m512i spread(Token token) { return _mm512_set1_epi64(token); }
  __m512i a, b;
  void load(const uint64_t* factors, const uint64_t* summands) {
    a = _mm512_load_si512(factors);
    b = _mm512_load_si512(summands);
  }
  __m512i value(__m512i x) const { return _mm512_add_epi64(_mm512_mullo_epi64(x, a), b); }
};

// a = a1 2^29 + a0, and 2^61 is 1: a x + b = a0 x + b + (v / 2^32) + (v mod 2^32) 2^29 with v = a1 x, a sum below 2^63. For
// s below 2^63 the quotient by 2^61 - 1 is q = (s + s / 2^61 + 1) / 2^61, and the low half of the remainder that of s + q.
struct Mersenne61 {
  static constexpr bool high_half = false;
  using Token = uint32_t;
  static __m512i spread(Token token) { return _mm512_set1_epi32(static_cast<int>(token)); }
  __m512i a0, a1, b;
  void load(const uint64_t* factors, const uint64_t* summands) {
    const __m512i a = _mm512_load_si512(factors);
    a0 = _mm512_and_si512(a, _mm512_set1_epi64((1 << 29) - 1));
    a1 = _mm512_srli_epi64(a, 29);
    b = _mm512_load_si512(summands);
  }
  __m512i value(__m512i x) const {
    const __m512i v = _mm512_mul_epu32(x, a1);
    const __m512i above = _mm512_add_epi64(_mm512_srli_epi64(v, 32), _mm512_mul_epu32(v, _mm512_set1_epi64(1 << 29)));
    const __m512i s = _mm512_add_epi64(_mm512_add_epi64(_mm512_mul_epu32(x, a0), b), above);
    const __m512i next = _mm512_add_epi64(_mm512_add_epi64(s, _mm512_set1_epi64(1)), _mm512_srli_epi64(s, 61));
    return _mm512_add_epi64(s, _mm512_srli_epi64(next, 61));
  }
};

// As above, of any s below 2^64: folded once before.
struct DatasketchLegacy {
  static constexpr bool high_half = false;
  using Token = uint64_t;
  static __m512i spread(Token token) { return _mm512_set1_epi64(static_cast<int64_t>(token)); }
  __m512i a, b;
  void load(const uint64_t* factors, const uint64_t* summands) {
    a = _mm512_load_si512(factors);
    b = _mm512_load_si512(summands);
  }
  __m512i value(__m512i x) const {
    const __m512i s = _mm512_add_epi64(_mm512_mullo_epi64(x, a), b);
    const __m512i r = _mm512_add_epi64(_mm512_and_si512(s, _mm512_set1_epi64(mersenne61)), _mm512_srli_epi64(s, 61));
    return _mm512_add_epi64(r, _mm512_srli_epi64(_mm512_add_epi64(r, _mm512_set1_epi64(1)), 61));
  }
};

template <class Scheme, int vectors>
void wide_block(const void* token_data, int64_t count, const uint64_t* a, const uint64_t* b, uint32_t* row) {
  const auto* tokens = static_cast<const typename Scheme::Token*>(token_data);
  Scheme scheme[vectors];
  __m512i least[vectors];
  for (int k = 0; k < vectors; ++k) {
    scheme[k].load(a + 8 * k, b + 8 * k);
    least[k] = _mm512_cvtepu32_epi64(_mm256_load_si256(reinterpret_cast<const __m256i*>(row + 8 * k)));
    if (Scheme::high_half) least[k] = _mm512_slli_epi64(least[k], 32);
  }
  for (int64_t t = 0; t < count; ++t) {
    const __m512i x = Scheme::spread(tokens[t]);
    for (int k = 0; k < vectors; ++k) least[k] = _mm512_min_epu32(least[k], scheme[k].value(x));
  }
  for (int k = 0; k < vectors; ++k) {
    if (Scheme::high_half) least[k] = _mm512_srli_epi64(least[k], 32);
    _mm256_store_si256(reinterpret_cast<__m256i*>(row + 8 * k), _mm512_cvtepi64_epi32(least[k]));
  }
}

template <class Scheme>
void wide(const void* tokens, int64_t count, const void* a_data, const void* b_data, int64_t permutations,
          uint32_t* row) {
  const uint64_t *a = static_cast<const uint64_t*>(a_data), *b = static_cast<const uint64_t*>(b_data);
  int64_t p = 0;
  for (; p + 32 <= permutations; p += 32) wide_block<Scheme, 4>(tokens, count, a + p, b + p, row + p);
  if (p < permutations) wide_block<Scheme, 2>(tokens, count, a + p, b + p, row + p);
}

// ---- One permutation ------------------------------------------------------------------------------------------------

inline __m512i mix(__m512i x) {
  x = _mm512_mullo_epi32(_mm512_xor_si512(x, _mm512_srli_epi32(x, 16)),
                         _mm512_set1_epi32(static_cast<int>(0x85EBCA6B)));
  x = _mm512_mullo_epi32(_mm512_xor_si512(x, _mm512_srli_epi32(x, 13)),
                         _mm512_set1_epi32(static_cast<int>(0xC2B2AE35)));
  return _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
}

// The high halves of 32-bit products.
inline __m512i high_product(__m512i x, __m512i y) {
  const __m512i even = _mm512_mul_epu32(x, y), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), y);
  return _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
}

// The first lanes of a vector that starts at `at`, of `size` elements in all.
inline __mmask16 lanes(int64_t size, int64_t at) {
  return size - at < 16 ? static_cast<__mmask16>((1u << (size - at)) - 1) : static_cast<__mmask16>(0xFFFF);
}

// Hashes and their bins first, some vectors at a time, then one token after the other goes to its bin: only their minima
// depend on what was stored before, not their addresses.
void bins(const uint32_t* tokens, int64_t count, uint32_t a, uint32_t b, uint32_t bins, uint32_t* row) {
  constexpr int64_t piece = 256;
  alignas(64) uint32_t hashes[piece], places[piece];
  const __m512i factor = _mm512_set1_epi32(static_cast<int>(a)), summand = _mm512_set1_epi32(static_cast<int>(b));
  const __m512i number = _mm512_set1_epi64(bins), largest = _mm512_set1_epi32(-2);
  for (int64_t first = 0; first < count; first += piece) {
    const int64_t size = count - first < piece ? count - first : piece;
    for (int64_t t = 0; t < size; t += 16) {
      const __m512i x = _mm512_maskz_loadu_epi32(lanes(size, t), tokens + first + t);
      const __m512i hash = _mm512_min_epu32(mix(_mm512_add_epi32(_mm512_mullo_epi32(x, factor), summand)), largest);
      _mm512_store_si512(hashes + t, hash);
      _mm512_store_si512(places + t, high_product(hash, number));
    }
    for (int64_t t = 0; t < size; ++t) {
      uint32_t& least = row[places[t]];
      least = hashes[t] < least ? hashes[t] : least;
    }
  }
}

// Up to 16 empty bins; `at` tells which, in the lanes of `open`.
inline void fill(const uint32_t* row, uint32_t bins, uint32_t start, const uint32_t* at, __mmask16 open,
                 uint32_t* filled) {
  const __mmask16 all = open;
  const __m512i empty = _mm512_set1_epi32(-1), number = _mm512_set1_epi64(bins);
  const __m512i bin = _mm512_maskz_loadu_epi32(all, at);
  __m512i hash = _mm512_mullo_epi32(bin, _mm512_set1_epi32(static_cast<int>(0x9E3779B1)));
  hash = _mm512_add_epi32(hash, _mm512_set1_epi32(static_cast<int>(start)));
  __m512i values = empty;
  for (int attempt = 0; open != 0 && attempt < densify_attempts; ++attempt) {
    values = _mm512_mask_i32gather_epi32(values, open, high_product(mix(hash), number), row, 4);
    open = _mm512_mask_cmpeq_epi32_mask(open, values, empty);
    hash = _mm512_add_epi32(hash, _mm512_set1_epi32(static_cast<int>(0x85EBCA77)));
  }
  alignas(64) uint32_t found[16];
  _mm512_store_si512(found, values);
  for (uint32_t left = all, k = 0; left != 0; left >>= 1, ++k)
    filled[at[k]] = found[k] != no_value ? found[k] : densify_value(row, at[k], densify_attempts, start, bins);
}

void densify(const uint32_t* row, uint32_t bins, uint32_t start, uint32_t* filled) {
  constexpr uint32_t piece = 128;
  const __m512i empty = _mm512_set1_epi32(-1);
  uint32_t at[piece], first_full = 0;
  while (first_full < bins && row[first_full] == no_value) ++first_full;
  for (uint32_t first = 0; first < bins; first += piece) {
    const uint32_t end = bins - first < piece ? bins : first + piece;
    uint32_t count = 0;
    for (uint32_t bin = first; bin < end; bin += 16) {
      const __mmask16 in = lanes(end, bin);
      const __m512i values = _mm512_maskz_loadu_epi32(in, row + bin);
      _mm512_mask_storeu_epi32(filled + bin, in, values);
      const __mmask16 open = _mm512_mask_cmpeq_epi32_mask(in, values, empty);
      const __m512i numbers = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(bin)),
                                               _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
      _mm512_storeu_si512(at + count, _mm512_maskz_compress_epi32(open, numbers));
      count += static_cast<uint32_t>(_mm_popcnt_u32(open));
    }
    if (first_full == bins) continue;
    for (uint32_t i = 0; i < count; i += 16) fill(row, bins, start, at + i, lanes(count, i), filled);
  }
}

// ---- b bits ---------------------------------------------------------------------------------------------------------

void pack(const uint32_t* row, int64_t width, int bits, uint8_t* codes) {
  const int64_t bytes = (width * bits + 7) / 8;
  const __m512i mask = _mm512_set1_epi32((1 << bits) - 1);
  for (int64_t i = 0; i < width; i += 16) {
    const __mmask16 in = lanes(width, i);
    const __m512i values = _mm512_maskz_and_epi32(in, mix(_mm512_maskz_loadu_epi32(in, row + i)), mask);
    if (bits == 16) {
      _mm256_mask_storeu_epi16(codes + 2 * i, in, _mm512_cvtepi32_epi16(values));
      continue;
    }
    // Neighbours of two, then of four joined: bits go to the bits above.
    const __m128i each = _mm512_cvtepi32_epi8(values);
    const __m128i pairs = _mm_maddubs_epi16(each, _mm_set1_epi16(static_cast<short>(1 | 256 << bits)));
    const __m128i fours = _mm_madd_epi16(pairs, _mm_set1_epi32(1 | 65536 << (2 * bits)));
    const int64_t to = i * bits / 8, room = bytes - to;
    if (bits == 8) {
      _mm_mask_storeu_epi8(codes + to, in, each);
    } else if (bits == 4) {
      const int64_t size = room < 8 ? room : 8;
      _mm_mask_storeu_epi8(codes + to, static_cast<__mmask16>((1u << size) - 1), _mm_cvtepi16_epi8(pairs));
    } else if (bits == 2) {
      const int64_t size = room < 4 ? room : 4;
      _mm_mask_storeu_epi8(codes + to, static_cast<__mmask16>((1u << size) - 1), _mm_cvtepi32_epi8(fours));
    } else {
      const uint32_t word = _mm512_test_epi32_mask(values, mask);
      codes[to] = static_cast<uint8_t>(word);
      if (room > 1) codes[to + 1] = static_cast<uint8_t>(word >> 8);
    }
  }
}

}  // namespace

const SketchKernels& sketch_kernels_avx512() {
  static constexpr SketchKernels kernels = {
      mix_tokens, mix_wide_tokens, affine32, wide<MultiplyShift64>, wide<Mersenne61>, wide<DatasketchLegacy>, bins,
      densify,    key_bands,       pack};
  return kernels;
}

}  // namespace warphash::lsh
