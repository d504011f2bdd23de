// SPDX-License-Identifier: Apache-2.0
// Tensors of what was written to reserved memory, whose size is known only then. They are torch's like all others, and may
// be resized: torch_from_blob would make such as may not, so that `c += d` failed where c is large.
#pragma once

#include <cstdint>
#include <utility>

#include "common/checks.h"

namespace warphash {

// The first `entries` numbers of `bytes` each.
inline Tensor tensor_of(Reservation memory, int64_t entries, size_t bytes, ScalarType type) {
  Tensor out = empty_on_cpu({entries}, type);
  if (entries > 0) memory.move_to(out.mutable_data_ptr(), static_cast<size_t>(entries) * bytes);
  return out;
}

}  // namespace warphash
