// SPDX-License-Identifier: Apache-2.0
// Sketches by AVX2: 8 permutations a vector, or 4 of 64 bits. Bound: the ports of integer vectors.
#include <immintrin.h>

#include "lsh/sketches/sketches_loops.h"

namespace warphash::lsh {
namespace {

inline __m256i load_vector(const void* from) { return _mm256_load_si256(static_cast<const __m256i*>(from)); }

// ---- MinHash --------------------------------------------------------------------------------------------------------

// 8 * vectors permutations, whose parameters and minima stay in registers.
template <int vectors>
void affine32_block(const uint32_t* tokens, int64_t count, const uint32_t* a, const uint32_t* b, uint32_t* row) {
  __m256i factor[vectors], summand[vectors], least[vectors];
  for (int k = 0; k < vectors; ++k) {
    factor[k] = load_vector(a + 8 * k);
    summand[k] = load_vector(b + 8 * k);
    least[k] = load_vector(row + 8 * k);
  }
  for (int64_t t = 0; t < count; ++t) {
    const __m256i x = _mm256_set1_epi32(static_cast<int>(tokens[t]));
    for (int k = 0; k < vectors; ++k)
      least[k] = _mm256_min_epu32(least[k], _mm256_add_epi32(_mm256_mullo_epi32(x, factor[k]), summand[k]));
  }
  for (int k = 0; k < vectors; ++k) _mm256_store_si256(reinterpret_cast<__m256i*>(row + 8 * k), least[k]);
}

void affine32(const void* token_data, int64_t count, const void* a_data, const void* b_data, int64_t permutations,
              uint32_t* row) {
  const uint32_t* tokens = static_cast<const uint32_t*>(token_data);
  const uint32_t *a = static_cast<const uint32_t*>(a_data), *b = static_cast<const uint32_t*>(b_data);
  int64_t p = 0;
  for (; p + 32 <= permutations; p += 32) affine32_block<4>(tokens, count, a + p, b + p, row + p);
  if (p < permutations) affine32_block<2>(tokens, count, a + p, b + p, row + p);
}

// Schemes of 64-bit arithmetic: parameters of 4 permutations, and of a token their values in one half of each lane.
struct MultiplyShift64 {
  static constexpr bool high_half = true;
  using Token = uint32_t;
  static __m256i spread(Token token) { return _mm256_set1_epi32(static_cast<int>(token)); }
  __m256i low, high, b;
  void load(const uint64_t* factors, const uint64_t* summands) {
    low = load_vector(factors);
    high = _mm256_and_si256(low, _mm256_set1_epi64x(static_cast<int64_t>(0xFFFFFFFF00000000)));
    b = load_vector(summands);
  }
  // The product with the factor's high half counts in the high half alone.
  __m256i value(__m256i x) const {
    return _mm256_add_epi64(_mm256_add_epi64(_mm256_mul_epu32(x, low), b), _mm256_mullo_epi32(x, high));
  }
};

// As in the file of AVX-512.
struct Mersenne61 {
  static constexpr bool high_half = false;
  using Token = uint32_t;
  static __m256i spread(Token token) { return _mm256_set1_epi32(static_cast<int>(token)); }
  __m256i a0, a1, b;
  void load(const uint64_t* factors, const uint64_t* summands) {
    const __m256i a = load_vector(factors);
    a0 = _mm256_and_si256(a, _mm256_set1_epi64x((1 << 29) - 1));
    a1 = _mm256_srli_epi64(a, 29);
    b = load_vector(summands);
  }
  __m256i value(__m256i x) const {
    const __m256i v = _mm256_mul_epu32(x, a1);
    const __m256i above = _mm256_add_epi64(_mm256_srli_epi64(v, 32), _mm256_mul_epu32(v, _mm256_set1_epi64x(1 << 29)));
    const __m256i s = _mm256_add_epi64(_mm256_add_epi64(_mm256_mul_epu32(x, a0), b), above);
    const __m256i next = _mm256_add_epi64(_mm256_add_epi64(s, _mm256_set1_epi64x(1)), _mm256_srli_epi64(s, 61));
    return _mm256_add_epi64(s, _mm256_srli_epi64(next, 61));
  }
};

struct DatasketchLegacy {
  static constexpr bool high_half = false;
  using Token = uint64_t;
  static __m256i spread(Token token) { return _mm256_set1_epi64x(static_cast<int64_t>(token)); }
  __m256i low, high, b;
  void load(const uint64_t* factors, const uint64_t* summands) {
    low = load_vector(factors);
    high = _mm256_srli_epi64(low, 32);
    b = load_vector(summands);
  }
  __m256i value(__m256i x) const {
    const __m256i crossed =
        _mm256_add_epi64(_mm256_mul_epu32(x, high), _mm256_mul_epu32(_mm256_srli_epi64(x, 32), low));
    const __m256i product = _mm256_add_epi64(_mm256_mul_epu32(x, low), _mm256_slli_epi64(crossed, 32));
    const __m256i s = _mm256_add_epi64(product, b);
    const __m256i prime = _mm256_set1_epi64x((int64_t{1} << 61) - 1);
    const __m256i r = _mm256_add_epi64(_mm256_and_si256(s, prime), _mm256_srli_epi64(s, 61));
    return _mm256_add_epi64(r, _mm256_srli_epi64(_mm256_add_epi64(r, _mm256_set1_epi64x(1)), 61));
  }
};

template <class Scheme, int vectors>
void wide_block(const void* token_data, int64_t count, const uint64_t* a, const uint64_t* b, uint32_t* row) {
  const auto* tokens = static_cast<const typename Scheme::Token*>(token_data);
  Scheme scheme[vectors];
  __m256i least[vectors];
  for (int k = 0; k < vectors; ++k) {
    scheme[k].load(a + 4 * k, b + 4 * k);
    least[k] = _mm256_cvtepu32_epi64(_mm_load_si128(reinterpret_cast<const __m128i*>(row + 4 * k)));
    if (Scheme::high_half) least[k] = _mm256_slli_epi64(least[k], 32);
  }
  for (int64_t t = 0; t < count; ++t) {
    const __m256i x = Scheme::spread(tokens[t]);
    for (int k = 0; k < vectors; ++k) least[k] = _mm256_min_epu32(least[k], scheme[k].value(x));
  }
  const __m256i halves =
      Scheme::high_half ? _mm256_setr_epi32(1, 3, 5, 7, 1, 3, 5, 7) : _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
  for (int k = 0; k < vectors; ++k)
    _mm_store_si128(reinterpret_cast<__m128i*>(row + 4 * k),
                    _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(least[k], halves)));
}

template <class Scheme>
void wide(const void* tokens, int64_t count, const void* a_data, const void* b_data, int64_t permutations,
          uint32_t* row) {
  const uint64_t *a = static_cast<const uint64_t*>(a_data), *b = static_cast<const uint64_t*>(b_data);
  for (int64_t p = 0; p < permutations; p += 8) wide_block<Scheme, 2>(tokens, count, a + p, b + p, row + p);
}

// ---- One permutation ------------------------------------------------------------------------------------------------

inline __m256i mix(__m256i x) {
  const __m256i first = _mm256_set1_epi32(static_cast<int>(0x85EBCA6B));
  const __m256i second = _mm256_set1_epi32(static_cast<int>(0xC2B2AE35));
  x = _mm256_mullo_epi32(_mm256_xor_si256(x, _mm256_srli_epi32(x, 16)), first);
  x = _mm256_mullo_epi32(_mm256_xor_si256(x, _mm256_srli_epi32(x, 13)), second);
  return _mm256_xor_si256(x, _mm256_srli_epi32(x, 16));
}

// The high halves of 32-bit products.
inline __m256i high_product(__m256i x, __m256i y) {
  const __m256i even = _mm256_mul_epu32(x, y), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), y);
  return _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
}

// Hashes and their bins first, some vectors at a time, then one token after the other goes to its bin: only their minima
// depend on what was stored before, not their addresses. Tokens are read in whole vectors: the caller's buffer has room.
void bins(const uint32_t* tokens, int64_t count, uint32_t a, uint32_t b, uint32_t bins, uint32_t* row) {
  constexpr int64_t piece = 256;
  alignas(64) uint32_t hashes[piece], places[piece];
  const __m256i factor = _mm256_set1_epi32(static_cast<int>(a)), summand = _mm256_set1_epi32(static_cast<int>(b));
  const __m256i number = _mm256_set1_epi64x(bins), largest = _mm256_set1_epi32(-2);
  for (int64_t first = 0; first < count; first += piece) {
    const int64_t size = count - first < piece ? count - first : piece;
    for (int64_t t = 0; t < size; t += 8) {
      const __m256i x = _mm256_add_epi32(_mm256_mullo_epi32(load_vector(tokens + first + t), factor), summand);
      const __m256i hash = _mm256_min_epu32(mix(x), largest);
      _mm256_store_si256(reinterpret_cast<__m256i*>(hashes + t), hash);
      _mm256_store_si256(reinterpret_cast<__m256i*>(places + t), high_product(hash, number));
    }
    for (int64_t t = 0; t < size; ++t) {
      uint32_t& least = row[places[t]];
      least = hashes[t] < least ? hashes[t] : least;
    }
  }
}

}  // namespace

const SketchKernels& sketch_kernels_avx2() {
  static constexpr SketchKernels kernels = {
      mix_tokens,  mix_wide_tokens, affine32, wide<MultiplyShift64>, wide<Mersenne61>, wide<DatasketchLegacy>, bins,
      densify_row, key_bands,       pack_bits};
  return kernels;
}

}  // namespace warphash::lsh
