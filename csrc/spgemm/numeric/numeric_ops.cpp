// SPDX-License-Identifier: Apache-2.0
// Schemas of values on a known pattern, of gradients and of winners, and their CPU entries.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "spgemm/numeric/numeric.h"
#include "spgemm/spgemm_typed_operands.h"

namespace warphash::spgemm {
namespace {

Tensor numeric_cpu(const Tensor& a_crow, const Tensor& a_col, const Tensor& a_values, const Tensor& b_crow,
                   const Tensor& b_col, const Tensor& b_values, const Tensor& crow, const Tensor& col, int64_t columns,
                   int64_t semiring, bool covers) {
  const Semiring ring = semiring_of(semiring);
  const ValueType type = checked_value_type(a_values, b_values, ring);
  const auto [a, b] = Factors(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  const PatternOperand pattern(crow, col, columns, "the pattern");
  check_pattern_fits(a, pattern, "the pattern");
  Tensor values = empty_on_cpu({pattern.pattern.entries}, a_values.scalar_type());
  numeric(chosen_isa(), {a.pattern, b.pattern, pattern.pattern, a.values.const_data_ptr(), b.values.const_data_ptr(),
                         type, ring, covers, values.mutable_data_ptr()});
  return values;
}

std::tuple<Tensor, Tensor> gradients_cpu(const Tensor& gradient, const Tensor& a_crow, const Tensor& a_col,
                                         const Tensor& a_values, const Tensor& b_crow, const Tensor& b_col,
                                         const Tensor& b_values, const Tensor& crow, const Tensor& col, int64_t columns,
                                         bool of_a, bool of_b) {
  const ValueType type = checked_value_type(a_values, b_values, Semiring::plus_times);
  STD_TORCH_CHECK(is_float(type), "gradients are of float values");
  STD_TORCH_CHECK(gradient.scalar_type() == a_values.scalar_type(), "gradient must have the values' dtype");
  const auto [a, b] = Factors(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  const CsrOperand pattern(crow, col, widened(gradient), columns, "the gradient");
  check_pattern_fits(a, pattern, "the gradient");
  Tensor a_gradient = empty_on_cpu({of_a ? a.pattern.entries : 0}, a_values.scalar_type());
  Tensor b_gradient = empty_on_cpu({of_b ? b.pattern.entries : 0}, a_values.scalar_type());
  gradients(chosen_isa(),
            {a.pattern, b.pattern, pattern.pattern, pattern.values.const_data_ptr(), a.values.const_data_ptr(),
             b.values.const_data_ptr(), type, of_a && a.pattern.entries > 0 ? a_gradient.mutable_data_ptr() : nullptr,
             of_b && b.pattern.entries > 0 ? b_gradient.mutable_data_ptr() : nullptr});
  return {a_gradient, b_gradient};
}

std::tuple<Tensor, Tensor> winners_cpu(const Tensor& a_crow, const Tensor& a_col, const Tensor& a_values,
                                       const Tensor& b_crow, const Tensor& b_col, const Tensor& b_values,
                                       const Tensor& crow, const Tensor& col, int64_t columns, int64_t semiring) {
  const Semiring ring = semiring_of(semiring);
  STD_TORCH_CHECK(ring == Semiring::min_plus || ring == Semiring::max_times,
                  "semiring must be 2 (min_plus) or 3 (max_times), got ", semiring);
  const ValueType type = checked_value_type(a_values, b_values, ring);
  const auto [a, b] = Factors(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  const PatternOperand pattern(crow, col, columns, "the pattern");
  check_pattern_fits(a, pattern, "the pattern");
  Tensor from_a = empty_on_cpu({pattern.pattern.entries}, ScalarType::Long);
  Tensor from_b = empty_on_cpu({pattern.pattern.entries}, ScalarType::Long);
  winners(chosen_isa(), {a.pattern, b.pattern, pattern.pattern, a.values.const_data_ptr(), b.values.const_data_ptr(),
                         type, ring, from_a.mutable_data_ptr<int64_t>(), from_b.mutable_data_ptr<int64_t>()});
  return {from_a, from_b};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(warphash, m) {
  m.def(
      "spgemm_numeric(Tensor a_crow, Tensor a_col, Tensor a_values, Tensor b_crow, Tensor b_col, Tensor b_values, "
      "Tensor crow, Tensor col, SymInt columns, int semiring, bool covers) -> Tensor");
  m.def(
      "spgemm_gradients(Tensor gradient, Tensor a_crow, Tensor a_col, Tensor a_values, Tensor b_crow, Tensor b_col, "
      "Tensor b_values, Tensor crow, Tensor col, SymInt columns, bool of_a, bool of_b) -> (Tensor, Tensor)");
  m.def(
      "spgemm_winners(Tensor a_crow, Tensor a_col, Tensor a_values, Tensor b_crow, Tensor b_col, Tensor b_values, "
      "Tensor crow, Tensor col, SymInt columns, int semiring) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(warphash, CPU, m) {
  m.impl("spgemm_numeric", TORCH_BOX(&numeric_cpu));
  m.impl("spgemm_gradients", TORCH_BOX(&gradients_cpu));
  m.impl("spgemm_winners", TORCH_BOX(&winners_cpu));
}

}  // namespace warphash::spgemm
