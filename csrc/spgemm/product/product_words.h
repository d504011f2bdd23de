// SPDX-License-Identifier: Apache-2.0
// Rows of B as bits, where that is shorter: entries of 16 columns are one word, so what a row adds to the pattern of the
// product is an or for each word instead of a store for each entry, and a vector takes the products of a word at once.
// Neighbouring rows often have words of the same columns (unknowns of one node, points of a grid line): a row of A that asks
// for several such rows adds them up in registers.
#pragma once

#include <cstdint>

#include "spgemm/product/product_scratch.h"
#include "spgemm/spgemm.h"

namespace warphash::spgemm {

struct Word {
  uint32_t column;  // the first of 16, a multiple of 16
  uint32_t mask;
};

// Row r has words [begin[r], begin[r + 1]), none where its entries are too far apart.
class RowWords {
 public:
  // Makes words of all rows that have at least two entries a word.
  void make(const Pattern& pattern);
  void drop();
  int64_t bytes() const { return count_ * static_cast<int64_t>(sizeof(Word)); }
  bool empty() const { return count_ == 0; }
  const int64_t* begin() const { return reinterpret_cast<const int64_t*>(begin_.data()); }
  const Word* words() const { return reinterpret_cast<const Word*>(words_.data()); }
  // alike[r]: row r has words, of the same columns as those of row r - 1.
  const uint8_t* alike() const { return alike_.data(); }

  // Whether 7 of 8 entries stand in words.
  bool have_most() const { return most_; }

 private:
  ZeroedMemory begin_, words_, alike_;
  int64_t count_ = 0;
  bool most_ = false;
};

}  // namespace warphash::spgemm
