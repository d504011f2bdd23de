// SPDX-License-Identifier: Apache-2.0
// Components by a forest whose roots are the smallest members. Bound: the memory's answer to two random places a pair.
//
// The larger root is hung below the smaller one and paths are halved on the way, which costs O(log n) a pair at worst and
// nearly nothing as a rule; members never point upwards, so one pass in ascending order gives all labels.
#include <stdexcept>
#include <string>

#include "lsh/pairs/pairs.h"

namespace warphash::lsh {

void connected_components(const int64_t* pairs, int64_t count, int64_t items, int64_t* labels) {
  for (int64_t item = 0; item < items; ++item) labels[item] = item;
  const auto root = [labels](int64_t item) {
    while (labels[item] != item) item = labels[item] = labels[labels[item]];
    return item;
  };
  for (int64_t pair = 0; pair < count; ++pair) {
    for (int64_t end = 0; end < 2; ++end) {
      const int64_t item = pairs[2 * pair + end];
      if (item < 0 || item >= items)
        throw std::out_of_range("pairs must have members in [0, " + std::to_string(items) + "), got " +
                                std::to_string(item));
    }
    const int64_t a = root(pairs[2 * pair]), b = root(pairs[2 * pair + 1]);
    if (a < b)
      labels[b] = a;
    else
      labels[a] = b;
  }
  for (int64_t item = 0; item < items; ++item) labels[item] = labels[labels[item]];
}

}  // namespace warphash::lsh
