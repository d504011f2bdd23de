// SPDX-License-Identifier: Apache-2.0
// Schema of the largest entries of a product's rows and its CPU entry.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "spgemm/spgemm_typed_operands.h"
#include "spgemm/topk/topk.h"

namespace warphash::spgemm {
namespace {

std::tuple<Tensor, Tensor> topk_cpu(const Tensor& a_crow, const Tensor& a_col, const Tensor& a_values,
                                    const Tensor& b_crow, const Tensor& b_col, const Tensor& b_values, int64_t columns,
                                    int64_t k) {
  const ValueType type = checked_value_type(a_values, b_values, Semiring::plus_times);
  STD_TORCH_CHECK(is_float(type), "values must be of a float type");
  STD_TORCH_CHECK(k >= 0, "k must not be negative, got ", k);
  const auto [a, b] = Factors(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  Tensor values = empty_on_cpu({a.pattern.rows, k}, a_values.scalar_type()),
         indices = empty_on_cpu({a.pattern.rows, k}, ScalarType::Long);
  if (type == ValueType::float64)
    topk(chosen_isa(), a.csr<double>(), b.csr<double>(), k, values.mutable_data_ptr(),
         indices.mutable_data_ptr<int64_t>());
  else
    topk(chosen_isa(), a.csr<float>(), b.csr<float>(), k, rounding_of(type), values.mutable_data_ptr(),
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
