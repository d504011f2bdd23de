// SPDX-License-Identifier: Apache-2.0
// One row of a masked product after the other: only products on the mask's columns are made.
#pragma once

#include <cstdint>

#include "spgemm/masked/masked.h"
#include "spgemm/numeric/numeric_rows.h"

namespace warphash::spgemm {
namespace {

// Ring void: the pattern alone.
template <class Stored, class Value, class Ring>
int64_t masked_rows(const MaskedJob& job, const MaskedOut& out, MaskedPiece& piece, const MaskedRow& dense) {
  constexpr bool with_values = !std::is_void_v<Ring>;
  Value* sums = static_cast<Value*>(dense.sums);
  const Value *a_values = static_cast<const Value*>(job.a_values), *b_values = static_cast<const Value*>(job.b_values);
  const int64_t at = job.mask.crow[piece.begin];
  piece.entries = 0;
  for (int64_t row = piece.begin; row < piece.end; ++row) {
    const int64_t from = job.mask.crow[row], count = job.mask.crow[row + 1] - from;
    out.counts[row] = 0;
    if (count == 0 || job.a.crow[row] == job.a.crow[row + 1]) continue;
    const int32_t* col = job.mask.col + from;
    if (!pattern_inside(col, count, job.mask.columns)) return row;
    mark(col, count, dense.marks);
    const auto marked = [&](int64_t, int64_t place) { return dense.marks[job.b.col[place]]; };
    if constexpr (with_values) {
      for_hits(
          job.a, job.b, row, col, count, marked,
          [&](int64_t entry, int64_t place) {
            const int32_t column = job.b.col[place];
            dense.hits[column] = 1;
            sums[column] = Ring::plus(sums[column], Ring::times(a_values[entry], b_values[place]));
          },
          b_values);
    } else {
      for_hits(job.a, job.b, row, col, count, marked,
               [&](int64_t, int64_t place) { dense.hits[job.b.col[place]] = 1; });
    }
    const int32_t* names = job.names == nullptr ? col : job.names + from;
    int32_t* col_to = out.col + at + piece.entries;
    int64_t kept = 0;
    for (int64_t i = 0; i < count; ++i) {
      const int32_t column = col[i];
      col_to[kept] = names[i];
      if constexpr (with_values) {
        static_cast<Stored*>(out.values)[at + piece.entries + kept] = rounded<Stored>(sums[column]);
        sums[column] = Ring::zero();
      }
      kept += dense.hits[column];
      dense.hits[column] = 0, dense.marks[column] = 0;
    }
    out.counts[row] = kept;
    piece.entries += kept;
  }
  return -1;
}

}  // namespace
}  // namespace warphash::spgemm
