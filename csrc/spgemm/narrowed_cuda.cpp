// SPDX-License-Identifier: Apache-2.0
// int64 columns as int32 on CUDA, on the current stream. Nothing is waited for, so that nothing can be refused.
#include "common/stream.h"
#include "spgemm/narrowed.cuh"
#include "spgemm/spgemm_operands.h"

namespace warphash::spgemm {

Tensor narrowed(const Tensor& columns, int64_t, const char*) {
  const OnDevice device(columns);
  const Tensor given = torch::stable::contiguous(columns);
  Tensor out = device.empty({given.size(0)}, ScalarType::Int);
  OnDevice::check(
      narrow(given.const_data_ptr<int64_t>(), given.size(0), out.mutable_data_ptr<int32_t>(), device.stream()));
  return out;
}

}  // namespace warphash::spgemm
