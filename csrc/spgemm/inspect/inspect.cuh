// SPDX-License-Identifier: Apache-2.0
// Launcher of the CUDA kernels that look a pattern over. Torch-free; all pointers are device pointers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/portable.h"

namespace warphash::spgemm {

size_t inspect_workspace();

// found [3]: what inspect.h calls an Inspection. Index: int32_t or int64_t.
template <class Index>
cudaError_t inspect(const Index* crow, const Index* col, int64_t rows, int64_t columns, int64_t entries,
                    void* workspace, int64_t* found, cudaStream_t stream);

}  // namespace warphash::spgemm
