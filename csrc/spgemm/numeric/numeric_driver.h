// SPDX-License-Identifier: Apache-2.0
// What the callers of the kernels share: the dense row, and the refusal of a pattern found broken on the way.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include "spgemm/spgemm_blocks.h"
#include "spgemm/spgemm_workspace.h"

namespace warphash::spgemm {

// A value for each column, and one for -1.
template <class Value>
class DenseRow {
 public:
  DenseRow(int64_t columns, Value zero) : memory_((columns + offset) * int64_t{sizeof(Value)}, true) {
    if (zero != Value(0)) std::fill_n(memory_.as<Value>(), columns + offset, zero);
  }
  Value* column_0() const { return memory_.template as<Value>() + offset; }

 private:
  static constexpr int64_t offset = 64 / sizeof(Value);
  Workspace memory_;
};

// The first row that a kernel refused, whichever thread met it.
class FirstRow {
 public:
  void keep(int64_t row) {
    if (row < 0) return;
    int64_t known = row_;
    while (row < known && !row_.compare_exchange_weak(known, row)) {
    }
  }
  // `least`: the least column there may be, 0 or -1.
  void refuse(const Pattern& pattern, const char* name, int32_t least) const {
    const int64_t row = row_;
    if (row == none) return;
    int64_t at = pattern.crow[row];
    while (at + 1 < pattern.crow[row + 1] && pattern.col[at] >= least && pattern.col[at] < pattern.columns) ++at;
    throw std::out_of_range(std::string(name) + "'s columns must be in [" + std::to_string(least) + ", " +
                            std::to_string(pattern.columns) + "), got " + std::to_string(pattern.col[at]) +
                            " at entry " + std::to_string(at));
  }

 private:
  static constexpr int64_t none = std::numeric_limits<int64_t>::max();
  std::atomic<int64_t> row_{none};
};

}  // namespace warphash::spgemm
