// SPDX-License-Identifier: Apache-2.0
// CUDA entries of values on a known pattern, of gradients and of winners. All work goes to the current stream; nothing is
// waited for. For the gradient of B, torch sorts A's entries by column.
#include <torch/csrc/stable/library.h>

#include <limits>
#include <tuple>

#include "common/stream.h"
#include "common/torch_sort.h"
#include "spgemm/numeric/numeric.cuh"
#include "spgemm/spgemm_typed_operands.h"

namespace warphash::spgemm {
namespace {

// What the three operators take.
struct Operands {
  CsrOperand a, b;

  Operands(const Tensor& a_crow, const Tensor& a_col, const Tensor& a_values, const Tensor& b_crow, const Tensor& b_col,
           const Tensor& b_values, int64_t columns)
      : a(a_crow, a_col, widened(a_values), b_crow.numel() - 1, "a"),
        b(b_crow, b_col, widened(b_values), columns, "b") {
    check_operands(a, b);
  }
};

Tensor rounded_to(ScalarType type, const Tensor& sums) {
  return sums.scalar_type() == type ? sums : torch::stable::to(sums, type);
}

Tensor numeric_cuda(const Tensor& a_crow, const Tensor& a_col, const Tensor& a_values, const Tensor& b_crow,
                    const Tensor& b_col, const Tensor& b_values, const Tensor& crow, const Tensor& col, int64_t columns,
                    int64_t semiring, bool covers) {
  const Semiring ring = semiring_of(semiring);
  const ValueType type = checked_value_type(a_values, b_values, ring);
  const OnDevice device(a_crow);
  const Operands operands(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  const PatternOperand pattern(crow, col, columns, "the pattern");
  check_pattern_fits(operands.a, pattern, "the pattern");
  Tensor sums = device.empty({pattern.pattern.entries}, operands.a.values.scalar_type());
  Tensor workspace = device.workspace(numeric_workspace(operands.a.pattern, pattern.pattern));
  with_type(sum_type(type), [&]<class, class Sum>() {
    OnDevice::check(numeric(operands.a.csr<Sum>(), operands.b.csr<Sum>(), pattern.pattern, ring, covers,
                            workspace.mutable_data_ptr(), static_cast<Sum*>(sums.mutable_data_ptr()), device.stream()));
  });
  return rounded_to(a_values.scalar_type(), sums);
}

template <class Value>
Tensor gradient_of_a_cuda(const OnDevice& device, const Operands& operands, const CsrOperand& gradient) {
  const Pattern& a = operands.a.pattern;
  Tensor sums = device.empty({a.entries}, gradient.values.scalar_type());
  Tensor workspace = device.workspace(numeric_workspace(a, gradient.pattern));
  OnDevice::check(gradient_of_a(gradient.csr<Value>(), a, operands.b.csr<Value>(), workspace.mutable_data_ptr(),
                                static_cast<Value*>(sums.mutable_data_ptr()), device.stream()));
  return sums;
}

template <class Value>
Tensor gradient_of_b_cuda(const OnDevice& device, const Operands& operands, const CsrOperand& gradient) {
  const Pattern &a = operands.a.pattern, &b = operands.b.pattern;
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  STD_TORCH_CHECK(a.rows <= most && a.entries <= most,
                  "for the gradient of b, a must have less than 2^31 rows and entries on CUDA, got ", a.rows, " and ",
                  a.entries);
  Tensor sums = device.empty({b.entries}, gradient.values.scalar_type());
  if (b.entries == 0) return sums;
  const auto [keys, order] = sort_stable(operands.a.col);
  Tensor crow = device.empty({a.columns + 1}, ScalarType::Long), rows = device.empty({a.entries}, ScalarType::Int);
  OnDevice::check(transpose(a, keys.const_data_ptr<int32_t>(), order.const_data_ptr<int64_t>(),
                            crow.mutable_data_ptr<int64_t>(), rows.mutable_data_ptr<int32_t>(), device.stream()));
  const Pattern transposed{crow.const_data_ptr<int64_t>(), rows.const_data_ptr<int32_t>(), a.columns, a.rows,
                           a.entries};
  Tensor workspace = device.workspace(gradient_of_b_workspace(transposed, b));
  OnDevice::check(gradient_of_b(gradient.csr<Value>(), transposed, order.const_data_ptr<int64_t>(),
                                operands.a.csr<Value>().values, b, workspace.mutable_data_ptr(),
                                static_cast<Value*>(sums.mutable_data_ptr()), device.stream()));
  return sums;
}

std::tuple<Tensor, Tensor> gradients_cuda(const Tensor& gradient, const Tensor& a_crow, const Tensor& a_col,
                                          const Tensor& a_values, const Tensor& b_crow, const Tensor& b_col,
                                          const Tensor& b_values, const Tensor& crow, const Tensor& col,
                                          int64_t columns, bool of_a, bool of_b) {
  const ValueType type = checked_value_type(a_values, b_values, Semiring::plus_times);
  STD_TORCH_CHECK(sum_type(type) == ValueType::float32 || type == ValueType::float64, "gradients are of float values");
  STD_TORCH_CHECK(gradient.scalar_type() == a_values.scalar_type(), "gradient must have the values' dtype");
  const OnDevice device(a_crow);
  const Operands operands(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  const CsrOperand pattern(crow, col, widened(gradient), columns, "the gradient");
  check_pattern_fits(operands.a, pattern, "the gradient");
  const ScalarType stored = a_values.scalar_type();
  Tensor a_gradient = device.empty({0}, stored), b_gradient = device.empty({0}, stored);
  const auto derive = [&]<class Value>() {
    if (of_a) a_gradient = rounded_to(stored, gradient_of_a_cuda<Value>(device, operands, pattern));
    if (of_b) b_gradient = rounded_to(stored, gradient_of_b_cuda<Value>(device, operands, pattern));
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
  const Operands operands(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
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
