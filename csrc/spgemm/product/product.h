// SPDX-License-Identifier: Apache-2.0
// The product of two CSR matrices, row by row. Either in two passes: entries of each row are counted, then written where they
// belong, in memory of exactly their size. Or at once, into memory for as many as there may be, of which the system has to
// provide only what is written. Torch-free.
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
  bool have_most;
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
  // ascend or sizes do not fit, std::out_of_range where a column is not in its matrix. crow is [rows + 1].
  Product(Isa isa, const ProductOperands& operands, int64_t* crow);

  // Makes crow the row pointers of the product. Then `fill` writes all entries.
  void count();
  int64_t entries() const { return crow_[operands_.a.rows]; }
  void fill(const ProductValues& values, const ProductOutput& output);

  // How many entries there can be at most.
  int64_t most_entries() const { return most_; }
  // Whether it may be made at once: what workers hold until its place is known is little beside the product.
  bool holds_little() const;
  // Both passes in one. The output has room for most_entries() and `beyond` more, which are written to as well.
  static constexpr int64_t beyond = 64;
  void make(const ProductValues& values, const ProductOutput& output);

 private:
  void cut_blocks(int64_t share);
  int64_t work() const;
  int64_t work_of(int64_t row) const;
  int64_t estimated_entries();
  void sum_counts();

  Isa isa_;
  ProductOperands operands_;
  int64_t* crow_;
  RowWords words_;
  int64_t most_ = 0, most_of_a_row_ = 0;
  std::vector<int64_t> cuts_;  // block i is rows [cuts[i], cuts[i + 1]); blocks have about as many products each
};

}  // namespace warphash::spgemm
