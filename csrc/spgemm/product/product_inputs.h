// SPDX-License-Identifier: Apache-2.0
// What rows of the product are made of, whatever the instruction set: the operands, fetched ahead, and how far a row has come
// in the pattern that is excluded.
#pragma once

#include <cstdint>

#include "spgemm/product/product_rows.h"

namespace warphash::spgemm {
namespace {

template <class A>
struct RowInputs {
  using Value = typename A::Value;

  const Pattern &a, &b, &exclude;
  const WordsOfRows& words;
  const Value *a_values, *b_values;
  Scratch& scratch;
  int64_t excluded = 0, excluded_end = 0;

  // Rows of B far apart are fetched some rows of A ahead: a short row is done before the first of its own misses ends.
  // First where they begin, then their entries.
  template <bool counting>
  void fetch_ahead(int64_t i) const {
    constexpr int64_t ahead = 8;
    if (i + 2 * ahead < a.rows) fetch(i + 2 * ahead, [&](int64_t row) { __builtin_prefetch(b.crow + row); });
    if (i + ahead < a.rows)
      fetch(i + ahead, [&](int64_t row) {
        const int64_t from = b.crow[row], to = b.crow[row + 1];
        if (from == to) return;
        __builtin_prefetch(b.col + from);
        __builtin_prefetch(b.col + to - 1);
        if constexpr (!counting && A::valued) {
          __builtin_prefetch(b_values + from);
          __builtin_prefetch(b_values + to - 1);
        }
      });
  }

  void open_exclusion(int64_t i) {
    if (exclude.crow != nullptr) excluded = exclude.crow[i], excluded_end = exclude.crow[i + 1];
  }
  // Whether columns are left that the row must not have.
  bool excludes() const { return excluded < excluded_end; }
  // Columns are asked for in ascending order.
  bool is_excluded(int32_t column) {
    while (excludes() && exclude.col[excluded] < column) ++excluded;
    return excludes() && exclude.col[excluded] == column;
  }

 private:
  template <class Fetch>
  void fetch(int64_t i, Fetch one) const {
    constexpr int64_t most_fetched = 16;  // entries of a row of A
    const int64_t begin = a.crow[i], end = a.crow[i + 1];
    if (end - begin > most_fetched) return;
    for (int64_t k = begin; k < end; ++k) one(a.col[k]);
  }
};

}  // namespace
}  // namespace warphash::spgemm
