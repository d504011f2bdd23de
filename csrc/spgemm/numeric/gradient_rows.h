// SPDX-License-Identifier: Apache-2.0
// Gradients of the operands of one row of a product after the other.
#pragma once

#include <cstdint>

#include "spgemm/numeric/numeric_rows.h"

namespace warphash::spgemm {
namespace {

constexpr int64_t lanes = 16;

// Folds the lanes by halves.
template <class Value>
inline Value folded(Value* sums) {
  for (int64_t half = lanes / 2; half > 0; half /= 2)
    for (int64_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  return sums[0];
}

template <bool of_a, bool of_b, class Value>
inline Value walk_row(const int32_t* col, const Value* b, int64_t count, Value a, const Value* row, Value* b_sums) {
  Value sums[lanes] = {};
  int64_t at = 0;
  for (; at + lanes <= count; at += lanes) {
    Value g[lanes];
    for (int64_t lane = 0; lane < lanes; ++lane) g[lane] = row[col[at + lane]];
    if constexpr (of_a)
      for (int64_t lane = 0; lane < lanes; ++lane) sums[lane] += g[lane] * b[at + lane];
    if constexpr (of_b)
      for (int64_t lane = 0; lane < lanes; ++lane) b_sums[at + lane] += a * g[lane];
  }
  for (int64_t lane = 0; at + lane < count; ++lane) {
    const Value g = row[col[at + lane]];
    if constexpr (of_a) sums[lane] += g * b[at + lane];
    if constexpr (of_b) b_sums[at + lane] += a * g;
  }
  return of_a ? folded(sums) : Value(0);
}

template <class Stored, class Value, bool of_a, bool of_b>
int64_t gradient_rows(const GradientJob& job, int64_t begin, int64_t end, void* dense, void* all_b_sums) {
  Value *row_values = static_cast<Value*>(dense), *b_sums = static_cast<Value*>(all_b_sums);
  const Value *a_values = static_cast<const Value*>(job.a_values), *b_values = static_cast<const Value*>(job.b_values);
  const Value* gradient = static_cast<const Value*>(job.gradient);
  for (int64_t row = begin; row < end; ++row) {
    const int64_t a_end = job.a.crow[row + 1];
    if (job.a.crow[row] == a_end) continue;
    const int64_t from = job.pattern.crow[row], count = job.pattern.crow[row + 1] - from;
    const int32_t* col = job.pattern.col + from;
    if (!pattern_inside(col, count, job.pattern.columns)) return row;
    for (int64_t i = 0; i < count; ++i) row_values[col[i]] = gradient[from + i];
    for (int64_t entry = job.a.crow[row]; entry < a_end; ++entry) {
      prefetch_row(job.a, job.b, b_values, entry, a_end);
      const int64_t at = job.b.crow[job.a.col[entry]], length = job.b.crow[job.a.col[entry] + 1] - at;
      const Value sum = walk_row<of_a, of_b>(job.b.col + at, b_values + at, length, a_values[entry], row_values,
                                             of_b ? b_sums + at : nullptr);
      if constexpr (of_a) static_cast<Stored*>(job.of_a)[entry] = rounded<Stored>(sum);
    }
    for (int64_t i = 0; i < count; ++i) row_values[col[i]] = 0;
  }
  return -1;
}

template <class Stored, class Value>
int64_t gradient_rows_of(const GradientJob& job, int64_t begin, int64_t end, void* dense, void* b_sums) {
  if (job.of_b == nullptr) return gradient_rows<Stored, Value, true, false>(job, begin, end, dense, b_sums);
  if (job.of_a == nullptr) return gradient_rows<Stored, Value, false, true>(job, begin, end, dense, b_sums);
  return gradient_rows<Stored, Value, true, true>(job, begin, end, dense, b_sums);
}

}  // namespace
}  // namespace warphash::spgemm
