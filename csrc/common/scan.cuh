// SPDX-License-Identifier: Apache-2.0
// Running sums of counts on the device: how a kernel that counts is followed by one that writes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/portable.h"

namespace warphash {

size_t running_sums_workspace(int64_t count);
// values[i] becomes values[0] + … + values[i]; count may be 0.
cudaError_t running_sums(int64_t* values, int64_t count, void* workspace, cudaStream_t stream);

}  // namespace warphash
