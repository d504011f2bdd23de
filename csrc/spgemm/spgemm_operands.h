// SPDX-License-Identifier: Apache-2.0
// Tensors of a call to patterns, for the CPU and the CUDA entries alike.
#pragma once

#include <cstdint>
#include <limits>

#include "common/checks.h"
#include "spgemm/spgemm.h"

namespace warphash::spgemm {

inline Semiring semiring_of(int64_t semiring) {
  STD_TORCH_CHECK(semiring >= 0 && semiring <= 3,
                  "semiring must be 0 (plus_times), 1 (or_and), 2 (min_plus) or 3 (max_times), got ", semiring);
  return static_cast<Semiring>(semiring);
}

inline int64_t checked_columns(int64_t columns) {
  STD_TORCH_CHECK(columns >= 0 && columns <= std::numeric_limits<int32_t>::max(), "columns must be in [0, 2^31), got ",
                  columns);
  return columns;
}

// Rows that row pointers speak of; what are none is refused where they become an operand's.
inline int64_t rows_of(const Tensor& crow) { return crow.dim() == 1 && crow.size(0) > 0 ? crow.size(0) - 1 : 0; }

// int64 columns as int32. Those that do not fit never become other columns: the CPU refuses them by `name`, CUDA makes
// them -1. `most`: the columns that there are.
Tensor narrowed(const Tensor& columns, int64_t most, const char* name);

// Row pointers as int64, columns as int32: copies where they are the other type. `index` is the type that came.
struct PatternOperand {
  Tensor crow, col;
  ScalarType index;
  Pattern pattern;

  PatternOperand(const Tensor& given_crow, const Tensor& given_col, int64_t columns, const char* name)
      : crow(given_crow), col(given_col), index(given_col.scalar_type()) {
    STD_TORCH_CHECK(crow.dim() == 1 && col.dim() == 1, name, "'s row pointers and columns must be 1-D");
    STD_TORCH_CHECK(index == ScalarType::Int || index == ScalarType::Long, name, "'s indices must be int32 or int64");
    STD_TORCH_CHECK(crow.scalar_type() == index, name, "'s row pointers and columns must share their dtype");
    STD_TORCH_CHECK(crow.size(0) >= 1, name, "'s row pointers must have an entry for each row and one more");
    check_same_device(crow, "row pointers", col, "columns");
    if (index == ScalarType::Int) crow = torch::stable::to(crow, ScalarType::Long);
    if (index == ScalarType::Long) col = narrowed(col, checked_columns(columns), name);
    crow = torch::stable::contiguous(crow), col = torch::stable::contiguous(col);
    pattern = {crow.const_data_ptr<int64_t>(), col.const_data_ptr<int32_t>(), crow.size(0) - 1,
               checked_columns(columns), col.size(0)};
  }
};

// A pattern and its values, one an entry.
struct CsrOperand : PatternOperand {
  Tensor values;

  CsrOperand(const Tensor& given_crow, const Tensor& given_col, const Tensor& given_values, int64_t columns,
             const char* name)
      : PatternOperand(given_crow, given_col, columns, name), values(torch::stable::contiguous(given_values)) {
    STD_TORCH_CHECK(values.dim() == 1 && values.size(0) == pattern.entries, name, " must have a value for each entry");
    check_same_device(crow, "row pointers", values, "values");
  }
  template <class Value>
  Csr<Value> csr() const {
    return {pattern, static_cast<const Value*>(values.const_data_ptr())};
  }
};

// What the operands of one product share.
inline void check_operands(const PatternOperand& a, const PatternOperand& b) {
  STD_TORCH_CHECK(a.pattern.columns == b.pattern.rows, "a must have as many columns as b has rows, got ",
                  a.pattern.columns, " and ", b.pattern.rows);
  STD_TORCH_CHECK(a.index == b.index, "a and b must share their index dtype");
  check_same_device(a.crow, "a", b.crow, "b");
}

// A pattern beside the factors: a mask, what a product leaves out, where values or gradients are wanted.
inline void check_pattern_fits(const PatternOperand& a, const PatternOperand& pattern, const char* name) {
  STD_TORCH_CHECK(pattern.pattern.rows == a.pattern.rows, name, " must have as many rows as a, got ",
                  pattern.pattern.rows, " and ", a.pattern.rows);
  STD_TORCH_CHECK(pattern.index == a.index, name, " must share the index dtype of a");
  check_same_device(a.crow, "a", pattern.crow, name);
}

// Both factors of a product of patterns.
struct FactorPatterns {
  PatternOperand a, b;

  FactorPatterns(const Tensor& a_crow, const Tensor& a_col, const Tensor& b_crow, const Tensor& b_col, int64_t columns)
      : a(a_crow, a_col, rows_of(b_crow), "a"), b(b_crow, b_col, columns, "b") {
    check_operands(a, b);
  }
};

}  // namespace warphash::spgemm
