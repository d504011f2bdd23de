// SPDX-License-Identifier: Apache-2.0
// Rows of B as bits, where that is shorter: entries of 16 columns are one word, so what a row adds to the pattern of the
// product is an or for each word instead of a store for each entry, and a vector takes the products of a word at once.
#pragma once

#include <cstdint>
#include <vector>

#include "spgemm/spgemm.h"

namespace warphash::spgemm {

struct Word {
  uint32_t column;  // the first of 16, a multiple of 16
  uint32_t mask;
};

// Row r has words [begin[r], begin[r + 1]), none where its entries are too far apart. Empty where no row has any.
struct RowWords {
  std::vector<int64_t> begin;
  std::vector<Word> words;

  bool empty() const { return words.empty(); }
  int64_t bytes() const;
  // Of all rows whose words are at most half of their entries.
  static RowWords of(const Pattern& pattern);
};

}  // namespace warphash::spgemm
