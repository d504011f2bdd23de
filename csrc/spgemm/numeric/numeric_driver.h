// SPDX-License-Identifier: Apache-2.0
// What the callers of the kernels share: checks of the operands, the dense row, the refusal of a pattern found broken.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>

#include "spgemm/inspect/inspect.h"
#include "spgemm/numeric/gradient_blocks.h"
#include "spgemm/spgemm_blocks.h"
#include "spgemm/spgemm_renumbered.h"
#include "spgemm/spgemm_workspace.h"

namespace warphash::spgemm {

// A value for each column, and one for -1. `busy`: most of it will be used.
template <class Value>
class DenseRow {
 public:
  DenseRow(int64_t columns, Value zero, bool busy) : memory_((columns + offset) * int64_t{sizeof(Value)}, busy) {
    if (zero != Value(0)) std::fill_n(memory_.as<Value>(), columns + offset, zero);
  }
  Value* column_0() const { return memory_.template as<Value>() + offset; }

 private:
  static constexpr int64_t offset = 64 / sizeof(Value);
  Workspace memory_;
};

// Most products fall on a pattern that is not so many times smaller: then marks save nothing.
constexpr int64_t much_smaller = 8;

inline int64_t products_of(const Pattern& a, const Pattern& b, int64_t begin, int64_t end) {
  int64_t products = 0;
  for (int64_t entry = begin; entry < end; ++entry) products += b.crow[a.col[entry] + 1] - b.crow[a.col[entry]];
  return products;
}

// About how many products there are: of each 16 runs of 64 entries of a one is counted.
inline int64_t about_products(const Pattern& a, const Pattern& b) {
  constexpr int64_t run = sampled_run, runs = sampled_runs;
  if (a.entries < run * runs) return products_of(a, b, 0, a.entries);
  int64_t counted = 0, products = 0;
  for (int64_t entry = 0; entry < a.entries; entry += run * runs) {
    const int64_t end = std::min(a.entries, entry + run);
    products += products_of(a, b, entry, end);
    counted += end - entry;
  }
  return static_cast<int64_t>(static_cast<double>(products) * static_cast<double>(a.entries) /
                              static_cast<double>(counted));
}

[[noreturn]] inline void refuse_column(const Pattern& pattern, int64_t at, const char* name) {
  throw std::out_of_range(std::string(name) + "'s columns must be in [-1, " + std::to_string(pattern.columns) +
                          "), got " + std::to_string(pattern.col[at]) + " at entry " + std::to_string(at));
}

// The first row that a kernel refused, whichever thread met it.
class FirstRow {
 public:
  void keep(int64_t row) {
    if (row < 0) return;
    int64_t known = row_;
    while (row < known && !row_.compare_exchange_weak(known, row)) {
    }
  }
  void refuse(const Pattern& pattern, const char* name) const {
    const int64_t row = row_;
    if (row == none) return;
    int64_t at = pattern.crow[row];
    while (at + 1 < pattern.crow[row + 1] && pattern.col[at] >= -1 && pattern.col[at] < pattern.columns) ++at;
    refuse_column(pattern, at, name);
  }

 private:
  static constexpr int64_t none = std::numeric_limits<int64_t>::max();
  std::atomic<int64_t> row_{none};
};

// Operands that stay inside their arrays; the pattern's columns are left to the kernels. Where the product is very wide for
// its entries, b and the pattern are replaced by renumbered ones, whose memory this holds.
class CheckedOperands {
 public:
  CheckedOperands(Isa isa, const Pattern& a, Pattern& b, Pattern& pattern, const char* name) {
    check_bounds(isa, a, "a");
    check_bounds(isa, b, "b");
    check_pointers(pattern, name);
    if (!Renumbered::worth_it(b, pattern)) return;
    for (int64_t at = 0; at < pattern.entries; ++at)
      if (pattern.col[at] < -1 || pattern.col[at] >= pattern.columns) refuse_column(pattern, at, name);
    renumbered_.emplace(b, pattern);
    b = renumbered_->b(), pattern = renumbered_->pattern();
  }

 private:
  std::optional<Renumbered> renumbered_;
};

}  // namespace warphash::spgemm
