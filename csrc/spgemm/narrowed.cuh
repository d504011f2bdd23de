// SPDX-License-Identifier: Apache-2.0
// Launcher of the CUDA kernel that makes columns int32. Torch-free; all pointers are device pointers.
#pragma once

#include <cstdint>

#include "common/portable.h"

namespace warphash::spgemm {

// to [entries]: what of `from` is in [0, 2^31) as it is, others as -1, which is no column.
cudaError_t narrow(const int64_t* from, int64_t entries, int32_t* to, cudaStream_t stream);

}  // namespace warphash::spgemm
