// SPDX-License-Identifier: Apache-2.0
// Loops over rows, included by the file of each instruction set, whose flags the compiler turns into vectors. Sums of
// neighbours do not mix, so all sets give the same bits.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "common/half.h"
#include "lsh/buckets/buckets.h"

namespace warphash::lsh {
namespace {

// ---- One row added to another ----
template <class Real>
void add(const Real* __restrict from, int64_t count, Real* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] += from[i];
}
inline void add_bf16(const uint16_t* __restrict from, int64_t count, float* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] += float_of_bfloat16(from[i]);
}

// ---- Many rows summed up, a block of columns at a time, whose sums stay in registers ----
#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

// How a row's values are read: `lanes` of them to a vector of sums, or one.
template <class Real>
struct Plain {
  using Value = Real;
  using Sum = Real;
  typedef Real Vector __attribute__((vector_size(vector_bytes)));
  static constexpr int lanes = vector_bytes / sizeof(Real);
  static Vector load(const Value* from) {
    Vector values;
    std::memcpy(&values, from, sizeof values);
    return values;
  }
  static Sum one(Value value) { return value; }
};

struct Bfloat16 {
  using Value = uint16_t;
  using Sum = float;
  typedef float Vector __attribute__((vector_size(vector_bytes)));
  static constexpr int lanes = vector_bytes / sizeof(float);
  // The compiler's own conversion of vectors shuffles twice.
  static Vector load(const Value* from) {
#if defined(__AVX512F__)
    const __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
#elif defined(__AVX2__)
    const __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
#else
    return Vector{one(from[0]), one(from[1]), one(from[2]), one(from[3])};
#endif
  }
  static Sum one(Value value) { return float_of_bfloat16(value); }
};

template <class Type, int vectors>
void sum_block(const typename Type::Value* const* rows, int64_t count, int64_t column, typename Type::Sum* to) {
  typename Type::Vector sums[vectors] = {};
  for (int64_t row = 0; row < count; ++row)
    for (int v = 0; v < vectors; ++v) sums[v] += Type::load(rows[row] + column + v * Type::lanes);
  std::memcpy(to + column, sums, sizeof sums);
}

template <class Type>
void sum_rows(const typename Type::Value* const* rows, int64_t count, int64_t width, typename Type::Sum* to) {
  constexpr int lanes = Type::lanes;
  int64_t column = 0;
  for (; column + 8 * lanes <= width; column += 8 * lanes) sum_block<Type, 8>(rows, count, column, to);
  if (column + 4 * lanes <= width) sum_block<Type, 4>(rows, count, column, to), column += 4 * lanes;
  if (column + 2 * lanes <= width) sum_block<Type, 2>(rows, count, column, to), column += 2 * lanes;
  if (column + lanes <= width) sum_block<Type, 1>(rows, count, column, to), column += lanes;
  if (column == width) return;
  typename Type::Sum tail[lanes] = {};
  for (int64_t row = 0; row < count; ++row)
    for (int64_t i = column; i < width; ++i) tail[i - column] += Type::one(rows[row][i]);
  std::memcpy(to + column, tail, static_cast<size_t>(width - column) * sizeof tail[0]);
}

}  // namespace
}  // namespace warphash::lsh
