// SPDX-License-Identifier: Apache-2.0
// Schemas of masked products and their CPU entries.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "spgemm/masked/masked.h"
#include "spgemm/spgemm_typed_operands.h"

namespace warphash::spgemm {
namespace {

struct Result {
  Tensor crow, col;
};

Result written(const Masked& product, ScalarType index, int64_t rows, void* values) {
  Result out = {empty_on_cpu({rows + 1}, index), empty_on_cpu({product.entries()}, index)};
  if (index == ScalarType::Int)
    product.write(out.crow.mutable_data_ptr<int32_t>(), out.col.mutable_data_ptr<int32_t>(), values);
  else
    product.write(out.crow.mutable_data_ptr<int64_t>(), out.col.mutable_data_ptr<int64_t>(), values);
  return out;
}

std::tuple<Tensor, Tensor, Tensor> masked_cpu(const Tensor& a_crow, const Tensor& a_col, const Tensor& a_values,
                                              const Tensor& b_crow, const Tensor& b_col, const Tensor& b_values,
                                              int64_t columns, int64_t semiring, const Tensor& mask_crow,
                                              const Tensor& mask_col) {
  const Semiring ring = semiring_of(semiring);
  const ValueType type = checked_value_type(a_values, b_values, ring);
  const auto [a, b] = Factors(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  const PatternOperand mask(mask_crow, mask_col, columns, "the mask");
  check_pattern_fits(a, mask, "the mask");
  // Operands without entries may have no memory; a null pointer means a pattern.
  static constexpr int64_t nothing = 0;
  const auto values_of = [](const CsrOperand& x) {
    return x.pattern.entries > 0 ? x.values.const_data_ptr() : &nothing;
  };
  const Masked product(chosen_isa(), {a.pattern, b.pattern, mask.pattern, values_of(a), values_of(b), type, ring});
  Tensor values = empty_on_cpu({product.entries()}, a_values.scalar_type());
  const Result out = written(product, a.index, mask.pattern.rows, values.mutable_data_ptr());
  return {out.crow, out.col, values};
}

std::tuple<Tensor, Tensor> masked_pattern_cpu(const Tensor& a_crow, const Tensor& a_col, const Tensor& b_crow,
                                              const Tensor& b_col, int64_t columns, const Tensor& mask_crow,
                                              const Tensor& mask_col) {
  const auto [a, b] = FactorPatterns(a_crow, a_col, b_crow, b_col, columns);
  const PatternOperand mask(mask_crow, mask_col, columns, "the mask");
  check_pattern_fits(a, mask, "the mask");
  const Masked product(chosen_isa(),
                       {a.pattern, b.pattern, mask.pattern, nullptr, nullptr, ValueType::boolean, Semiring::or_and});
  const Result out = written(product, a.index, mask.pattern.rows, nullptr);
  return {out.crow, out.col};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(warphash, m) {
  m.def(
      "spgemm_masked(Tensor a_crow, Tensor a_col, Tensor a_values, Tensor b_crow, Tensor b_col, Tensor b_values, "
      "SymInt columns, int semiring, Tensor mask_crow, Tensor mask_col) -> (Tensor crow, Tensor col, Tensor values)");
  m.def(
      "spgemm_masked_pattern(Tensor a_crow, Tensor a_col, Tensor b_crow, Tensor b_col, SymInt columns, "
      "Tensor mask_crow, Tensor mask_col) -> (Tensor crow, Tensor col)");
}

STABLE_TORCH_LIBRARY_IMPL(warphash, CPU, m) {
  m.impl("spgemm_masked", TORCH_BOX(&masked_cpu));
  m.impl("spgemm_masked_pattern", TORCH_BOX(&masked_pattern_cpu));
}

}  // namespace warphash::spgemm
