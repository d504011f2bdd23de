// SPDX-License-Identifier: Apache-2.0
// CUDA entries of the product of two sparse matrices: stable tensors to pointers, workspace, outputs. All work goes to the
// current stream; it is waited for once, since the number of entries is the size of the result.
#include <torch/csrc/stable/library.h>

#include <optional>
#include <tuple>

#include "common/stream.h"
#include "spgemm/product/product.cuh"
#include "spgemm/product/product_operands.h"
#include "spgemm/spgemm_typed_operands.h"

namespace warphash::spgemm {
namespace {

using Excluded = std::optional<Tensor>;

// values: null for the pattern alone.
std::tuple<Tensor, Tensor, Tensor> product_of(const PatternOperand& a, const PatternOperand& b,
                                              const Excluded& exclude_crow, const Excluded& exclude_col,
                                              const ProductValues* values, ScalarType dtype) {
  const OnDevice device(a.crow);
  const std::optional<PatternOperand> excluded = excluded_operand(a, b, exclude_crow, exclude_col);
  const ProductTask task{a.pattern, b.pattern, excluded ? excluded->pattern : Pattern{}, device.multiprocessors()};
  const int64_t rows = a.pattern.rows;
  Tensor workspace = device.workspace(product_workspace(rows));
  Tensor crow = device.empty({rows + 1}, ScalarType::Long);
  int64_t* const pointers = crow.mutable_data_ptr<int64_t>();
  OnDevice::check(count_product(task, workspace.mutable_data_ptr(), pointers, device.stream()));
  const int64_t entries = device.read(pointers + rows);
  check_entries(entries, a.index);
  Tensor col = device.empty({entries}, a.index);
  Tensor out = device.empty({values == nullptr ? 0 : entries}, dtype);
  if (entries > 0) {
    const ProductOutput output{{col.mutable_data_ptr(), a.index == ScalarType::Long}, out.mutable_data_ptr()};
    OnDevice::check(write_product(task, values == nullptr ? ProductValues{} : *values, workspace.mutable_data_ptr(),
                                  pointers, output, device.stream()));
  }
  return {as_type(crow, a.index), col, out};
}

std::tuple<Tensor, Tensor, Tensor> matmul_cuda(const Tensor& a_crow, const Tensor& a_col, const Tensor& a_values,
                                               const Tensor& b_crow, const Tensor& b_col, const Tensor& b_values,
                                               int64_t columns, int64_t semiring, Excluded exclude_crow,
                                               Excluded exclude_col) {
  const Semiring ring = semiring_of(semiring);
  const ValueType type = checked_value_type(a_values, b_values, ring);
  const auto [a, b] = Factors(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  const ProductValues values{a.values.const_data_ptr(), b.values.const_data_ptr(), type, ring};
  return product_of(a, b, exclude_crow, exclude_col, &values, a_values.scalar_type());
}

std::tuple<Tensor, Tensor> pattern_cuda(const Tensor& a_crow, const Tensor& a_col, const Tensor& b_crow,
                                        const Tensor& b_col, int64_t columns, Excluded exclude_crow,
                                        Excluded exclude_col) {
  const auto [a, b] = FactorPatterns(a_crow, a_col, b_crow, b_col, columns);
  const auto [crow, col, none] = product_of(a, b, exclude_crow, exclude_col, nullptr, ScalarType::Byte);
  return {crow, col};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(warphash, CUDA, m) {
  m.impl("spgemm_matmul", TORCH_BOX(&matmul_cuda));
  m.impl("spgemm_pattern", TORCH_BOX(&pattern_cuda));
}

}  // namespace warphash::spgemm
