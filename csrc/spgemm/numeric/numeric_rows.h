// SPDX-License-Identifier: Apache-2.0
// One row of a product after the other on a known pattern.
#pragma once

#include <cstdint>

#include "spgemm/numeric/numeric.h"

namespace warphash::spgemm {
namespace {

// Whether all are in [-1, columns).
inline bool pattern_inside(const int32_t* col, int64_t count, int64_t columns) {
  uint32_t outside = 0;
  const uint32_t last = static_cast<uint32_t>(columns);
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t next = static_cast<uint32_t>(col[i]) + 1;
    outside |= next | (last - next);
  }
  return static_cast<int32_t>(outside) >= 0;
}

// Row `entry` + 2 of b is on its way while this one is read.
template <class Value>
inline void prefetch_row(const Pattern& a, const Pattern& b, const Value* b_values, int64_t entry, int64_t end) {
  if (entry + 2 >= end) return;
  const int64_t at = b.crow[a.col[entry + 2]];
  __builtin_prefetch(b.col + at);
  __builtin_prefetch(b_values + at);
}

// Columns of a row are distinct, so that four sums may be read before they are written.
template <class Ring, class Value>
inline void add_row(const int32_t* col, const Value* b, int64_t count, Value a, Value* sums) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const int64_t c0 = col[i], c1 = col[i + 1], c2 = col[i + 2], c3 = col[i + 3];
    const Value x0 = Ring::plus(sums[c0], Ring::times(a, b[i]));
    const Value x1 = Ring::plus(sums[c1], Ring::times(a, b[i + 1]));
    const Value x2 = Ring::plus(sums[c2], Ring::times(a, b[i + 2]));
    const Value x3 = Ring::plus(sums[c3], Ring::times(a, b[i + 3]));
    sums[c0] = x0, sums[c1] = x1, sums[c2] = x2, sums[c3] = x3;
  }
  for (; i < count; ++i) sums[col[i]] = Ring::plus(sums[col[i]], Ring::times(a, b[i]));
}

template <class Ring, class Value>
inline int64_t add_products(const Pattern& a, const Pattern& b, const Value* a_values, const Value* b_values,
                            int64_t row, Value* sums) {
  int64_t products = 0;
  const int64_t end = a.crow[row + 1];
  for (int64_t entry = a.crow[row]; entry < end; ++entry) {
    prefetch_row(a, b, b_values, entry, end);
    const int64_t from = b.crow[a.col[entry]], count = b.crow[a.col[entry] + 1] - from;
    add_row<Ring>(b.col + from, b_values + from, count, a_values[entry], sums);
    products += count;
  }
  return products;
}

template <class Ring, class Value>
inline void clear_products(const Pattern& a, const Pattern& b, int64_t row, Value* sums) {
  for (int64_t entry = a.crow[row]; entry < a.crow[row + 1]; ++entry)
    for (int64_t at = b.crow[a.col[entry]]; at < b.crow[a.col[entry] + 1]; ++at) sums[b.col[at]] = Ring::zero();
}

template <class Ring, class Value>
inline void clear_all(int64_t columns, Value* sums) {
  for (int64_t column = 0; column < columns; ++column) sums[column] = Ring::zero();
}

template <class Stored, class Value, class Ring>
int64_t numeric_rows(const NumericJob& job, int64_t begin, int64_t end, void* all_sums) {
  Value* sums = static_cast<Value*>(all_sums);
  const Value *a_values = static_cast<const Value*>(job.a_values), *b_values = static_cast<const Value*>(job.b_values);
  for (int64_t row = begin; row < end; ++row) {
    const int64_t from = job.pattern.crow[row], count = job.pattern.crow[row + 1] - from;
    if (count == 0) continue;
    const int32_t* col = job.pattern.col + from;
    if (!pattern_inside(col, count, job.pattern.columns)) return row;
    Stored* to = static_cast<Stored*>(job.values) + from;
    const int64_t products = add_products<Ring>(job.a, job.b, a_values, b_values, row, sums);
    if (job.covers) {
      for (int64_t i = 0; i < count; ++i) {
        to[i] = rounded<Stored>(sums[col[i]]);
        sums[col[i]] = Ring::zero();
      }
    } else {
      for (int64_t i = 0; i < count; ++i) to[i] = rounded<Stored>(sums[col[i]]);
      if (products > job.pattern.columns / 8)
        clear_all<Ring>(job.pattern.columns, sums);
      else
        clear_products<Ring>(job.a, job.b, row, sums);
    }
  }
  return -1;
}

}  // namespace
}  // namespace warphash::spgemm
