// SPDX-License-Identifier: Apache-2.0
// Tensors of a product and what comes out of it, for the CPU and the CUDA entries alike.
#pragma once

#include <optional>

#include "spgemm/spgemm_operands.h"

namespace warphash::spgemm {

inline std::optional<PatternOperand> excluded_operand(const PatternOperand& a, const PatternOperand& b,
                                                      const std::optional<Tensor>& crow,
                                                      const std::optional<Tensor>& col) {
  STD_TORCH_CHECK(crow.has_value() == col.has_value(), "exclude_crow and exclude_col must both be given, or none");
  if (!crow.has_value()) return std::nullopt;
  PatternOperand exclude(*crow, *col, b.pattern.columns, "exclude");
  check_pattern_fits(a, exclude, "exclude");
  return exclude;
}

// Before any value is computed.
inline void check_entries(int64_t entries, ScalarType index) {
  STD_TORCH_CHECK(index == ScalarType::Long || entries <= std::numeric_limits<int32_t>::max(), "the product has ",
                  entries, " entries, more than int32 indices can count: give a and b int64 indices");
}

}  // namespace warphash::spgemm
