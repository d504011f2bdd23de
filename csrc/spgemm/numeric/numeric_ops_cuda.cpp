// SPDX-License-Identifier: Apache-2.0
// CUDA entries of values on a known pattern, of gradients and of winners. All work goes to the current stream; nothing is
// waited for. For the gradient of B, torch sorts A's entries by column.
#include <torch/csrc/stable/library.h>

#include <limits>
#include <tuple>

#include "common/stream.h"
#include "common/torch_sort.h"
#include "spgemm/numeric/gradient_blocks.h"
#include "spgemm/numeric/numeric.cuh"
#include "spgemm/spgemm_typed_operands.h"

namespace warphash::spgemm {
namespace {

Tensor numeric_cuda(const Tensor& a_crow, const Tensor& a_col, const Tensor& a_values, const Tensor& b_crow,
                    const Tensor& b_col, const Tensor& b_values, const Tensor& crow, const Tensor& col, int64_t columns,
                    int64_t semiring, bool covers) {
  const Semiring ring = semiring_of(semiring);
  const ValueType type = checked_value_type(a_values, b_values, ring);
  const OnDevice device(a_crow);
  const Factors operands(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  const PatternOperand pattern(crow, col, columns, "the pattern");
  check_pattern_fits(operands.a, pattern, "the pattern");
  Tensor values = device.empty({pattern.pattern.entries}, a_values.scalar_type());
  Tensor workspace = device.workspace(numeric_workspace(operands.a.pattern, pattern.pattern));
  with_type(sum_type(type), [&]<class, class Sum>() {
    OnDevice::check(numeric(operands.a.csr<Sum>(), operands.b.csr<Sum>(), pattern.pattern, ring, covers,
                            workspace.mutable_data_ptr(), values.mutable_data_ptr(), type, device.stream()));
  });
  return values;
}

template <class Value>
void derive_a(const OnDevice& device, const Factors& operands, const CsrOperand& gradient, ValueType type,
              Tensor& of_a) {
  const Pattern& a = operands.a.pattern;
  Tensor workspace = device.workspace(gradient_of_a_workspace(a, gradient.pattern));
  OnDevice::check(gradient_of_a(gradient.csr<Value>(), a, operands.b.csr<Value>(), workspace.mutable_data_ptr(),
                                of_a.mutable_data_ptr(), type, device.stream()));
}

template <class Value>
void derive_b(const OnDevice& device, const Factors& operands, const CsrOperand& gradient, ValueType type,
              Tensor& of_b) {
  const Pattern &a = operands.a.pattern, &b = operands.b.pattern;
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  STD_TORCH_CHECK(a.rows <= most && a.entries <= most,
                  "for the gradient of b, a must have less than 2^31 rows and entries on CUDA, got ", a.rows, " and ",
                  a.entries);
  if (b.entries == 0) return;
  const auto [keys, order] = sort_stable(operands.a.col);
  Tensor crow = device.empty({a.columns + 1}, ScalarType::Long), rows = device.empty({a.entries}, ScalarType::Int);
  OnDevice::check(transpose(a, keys.const_data_ptr<int32_t>(), order.const_data_ptr<int64_t>(),
                            crow.mutable_data_ptr<int64_t>(), rows.mutable_data_ptr<int32_t>(), device.stream()));
  const Pattern transposed{crow.const_data_ptr<int64_t>(), rows.const_data_ptr<int32_t>(), a.columns, a.rows,
                           a.entries};
  Tensor workspace = device.workspace(gradient_of_b_workspace(transposed, b));
  OnDevice::check(gradient_of_b(gradient.csr<Value>(), operands.a.csr<Value>(), transposed,
                                order.const_data_ptr<int64_t>(), b, worth_blocks, workspace.mutable_data_ptr(),
                                of_b.mutable_data_ptr(), type, device.stream()));
}

std::tuple<Tensor, Tensor> gradients_cuda(const Tensor& gradient, const Tensor& a_crow, const Tensor& a_col,
                                          const Tensor& a_values, const Tensor& b_crow, const Tensor& b_col,
                                          const Tensor& b_values, const Tensor& crow, const Tensor& col,
                                          int64_t columns, bool of_a, bool of_b) {
  const ValueType type = checked_value_type(a_values, b_values, Semiring::plus_times);
  STD_TORCH_CHECK(is_float(type), "gradients are of float values");
  STD_TORCH_CHECK(gradient.scalar_type() == a_values.scalar_type(), "gradient must have the values' dtype");
  const OnDevice device(a_crow);
  const Factors operands(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  const CsrOperand pattern(crow, col, widened(gradient), columns, "the gradient");
  check_pattern_fits(operands.a, pattern, "the gradient");
  Tensor a_gradient = device.empty({of_a ? operands.a.pattern.entries : 0}, a_values.scalar_type());
  Tensor b_gradient = device.empty({of_b ? operands.b.pattern.entries : 0}, a_values.scalar_type());
  const auto derive = [&]<class Value>() {
    if (of_a) derive_a<Value>(device, operands, pattern, type, a_gradient);
    if (of_b) derive_b<Value>(device, operands, pattern, type, b_gradient);
  };
  if (type == ValueType::float64)
    derive.template operator()<double>();
  else
    derive.template operator()<float>();
  return {a_gradient, b_gradient};
}

std::tuple<Tensor, Tensor> winners_cuda(const Tensor& a_crow, const Tensor& a_col, const Tensor& a_values,
                                        const Tensor& b_crow, const Tensor& b_col, const Tensor& b_values,
                                        const Tensor& crow, const Tensor& col, int64_t columns, int64_t semiring) {
  const Semiring ring = semiring_of(semiring);
  STD_TORCH_CHECK(ring == Semiring::min_plus || ring == Semiring::max_times,
                  "semiring must be 2 (min_plus) or 3 (max_times), got ", semiring);
  const ValueType type = checked_value_type(a_values, b_values, ring);
  const OnDevice device(a_crow);
  const Factors operands(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  const PatternOperand pattern(crow, col, columns, "the pattern");
  check_pattern_fits(operands.a, pattern, "the pattern");
  Tensor from_a = device.empty({pattern.pattern.entries}, ScalarType::Long);
  Tensor from_b = device.empty({pattern.pattern.entries}, ScalarType::Long);
  Tensor workspace = device.workspace(numeric_workspace(operands.a.pattern, pattern.pattern));
  with_type(sum_type(type), [&]<class, class Sum>() {
    if constexpr (!std::is_same_v<Sum, uint8_t>)
      OnDevice::check(winners(operands.a.csr<Sum>(), operands.b.csr<Sum>(), pattern.pattern, ring,
                              workspace.mutable_data_ptr(), from_a.mutable_data_ptr<int64_t>(),
                              from_b.mutable_data_ptr<int64_t>(), device.stream()));
  });
  return {from_a, from_b};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(warphash, CUDA, m) {
  m.impl("spgemm_numeric", TORCH_BOX(&numeric_cuda));
  m.impl("spgemm_gradients", TORCH_BOX(&gradients_cuda));
  m.impl("spgemm_winners", TORCH_BOX(&winners_cuda));
}

}  // namespace warphash::spgemm
