// SPDX-License-Identifier: Apache-2.0
// Schema of the inspection of a pattern and its CPU entry.
#include <torch/csrc/stable/library.h>

#include "common/checks.h"
#include "spgemm/inspect/inspect.h"

namespace warphash::spgemm {
namespace {

Tensor inspect_cpu(const Tensor& given_crow, const Tensor& given_col, int64_t columns) {
  STD_TORCH_CHECK(given_crow.dim() == 1 && given_col.dim() == 1, "row pointers and columns must be 1-D");
  const ScalarType index = given_col.scalar_type();
  STD_TORCH_CHECK(index == ScalarType::Int || index == ScalarType::Long, "indices must be int32 or int64");
  STD_TORCH_CHECK(given_crow.scalar_type() == index, "row pointers and columns must share their dtype");
  STD_TORCH_CHECK(given_crow.size(0) >= 1, "row pointers must have an entry for each row and one more");
  const Tensor crow = torch::stable::contiguous(given_crow), col = torch::stable::contiguous(given_col);
  const auto look = [&]<class Index>(Index) {
    return inspect(chosen_isa(), crow.const_data_ptr<Index>(), col.const_data_ptr<Index>(), crow.size(0) - 1, columns,
                   col.size(0));
  };
  const Inspection found = index == ScalarType::Int ? look(int32_t{}) : look(int64_t{});
  Tensor out = empty_on_cpu({3}, ScalarType::Long);
  int64_t* to = out.mutable_data_ptr<int64_t>();
  to[0] = found.broken_pointer, to[1] = found.outside, to[2] = found.disordered;
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(warphash, m) {
  m.def("spgemm_inspect(Tensor crow, Tensor col, SymInt columns) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(warphash, CPU, m) { m.impl("spgemm_inspect", TORCH_BOX(&inspect_cpu)); }

}  // namespace warphash::spgemm
