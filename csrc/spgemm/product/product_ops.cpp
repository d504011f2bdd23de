// SPDX-License-Identifier: Apache-2.0
// Schemas of the product and its CPU entries.
#include <torch/csrc/stable/library.h>

#include <tuple>
#include <utility>

#include "spgemm/product/product.h"
#include "spgemm/product/product_operands.h"

namespace warphash::spgemm {
namespace {

struct ValueType {
  ValueKind kind;
  Narrowing narrowing;
};
ValueType value_type(ScalarType type) {
  switch (type) {
    case ScalarType::Half: return {ValueKind::float32, Narrowing::float16};
    case ScalarType::BFloat16: return {ValueKind::float32, Narrowing::bfloat16};
    case ScalarType::Float: return {ValueKind::float32, Narrowing::none};
    case ScalarType::Double: return {ValueKind::float64, Narrowing::none};
    case ScalarType::Int: return {ValueKind::int32, Narrowing::none};
    case ScalarType::Long: return {ValueKind::int64, Narrowing::none};
    case ScalarType::Bool: return {ValueKind::boolean, Narrowing::none};
    default:
      STD_TORCH_CHECK(false, "values must be float16, bfloat16, float32, float64, int32, int64 or bool, got ", type);
  }
}

struct Entries {
  Tensor crow, col;
};

// Counts, then hands the output to `fill`, which writes it.
template <class Fill>
Entries product_of(const PatternOperand& a, const PatternOperand& b, const std::optional<Tensor>& exclude_crow,
                   const std::optional<Tensor>& exclude_col, const Fill& fill) {
  check_operands(a, b);
  const std::optional<PatternOperand> exclude = excluded_operand(a, b, exclude_crow, exclude_col);
  Tensor crow = empty_on_cpu({a.pattern.rows + 1}, ScalarType::Long);
  const ProductOperands operands = {a.pattern, b.pattern, exclude ? exclude->pattern : Pattern{}, {}};
  Product product(chosen_isa(), operands, crow.mutable_data_ptr<int64_t>());
  check_entries(product.entries(), a.index);
  Tensor col = empty_on_cpu({product.entries()}, a.index);
  fill(product, ProductOutput{col.mutable_data_ptr(), a.index == ScalarType::Long, nullptr, Narrowing::none});
  if (a.index == ScalarType::Int) crow = torch::stable::to(crow, ScalarType::Int);
  return {crow, col};
}

std::tuple<Tensor, Tensor, Tensor> matmul_cpu(const Tensor& a_crow, const Tensor& a_col, const Tensor& a_values,
                                              const Tensor& b_crow, const Tensor& b_col, const Tensor& b_values,
                                              int64_t columns, int64_t semiring_number,
                                              std::optional<Tensor> exclude_crow, std::optional<Tensor> exclude_col) {
  Semiring semiring = semiring_of(semiring_number);
  const ScalarType type = a_values.scalar_type();
  const ValueType value = value_type(type);
  STD_TORCH_CHECK(b_values.scalar_type() == type, "a and b must share their dtype");
  const bool boolean = value.kind == ValueKind::boolean;
  STD_TORCH_CHECK(boolean || semiring != Semiring::or_and, "or_and takes bool values");
  STD_TORCH_CHECK(!boolean || semiring == Semiring::or_and || semiring == Semiring::plus_times,
                  "bool values take or_and and plus_times, which is the same for them");
  if (boolean) semiring = Semiring::or_and;
  const auto widened = [&](const Tensor& values) {
    return value.narrowing == Narrowing::none ? values : torch::stable::to(values, ScalarType::Float);
  };
  const CsrOperand a(a_crow, a_col, widened(a_values), b_crow.dim() == 1 ? b_crow.size(0) - 1 : 0, "a");
  const CsrOperand b(b_crow, b_col, widened(b_values), columns, "b");
  Tensor values = empty_on_cpu({0}, type);
  Entries entries = product_of(a, b, exclude_crow, exclude_col, [&](Product& product, ProductOutput output) {
    values = empty_on_cpu({product.entries()}, type);
    output.values = values.mutable_data_ptr(), output.narrowing = value.narrowing;
    product.fill({value.kind, semiring, a.values.const_data_ptr(), b.values.const_data_ptr()}, output);
  });
  return {std::move(entries.crow), std::move(entries.col), std::move(values)};
}

std::tuple<Tensor, Tensor> pattern_cpu(const Tensor& a_crow, const Tensor& a_col, const Tensor& b_crow,
                                       const Tensor& b_col, int64_t columns, std::optional<Tensor> exclude_crow,
                                       std::optional<Tensor> exclude_col) {
  const PatternOperand a(a_crow, a_col, b_crow.dim() == 1 ? b_crow.size(0) - 1 : 0, "a");
  const PatternOperand b(b_crow, b_col, columns, "b");
  Entries entries = product_of(a, b, exclude_crow, exclude_col, [&](Product& product, ProductOutput output) {
    product.fill({ValueKind::none, Semiring::plus_times, nullptr, nullptr}, output);
  });
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
