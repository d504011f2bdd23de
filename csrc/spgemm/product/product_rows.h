// SPDX-License-Identifier: Apache-2.0
// Kernels of the product by instruction set: they count or write rows [first, last).
#pragma once

#include <cstdint>

#include "spgemm/product/product.h"
#include "spgemm/product/product_scratch.h"
#include "spgemm/product/product_words.h"

namespace warphash::spgemm {

// counts [rows]: entries of each row of the product.
using CountRows = void (*)(const ProductOperands&, Scratch&, int64_t first, int64_t last, int64_t* counts);

struct FillTask {
  const ProductOperands& operands;
  const ProductValues& values;
  Scratch& scratch;
  int64_t first, last;
  const int64_t* crow;  // [rows + 1]: where each row begins in the output; null where that is not known yet
  const ProductOutput& output;
  // Without crow: rows follow each other from `begin` on; nothing is written from `end` on.
  int64_t begin, end;
  int64_t* counts;  // [rows]: entries of each row
};
using FillRows = void (*)(const FillTask&);

void count_rows_scalar(const ProductOperands&, Scratch&, int64_t first, int64_t last, int64_t* counts);
void fill_rows_scalar(const FillTask&);
void count_rows_avx2(const ProductOperands&, Scratch&, int64_t first, int64_t last, int64_t* counts);
void fill_rows_avx2(const FillTask&);
void count_rows_avx512(const ProductOperands&, Scratch&, int64_t first, int64_t last, int64_t* counts);
void fill_rows_avx512(const FillTask&);

}  // namespace warphash::spgemm
