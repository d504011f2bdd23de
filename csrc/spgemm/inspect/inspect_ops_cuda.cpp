// SPDX-License-Identifier: Apache-2.0
// CUDA entry of the inspection of a pattern. Nothing is waited for: what was found stays on the device.
#include <torch/csrc/stable/library.h>

#include "common/stream.h"
#include "spgemm/inspect/inspect.cuh"

namespace warphash::spgemm {
namespace {

Tensor inspect_cuda(const Tensor& given_crow, const Tensor& given_col, int64_t columns) {
  STD_TORCH_CHECK(given_crow.dim() == 1 && given_col.dim() == 1, "row pointers and columns must be 1-D");
  const ScalarType index = given_col.scalar_type();
  STD_TORCH_CHECK(index == ScalarType::Int || index == ScalarType::Long, "indices must be int32 or int64");
  STD_TORCH_CHECK(given_crow.scalar_type() == index, "row pointers and columns must share their dtype");
  STD_TORCH_CHECK(given_crow.size(0) >= 1, "row pointers must have an entry for each row and one more");
  check_same_device(given_crow, "row pointers", given_col, "columns");
  const OnDevice device(given_crow);
  const Tensor crow = torch::stable::contiguous(given_crow), col = torch::stable::contiguous(given_col);
  Tensor workspace = device.workspace(inspect_workspace());
  Tensor found = device.empty({3}, ScalarType::Long);
  const auto look = [&]<class Index>(Index) {
    OnDevice::check(inspect(crow.const_data_ptr<Index>(), col.const_data_ptr<Index>(), crow.size(0) - 1, columns,
                            col.size(0), workspace.mutable_data_ptr(), found.mutable_data_ptr<int64_t>(),
                            device.stream()));
  };
  if (index == ScalarType::Int)
    look(int32_t{});
  else
    look(int64_t{});
  return found;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(warphash, CUDA, m) { m.impl("spgemm_inspect", TORCH_BOX(&inspect_cuda)); }

}  // namespace warphash::spgemm
