// SPDX-License-Identifier: Apache-2.0
// What the CUDA entries of sparse products share: results whose row pointers kernels have written as int64.
#pragma once

#include <stdexcept>
#include <string>

#include "spgemm/spgemm_typed_operands.h"

namespace warphash::spgemm {

inline void check_index_holds(ScalarType index, int64_t entries) {
  if (index == ScalarType::Int && entries > std::numeric_limits<int32_t>::max())
    throw std::length_error("the product has " + std::to_string(entries) +
                            " entries, more than int32 row pointers can hold: pass int64 indices");
}

inline Tensor as_index(const Tensor& crow, ScalarType index) {
  return index == ScalarType::Long ? crow : torch::stable::to(crow, index);
}

}  // namespace warphash::spgemm
