// SPDX-License-Identifier: Apache-2.0
// Columns renumbered by those that occur in b, where a product is so wide that a row as wide as it would be mostly unused.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "spgemm/spgemm.h"

namespace warphash::spgemm {

// Columns of the pattern that do not occur in b become -1. Columns of both must be in range. Needs room for b's columns
// twice and for the pattern's once.
class Renumbered {
 public:
  // Sorting the columns costs more than a row of a few hundred places an entry; beyond a gigabyte the row itself does.
  static bool worth_it(const Pattern& b, const Pattern& pattern) {
    constexpr int64_t wide = 1 << 16, very_wide = 1 << 28;
    const int64_t entries = b.entries + pattern.entries;
    return (b.columns > wide && b.columns / 256 > entries) || (b.columns > very_wide && b.columns / 16 > entries);
  }
  Renumbered(const Pattern& b, const Pattern& pattern)
      : names_(b.col, b.col + b.entries), b_col_(b.entries), pattern_col_(pattern.entries) {
    std::sort(names_.begin(), names_.end());
    names_.erase(std::unique(names_.begin(), names_.end()), names_.end());
    for (int64_t i = 0; i < b.entries; ++i) b_col_[i] = number_of(b.col[i]);
    for (int64_t i = 0; i < pattern.entries; ++i) pattern_col_[i] = number_of(pattern.col[i]);
    b_ = {b.crow, b_col_.data(), b.rows, static_cast<int64_t>(names_.size()), b.entries};
    pattern_ = {pattern.crow, pattern_col_.data(), pattern.rows, b_.columns, pattern.entries};
  }
  const Pattern& b() const { return b_; }
  const Pattern& pattern() const { return pattern_; }

 private:
  int32_t number_of(int32_t column) const {
    const auto at = std::lower_bound(names_.begin(), names_.end(), column);
    return at != names_.end() && *at == column ? static_cast<int32_t>(at - names_.begin()) : -1;
  }

  std::vector<int32_t> names_, b_col_, pattern_col_;
  Pattern b_, pattern_;
};

}  // namespace warphash::spgemm
