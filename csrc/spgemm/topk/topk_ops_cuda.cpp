// SPDX-License-Identifier: Apache-2.0
// CUDA entry of the largest entries of a product's rows. All work goes to the current stream; nothing is waited for.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "common/stream.h"
#include "spgemm/spgemm_typed_operands.h"
#include "spgemm/topk/topk.cuh"

namespace warphash::spgemm {
namespace {

std::tuple<Tensor, Tensor> topk_cuda(const Tensor& a_crow, const Tensor& a_col, const Tensor& a_values,
                                     const Tensor& b_crow, const Tensor& b_col, const Tensor& b_values, int64_t columns,
                                     int64_t k) {
  const ValueType type = checked_value_type(a_values, b_values, Semiring::plus_times);
  STD_TORCH_CHECK(is_float(type), "values must be of a float type");
  STD_TORCH_CHECK(k >= 0, "k must not be negative, got ", k);
  const OnDevice device(a_crow);
  const auto [a, b] = Factors(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  Tensor values = device.empty({a.pattern.rows, k}, a.values.scalar_type());
  Tensor indices = device.empty({a.pattern.rows, k}, ScalarType::Long);
  const auto search = [&]<class Value>() {
    Tensor workspace = device.workspace(topk_workspace<Value>(a.pattern.rows, columns, k));
    OnDevice::check(topk(a.csr<Value>(), b.csr<Value>(), k, rounding_of(type), workspace.mutable_data_ptr(),
                         static_cast<Value*>(values.mutable_data_ptr()), indices.mutable_data_ptr<int64_t>(),
                         device.stream()));
  };
  if (type == ValueType::float64)
    search.template operator()<double>();
  else
    search.template operator()<float>();
  // Rounded already: the halves are exact.
  if (is_half(type)) values = torch::stable::to(values, a_values.scalar_type());
  return {values, indices};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(warphash, CUDA, m) { m.impl("spgemm_topk", TORCH_BOX(&topk_cuda)); }

}  // namespace warphash::spgemm
