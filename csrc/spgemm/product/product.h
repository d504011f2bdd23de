// SPDX-License-Identifier: Apache-2.0
// The product of two CSR matrices, row by row, in two passes: entries of each row are counted, then written where they
// belong, in memory of exactly their size. Torch-free.
#pragma once

#include <cstdint>
#include <vector>

#include "common/isa.h"
#include "spgemm/product/product_words.h"
#include "spgemm/spgemm.h"
#include "spgemm/spgemm_values.h"

namespace warphash::spgemm {

struct WordsOfRows {
  const int64_t* begin;  // as in RowWords; null where no row has words
  const Word* words;
  const uint8_t* alike;
};
struct ProductOperands {
  Pattern a, b;
  Pattern exclude;    // entries that the product must not have; crow is null where there is no such pattern
  WordsOfRows words;  // of b; the product's own
};
struct ProductValues {
  const void *a, *b;  // [entries of a], [entries of b], of sum_type(type); null: the pattern alone
  ValueType type;
  Semiring semiring;
};
struct ProductOutput {
  void* col;  // int64 where wide, else int32
  bool wide;
  void* values;
  ValueType type;  // of values
};

class Product {
 public:
  // Checks the operands: std::invalid_argument where row pointers are broken, columns of b or of what is excluded do not
  // ascend or sizes do not fit, std::out_of_range where a column is not in its matrix. Then counts; crow is [rows + 1] row
  // pointers of the product.
  Product(Isa isa, const ProductOperands& operands, int64_t* crow);

  int64_t entries() const { return crow_[operands_.a.rows]; }

  // Writes all entries.
  void fill(const ProductValues& values, const ProductOutput& output);

 private:
  void cut_blocks();

  Isa isa_;
  ProductOperands operands_;
  int64_t* crow_;
  RowWords words_;
  std::vector<int64_t> cuts_;  // block i is rows [cuts[i], cuts[i + 1]); blocks have about as many products each
};

}  // namespace warphash::spgemm
