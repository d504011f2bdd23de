// SPDX-License-Identifier: Apache-2.0
// How the kernels on a known pattern walk the products of a row. Sums stand in a row as wide as the product, or, where the
// pattern has few entries for many products, only products on marked columns are looked at.
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

// Rows of b that come eight entries of a later, whichever row of a those are in; their pointers twice as early. A short row
// often lies in two cache lines.
constexpr int64_t rows_ahead = 8;
template <class... Values>
inline void prefetch_row(const Pattern& a, const Pattern& b, int64_t entry, const Values*... values) {
  if (entry + 2 * rows_ahead >= a.entries || b.entries == 0) return;
  __builtin_prefetch(b.crow + a.col[entry + 2 * rows_ahead]);
  const int64_t at = b.crow[a.col[entry + rows_ahead]];
  __builtin_prefetch(b.col + at), __builtin_prefetch(b.col + at + 8);
  (__builtin_prefetch(values + at), ...);
  (__builtin_prefetch(values + at + 8), ...);
}

// ---- All products ---------------------------------------------------------------------------------------------------
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
inline void add_products(const Pattern& a, const Pattern& b, const Value* a_values, const Value* b_values, int64_t row,
                         Value* sums) {
  const int64_t end = a.crow[row + 1];
  for (int64_t entry = a.crow[row]; entry < end; ++entry) {
    prefetch_row(a, b, entry, b_values);
    const int64_t from = b.crow[a.col[entry]], count = b.crow[a.col[entry] + 1] - from;
    add_row<Ring>(b.col + from, b_values + from, count, a_values[entry], sums);
  }
}

// The sums at the pattern's columns, which are cleared.
template <class Ring, class Stored, class Value>
inline void take_sums(const int32_t* col, int64_t count, Value* sums, Stored* to) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const int64_t c0 = col[i], c1 = col[i + 1], c2 = col[i + 2], c3 = col[i + 3];
    const Value x0 = sums[c0], x1 = sums[c1], x2 = sums[c2], x3 = sums[c3];
    sums[c0] = Ring::zero(), sums[c1] = Ring::zero(), sums[c2] = Ring::zero(), sums[c3] = Ring::zero();
    to[i] = rounded<Stored>(x0), to[i + 1] = rounded<Stored>(x1);
    to[i + 2] = rounded<Stored>(x2), to[i + 3] = rounded<Stored>(x3);
  }
  for (; i < count; ++i) {
    to[i] = rounded<Stored>(sums[col[i]]);
    sums[col[i]] = Ring::zero();
  }
}

// What add_products changed, where the pattern does not cover it.
template <class Ring, class Value>
inline void clear_products(const Pattern& a, const Pattern& b, int64_t row, Value* sums) {
  for (int64_t entry = a.crow[row]; entry < a.crow[row + 1]; ++entry) {
    const int64_t end = b.crow[a.col[entry] + 1];
    for (int64_t at = b.crow[a.col[entry]]; at < end; ++at) sums[b.col[at]] = Ring::zero();
  }
}

// ---- Products on marked columns -------------------------------------------------------------------------------------
constexpr int64_t found_at_once = 512;
constexpr int64_t searched = 32;  // a row of b so many times longer than the pattern's is searched, not read

// Calls hit(entry of a, position in b) for each product of the row that falls on the pattern's columns and is kept, in order
// of a's entries; keep(entry, position) is 0 for products elsewhere. No branch depends on it: each product is written down,
// and stays if it is kept; what stayed of several rows of b is done in one go.
template <class Keep, class Hit, class... Values>
inline void for_hits(const Pattern& a, const Pattern& b, int64_t row, const int32_t* col, int64_t count, Keep&& keep,
                     Hit&& hit, const Values*... b_values) {
  int64_t entries[found_at_once], places[found_at_once], found = 0;
  const auto do_found = [&] {
    for (int64_t i = 0; i < found; ++i) hit(entries[i], places[i]);
    found = 0;
  };
  const int64_t end = a.crow[row + 1];
  for (int64_t entry = a.crow[row]; entry < end; ++entry) {
    prefetch_row(a, b, entry, b_values...);
    int64_t at = b.crow[a.col[entry]];
    const int64_t b_end = b.crow[a.col[entry] + 1];
    if (b_end - at > searched * count) {
      do_found();
      for (int64_t i = 0; i < count && at < b_end; ++i) {
        for (int64_t left = b_end - at; left > 1; left -= left / 2)
          at += b.col[at + left / 2 - 1] < col[i] ? left / 2 : 0;
        if (b.col[at] == col[i] && keep(entry, at)) hit(entry, at);
      }
      continue;
    }
    while (at < b_end) {
      if (found + (b_end - at) > found_at_once) do_found();
      const int64_t stop = b_end - at > found_at_once ? at + found_at_once : b_end;
      for (; at < stop; ++at) {
        entries[found] = entry, places[found] = at;
        found += keep(entry, at);
      }
    }
  }
  do_found();
}

inline void mark(const int32_t* col, int64_t count, uint8_t* marks) {
  for (int64_t i = 0; i < count; ++i) marks[col[i]] = 1;
}
inline void unmark(const int32_t* col, int64_t count, uint8_t* marks) {
  for (int64_t i = 0; i < count; ++i) marks[col[i]] = 0;
}

// ---- Rows -----------------------------------------------------------------------------------------------------------
template <class Stored, class Value, class Ring>
int64_t numeric_rows(const NumericJob& job, int64_t begin, int64_t end, void* all_sums, uint8_t* marks) {
  Value* sums = static_cast<Value*>(all_sums);
  const Value *a_values = static_cast<const Value*>(job.a_values), *b_values = static_cast<const Value*>(job.b_values);
  for (int64_t row = begin; row < end; ++row) {
    const int64_t from = job.pattern.crow[row], count = job.pattern.crow[row + 1] - from;
    if (count == 0) continue;
    const int32_t* col = job.pattern.col + from;
    if (!pattern_inside(col, count, job.pattern.columns)) return row;
    Stored* to = static_cast<Stored*>(job.values) + from;
    if (job.covers) {
      add_products<Ring>(job.a, job.b, a_values, b_values, row, sums);
    } else if (marks == nullptr) {
      add_products<Ring>(job.a, job.b, a_values, b_values, row, sums);
      for (int64_t i = 0; i < count; ++i) to[i] = rounded<Stored>(sums[col[i]]);
      clear_products<Ring>(job.a, job.b, row, sums);
      continue;
    } else {
      mark(col, count, marks);
      for_hits(
          job.a, job.b, row, col, count, [&](int64_t, int64_t at) { return marks[job.b.col[at]]; },
          [&](int64_t entry, int64_t at) {
            Value& sum = sums[job.b.col[at]];
            sum = Ring::plus(sum, Ring::times(a_values[entry], b_values[at]));
          },
          b_values);
      unmark(col, count, marks);
    }
    take_sums<Ring>(col, count, sums, to);
  }
  return -1;
}

}  // namespace
}  // namespace warphash::spgemm
