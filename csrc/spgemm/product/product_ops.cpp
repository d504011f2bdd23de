// SPDX-License-Identifier: Apache-2.0
// Schemas of the product and its CPU entries.
#include <torch/csrc/stable/library.h>

#include <tuple>
#include <utility>

#include "spgemm/product/product.h"
#include "spgemm/product/product_operands.h"
#include "spgemm/spgemm_typed_operands.h"

namespace warphash::spgemm {
namespace {

struct Entries {
  Tensor crow, col;
};

// Counts, then hands the output to `fill`, which writes it.
template <class Fill>
Entries product_of(const PatternOperand& a, const PatternOperand& b, const std::optional<Tensor>& exclude_crow,
                   const std::optional<Tensor>& exclude_col, const Fill& fill) {
  const std::optional<PatternOperand> exclude = excluded_operand(a, b, exclude_crow, exclude_col);
  Tensor crow = empty_on_cpu({a.pattern.rows + 1}, ScalarType::Long);
  const ProductOperands operands = {a.pattern, b.pattern, exclude ? exclude->pattern : Pattern{}, {}};
  Product product(chosen_isa(), operands, crow.mutable_data_ptr<int64_t>());
  check_entries(product.entries(), a.index);
  Tensor col = empty_on_cpu({product.entries()}, a.index);
  fill(product, ProductOutput{col.mutable_data_ptr(), a.index == ScalarType::Long, nullptr, {}});
  if (a.index == ScalarType::Int) crow = torch::stable::to(crow, ScalarType::Int);
  return {crow, col};
}

std::tuple<Tensor, Tensor, Tensor> matmul_cpu(const Tensor& a_crow, const Tensor& a_col, const Tensor& a_values,
                                              const Tensor& b_crow, const Tensor& b_col, const Tensor& b_values,
                                              int64_t columns, int64_t semiring, std::optional<Tensor> exclude_crow,
                                              std::optional<Tensor> exclude_col) {
  const Semiring ring = semiring_of(semiring);
  const ValueType type = checked_value_type(a_values, b_values, ring);
  const auto [a, b] = Factors(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  Tensor values = empty_on_cpu({0}, a_values.scalar_type());
  Entries entries = product_of(a, b, exclude_crow, exclude_col, [&](Product& product, ProductOutput output) {
    values = empty_on_cpu({product.entries()}, a_values.scalar_type());
    output.values = values.mutable_data_ptr(), output.type = type;
    product.fill({a.values.const_data_ptr(), b.values.const_data_ptr(), type, ring}, output);
  });
  return {std::move(entries.crow), std::move(entries.col), std::move(values)};
}

std::tuple<Tensor, Tensor> pattern_cpu(const Tensor& a_crow, const Tensor& a_col, const Tensor& b_crow,
                                       const Tensor& b_col, int64_t columns, std::optional<Tensor> exclude_crow,
                                       std::optional<Tensor> exclude_col) {
  const auto [a, b] = FactorPatterns(a_crow, a_col, b_crow, b_col, columns);
  Entries entries = product_of(a, b, exclude_crow, exclude_col,
                               [&](Product& product, ProductOutput output) { product.fill({}, output); });
  return {std::move(entries.crow), std::move(entries.col)};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(warphash, m) {
  m.def(
      "spgemm_matmul(Tensor a_crow, Tensor a_col, Tensor a_values, Tensor b_crow, Tensor b_col, Tensor b_values, "
      "SymInt columns, int semiring, Tensor? exclude_crow, Tensor? exclude_col) -> (Tensor crow, Tensor col, Tensor "
      "values)");
  m.def(
      "spgemm_pattern(Tensor a_crow, Tensor a_col, Tensor b_crow, Tensor b_col, SymInt columns, Tensor? exclude_crow, "
      "Tensor? exclude_col) -> (Tensor crow, Tensor col)");
}

STABLE_TORCH_LIBRARY_IMPL(warphash, CPU, m) {
  m.impl("spgemm_matmul", TORCH_BOX(&matmul_cpu));
  m.impl("spgemm_pattern", TORCH_BOX(&pattern_cpu));
}

}  // namespace warphash::spgemm
