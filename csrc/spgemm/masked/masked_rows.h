// SPDX-License-Identifier: Apache-2.0
// One row of a masked product after the other.
#pragma once

#include <cstdint>

#include "spgemm/inspect/inspect_columns.h"
#include "spgemm/masked/masked.h"
#include "spgemm/numeric/numeric_rows.h"

namespace warphash::spgemm {
namespace {

template <class Value>
inline int64_t mark_products(const Pattern& a, const Pattern& b, int64_t row, Value* hits) {
  int64_t products = 0;
  const int64_t end = a.crow[row + 1];
  for (int64_t entry = a.crow[row]; entry < end; ++entry) {
    if (entry + 2 < end) __builtin_prefetch(b.col + b.crow[a.col[entry + 2]]);
    const int64_t from = b.crow[a.col[entry]], to = b.crow[a.col[entry] + 1];
    for (int64_t at = from; at < to; ++at) hits[b.col[at]] = 1;
    products += to - from;
  }
  return products;
}

template <class Stored, class Value, class Ring>
int64_t masked_rows(const MaskedJob& job, const MaskedOut& out, MaskedPiece& piece, void* all_sums, uint8_t* hits) {
  Value* sums = static_cast<Value*>(all_sums);
  const Value *a_values = static_cast<const Value*>(job.a_values), *b_values = static_cast<const Value*>(job.b_values);
  const int64_t columns = job.mask.columns, at = job.mask.crow[piece.begin];
  int64_t written = 0;
  for (int64_t row = piece.begin; row < piece.end; ++row) {
    const int64_t from = job.mask.crow[row], count = job.mask.crow[row + 1] - from;
    out.counts[row] = 0;
    if (count == 0 || job.a.crow[row] == job.a.crow[row + 1]) continue;
    const int32_t* col = job.mask.col + from;
    if (!columns_inside(col, count, columns)) return row;
    int32_t* col_to = out.col + at + written;
    Stored* to = static_cast<Stored*>(out.values) + at + written;
    int64_t kept = 0;
    const int64_t products = mark_products(job.a, job.b, row, hits);
    if constexpr (!std::is_void_v<Ring>) add_products<Ring>(job.a, job.b, a_values, b_values, row, sums);
    for (int64_t i = 0; i < count; ++i) {
      col_to[kept] = col[i];
      if constexpr (!std::is_void_v<Ring>) to[kept] = rounded<Stored>(sums[col[i]]);
      kept += hits[col[i]];
    }
    if (products > columns / 8) {
      for (int64_t column = 0; column < columns; ++column) hits[column] = 0;
      if constexpr (!std::is_void_v<Ring>) clear_all<Ring>(columns, sums);
    } else {
      for (int64_t entry = job.a.crow[row]; entry < job.a.crow[row + 1]; ++entry)
        for (int64_t b = job.b.crow[job.a.col[entry]]; b < job.b.crow[job.a.col[entry] + 1]; ++b)
          hits[job.b.col[b]] = 0;
      if constexpr (!std::is_void_v<Ring>) clear_products<Ring>(job.a, job.b, row, sums);
    }
    out.counts[row] = kept;
    written += kept;
  }
  piece.entries = written;
  return -1;
}

}  // namespace
}  // namespace warphash::spgemm
