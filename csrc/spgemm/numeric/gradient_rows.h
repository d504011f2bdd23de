// SPDX-License-Identifier: Apache-2.0
// Gradients of the operands of one row of a product after the other. An instruction set brings Walk<Value>, whose
// row<of_a, of_b>(columns, b, count, a, gradient, b_sums) goes once over a row of b: it returns the sum over j of G_ij B_kj
// and adds A_ik G_ij to b's sums.
#pragma once

#include <cstdint>

#include "spgemm/numeric/numeric_rows.h"

namespace warphash::spgemm {
namespace {

constexpr int64_t lanes = 16;

// Where the columns stand close, all from the first to the last are cleared by whole vectors. A row that begins with -1 may
// have any column behind it, and -1 again at its end.
template <class Value>
inline void clear_row(const int32_t* col, int64_t count, Value* row) {
  if (count == 0) return;
  const int64_t first = col[0], last = col[count - 1];
  if (first < 0 || first > last || last - first >= 16 * count) {
    for (int64_t i = 0; i < count; ++i) row[col[i]] = 0;
    return;
  }
  for (int64_t column = first; column <= last; ++column) row[column] = 0;
}

template <template <class> class Walk, class Stored, class Value, bool of_a, bool of_b>
int64_t gradient_rows(const GradientJob& job, const GradientPiece& piece, void* dense, void* all_b_sums) {
  Value *gradient = static_cast<Value*>(dense), *b_sums = static_cast<Value*>(all_b_sums);
  const Value *a_values = static_cast<const Value*>(job.a_values), *b_values = static_cast<const Value*>(job.b_values);
  const Value* given = static_cast<const Value*>(job.gradient);
  const uint64_t b_rows = static_cast<uint64_t>(piece.b_end - piece.b_begin);
  for (int64_t row = piece.begin; row < piece.end; ++row) {
    const int64_t a_end = job.a.crow[row + 1];
    if (job.a.crow[row] == a_end) continue;
    const int64_t from = job.pattern.crow[row], count = job.pattern.crow[row + 1] - from;
    const int32_t* col = job.pattern.col + from;
    if (!pattern_inside(col, count, job.pattern.columns)) return row;
    for (int64_t i = 0; i < count; ++i) gradient[col[i]] = given[from + i];
    for (int64_t entry = job.a.crow[row]; entry < a_end; ++entry) {
      if constexpr (of_b)
        prefetch_row(job.a, job.b, entry, b_values, b_sums);
      else
        prefetch_row(job.a, job.b, entry, b_values);
      const int64_t k = job.a.col[entry];
      if (static_cast<uint64_t>(k - piece.b_begin) >= b_rows) continue;
      const int64_t at = job.b.crow[k], length = job.b.crow[k + 1] - at;
      const Value sum = Walk<Value>::template row<of_a, of_b>(job.b.col + at, b_values + at, length, a_values[entry],
                                                              gradient, of_b ? b_sums + at : nullptr);
      if constexpr (of_a) static_cast<Stored*>(job.of_a)[entry] = rounded<Stored>(sum);
    }
    clear_row(col, count, gradient);
  }
  return -1;
}

template <template <class> class Walk, class Stored, class Value>
int64_t gradient_rows_of(const GradientJob& job, const GradientPiece& piece, void* dense, void* b_sums) {
  if (job.of_b == nullptr) return gradient_rows<Walk, Stored, Value, true, false>(job, piece, dense, b_sums);
  if (job.of_a == nullptr) return gradient_rows<Walk, Stored, Value, false, true>(job, piece, dense, b_sums);
  return gradient_rows<Walk, Stored, Value, true, true>(job, piece, dense, b_sums);
}

template <template <class> class Walk>
GradientRows gradient_rows_with(ValueType type) {
  return with_type(type, []<class Stored, class Sum>() -> GradientRows {
    if constexpr (std::is_floating_point_v<Sum>)
      return gradient_rows_of<Walk, Stored, Sum>;
    else
      return nullptr;
  });
}

}  // namespace
}  // namespace warphash::spgemm
