// SPDX-License-Identifier: Apache-2.0
// Schema of the largest entries of a product's rows and its CPU entry.
#include <torch/csrc/stable/library.h>

#include <limits>
#include <tuple>

#include "spgemm/spgemm_operands.h"
#include "spgemm/topk/topk.h"

namespace warphash::spgemm {
namespace {

Rounding rounding_of(ScalarType type) {
  switch (type) {
    case ScalarType::Half: return Rounding::float16;
    case ScalarType::BFloat16: return Rounding::bfloat16;
    case ScalarType::Float:
    case ScalarType::Double: return Rounding::none;
    default: STD_TORCH_CHECK(false, "values must be float16, bfloat16, float32 or float64");
  }
}

std::tuple<Tensor, Tensor> topk_cpu(const Tensor& a_crow, const Tensor& a_col, const Tensor& a_values,
                                    const Tensor& b_crow, const Tensor& b_col, const Tensor& b_values, int64_t columns,
                                    int64_t k) {
  STD_TORCH_CHECK(b_crow.dim() == 1 && b_crow.size(0) >= 1,
                  "b's row pointers must have an entry for each row and one more");
  const ScalarType type = a_values.scalar_type();
  STD_TORCH_CHECK(type == b_values.scalar_type(), "the values of a and b must share their dtype");
  STD_TORCH_CHECK(k >= 0, "k must not be negative, got ", k);
  const Rounding rounding = rounding_of(type);
  const auto wide = [&](const Tensor& values) {
    return rounding == Rounding::none ? values : torch::stable::to(values, ScalarType::Float);
  };
  const CsrOperand a(a_crow, a_col, wide(a_values), b_crow.size(0) - 1, "a");
  const CsrOperand b(b_crow, b_col, wide(b_values), columns, "b");
  check_operands(a, b);
  Tensor values = empty_on_cpu({a.pattern.rows, k}, type),
         indices = empty_on_cpu({a.pattern.rows, k}, ScalarType::Long);
  if (type == ScalarType::Double)
    topk(chosen_isa(), a.csr<double>(), b.csr<double>(), k, values.mutable_data_ptr(),
         indices.mutable_data_ptr<int64_t>());
  else
    topk(chosen_isa(), a.csr<float>(), b.csr<float>(), k, rounding, values.mutable_data_ptr(),
         indices.mutable_data_ptr<int64_t>());
  return {values, indices};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(warphash, m) {
  m.def(
      "spgemm_topk(Tensor a_crow, Tensor a_col, Tensor a_values, Tensor b_crow, Tensor b_col, Tensor b_values, "
      "SymInt columns, SymInt k) -> (Tensor values, Tensor indices)");
}

STABLE_TORCH_LIBRARY_IMPL(warphash, CPU, m) { m.impl("spgemm_topk", TORCH_BOX(&topk_cpu)); }

}  // namespace warphash::spgemm
