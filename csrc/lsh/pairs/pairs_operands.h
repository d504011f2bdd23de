// SPDX-License-Identifier: Apache-2.0
// Tensors of a call to pointers and sizes, for the CPU and the CUDA entries alike.
#pragma once

#include <cstdint>

#include "common/checks.h"
#include "lsh/pairs/pairs.h"

namespace warphash::lsh {

inline Tensor long_tensor(const Tensor& x, int64_t dims, const char* name) {
  STD_TORCH_CHECK(x.dim() == dims && x.scalar_type() == ScalarType::Long, name, " must be int64 with ", dims,
                  " dimensions");
  return torch::stable::contiguous(x);
}

inline Tensor checked_pairs(const Tensor& given) {
  Tensor pairs = long_tensor(given, 2, "pairs");
  STD_TORCH_CHECK(pairs.size(1) == 2, "pairs must be [P, 2]");
  return pairs;
}

inline PairMode pair_mode(int64_t mode) {
  STD_TORCH_CHECK(mode == 0 || mode == 1, "mode must be 0 (all) or 1 (chain), got ", mode);
  return static_cast<PairMode>(mode);
}

struct KeyOperands {
  Tensor held;
  Keys keys;
  explicit KeyOperands(const Tensor& given)
      : held(long_tensor(given, 2, "keys")), keys{held.const_data_ptr<int64_t>(), held.size(0), held.size(1)} {}
};

struct SortedSetOperands {
  Tensor tokens, offsets;
  SortedSets sets;
  SortedSetOperands(const Tensor& given_tokens, const Tensor& given_offsets)
      : tokens(long_tensor(given_tokens, 1, "tokens")), offsets(long_tensor(given_offsets, 1, "offsets")) {
    STD_TORCH_CHECK(offsets.size(0) >= 1, "offsets must have an entry for each set and one more");
    check_same_device(tokens, "tokens", offsets, "offsets");
    sets = {tokens.const_data_ptr<int64_t>(), tokens.size(0), offsets.const_data_ptr<int64_t>(), offsets.size(0) - 1};
  }
};

}  // namespace warphash::lsh
