// SPDX-License-Identifier: Apache-2.0
// Tokens that two ascending lists share, by a merge. Bound: one comparison a step, each waiting for the one before; without
// branches that a processor could guess wrong.
#include "lsh/pairs/common_tokens.h"

namespace warphash::lsh {

int64_t common_tokens_scalar(const int64_t* a, int64_t a_count, const int64_t* b, int64_t b_count) {
  return merged(a, a_count, b, b_count);
}

}  // namespace warphash::lsh
