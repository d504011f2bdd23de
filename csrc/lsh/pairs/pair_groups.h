// SPDX-License-Identifier: Apache-2.0
// Items of a column by key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lsh/pairs/pairs.h"

namespace warphash::lsh {

// The buckets of one column with two members or more: members of bucket b are items[begins[b] .. begins[b + 1]), ascending.
// singles: how many have one.
struct Groups {
  std::vector<int64_t> items, begins{0};
  int64_t singles = 0;

  int64_t count() const { return static_cast<int64_t>(begins.size()) - 1; }
  int64_t size(int64_t bucket) const {
    return begins[static_cast<size_t>(bucket) + 1] - begins[static_cast<size_t>(bucket)];
  }
};
// The buckets of all columns, by as many threads as there are. Throws std::bad_alloc.
std::vector<Groups> all_groups(const Keys& keys);

}  // namespace warphash::lsh
