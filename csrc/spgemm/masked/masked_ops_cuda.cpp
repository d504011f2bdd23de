// SPDX-License-Identifier: Apache-2.0
// CUDA entries of masked products: the pattern first, then the values on it. All work goes to the current stream; it is
// waited for once, since the number of entries is the size of the result.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "common/stream.h"
#include "spgemm/masked/masked.cuh"
#include "spgemm/spgemm_typed_operands.h"

namespace warphash::spgemm {
namespace {

// crow int64, col int32, as kernels take them.
struct Found {
  Tensor crow, col;
  Pattern pattern;
};

Found pattern_of(const OnDevice& device, const PatternOperand& a, const PatternOperand& b, const PatternOperand& mask) {
  check_pattern_fits(a, mask, "the mask");
  const int64_t rows = a.pattern.rows;
  Tensor workspace = device.workspace(masked_workspace(a.pattern, mask.pattern));
  Tensor crow = device.empty({rows + 1}, ScalarType::Long);
  int64_t* const pointers = crow.mutable_data_ptr<int64_t>();
  OnDevice::check(
      count_masked(a.pattern, b.pattern, mask.pattern, workspace.mutable_data_ptr(), pointers, device.stream()));
  const int64_t entries = device.read(pointers + rows);
  Tensor col = device.empty({entries}, ScalarType::Int);
  int32_t* const columns = col.mutable_data_ptr<int32_t>();
  if (entries > 0)
    OnDevice::check(
        write_masked(a.pattern, mask.pattern, workspace.mutable_data_ptr(), pointers, columns, device.stream()));
  return {crow, col, {pointers, columns, rows, b.pattern.columns, entries}};
}

std::tuple<Tensor, Tensor, Tensor> masked_cuda(const Tensor& a_crow, const Tensor& a_col, const Tensor& a_values,
                                               const Tensor& b_crow, const Tensor& b_col, const Tensor& b_values,
                                               int64_t columns, int64_t semiring, const Tensor& mask_crow,
                                               const Tensor& mask_col) {
  const Semiring ring = semiring_of(semiring);
  const ValueType type = checked_value_type(a_values, b_values, ring);
  const OnDevice device(a_crow);
  const auto [a, b] = Factors(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  const PatternOperand mask(mask_crow, mask_col, columns, "the mask");
  const Found found = pattern_of(device, a, b, mask);
  Tensor values = device.empty({found.pattern.entries}, a_values.scalar_type());
  Tensor workspace = device.workspace(masked_values_workspace(a.pattern, found.pattern));
  OnDevice::check(masked_values(a.pattern, b.pattern, found.pattern, a.values.const_data_ptr(),
                                b.values.const_data_ptr(), type, ring, workspace.mutable_data_ptr(),
                                values.mutable_data_ptr(), device.stream()));
  return {as_type(found.crow, a.index), as_type(found.col, a.index), values};
}

std::tuple<Tensor, Tensor> masked_pattern_cuda(const Tensor& a_crow, const Tensor& a_col, const Tensor& b_crow,
                                               const Tensor& b_col, int64_t columns, const Tensor& mask_crow,
                                               const Tensor& mask_col) {
  const OnDevice device(a_crow);
  const auto [a, b] = FactorPatterns(a_crow, a_col, b_crow, b_col, columns);
  const PatternOperand mask(mask_crow, mask_col, columns, "the mask");
  const Found found = pattern_of(device, a, b, mask);
  return {as_type(found.crow, a.index), as_type(found.col, a.index)};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(warphash, CUDA, m) {
  m.impl("spgemm_masked", TORCH_BOX(&masked_cuda));
  m.impl("spgemm_masked_pattern", TORCH_BOX(&masked_pattern_cuda));
}

}  // namespace warphash::spgemm
