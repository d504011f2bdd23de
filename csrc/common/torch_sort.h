// SPDX-License-Identifier: Apache-2.0
// torch's own stable sort, through the dispatcher: the stable ABI has no function for it.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/library.h>

#include <array>
#include <optional>
#include <tuple>

#include "common/checks.h"

namespace warphash {

// Sorted keys, and each one's place before, along the last dimension, which torch wants below 2^31 long.
inline std::tuple<Tensor, Tensor> sort_stable(const Tensor& keys) {
  std::array<StableIValue, 4> stack{torch::stable::detail::from(keys),
                                    torch::stable::detail::from(std::optional<bool>(true)),
                                    torch::stable::detail::from(int64_t{-1}), torch::stable::detail::from(false)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::sort", "stable", stack.data(), TORCH_ABI_VERSION));
  return {torch::stable::detail::to<Tensor>(stack[0]), torch::stable::detail::to<Tensor>(stack[1])};
}

}  // namespace warphash
