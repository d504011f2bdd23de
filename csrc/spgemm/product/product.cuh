// SPDX-License-Identifier: Apache-2.0
// Launchers of the CUDA kernels for the product of two sparse matrices. Torch-free; all pointers are device pointers.
//
// Twice over the rows: counted, then, once the caller has made room, columns and values written, sorted. Which kernel does
// a row depends on its products (rows.cuh): a warp with a short list, a block with a longer one, a block with a bit a
// column of a slice of them, or several blocks with a slice each.
//
// Wrong data never leave the arrays: row pointers are kept within the columns, entries whose column does not exist are left
// out. Where a row of b does not ascend, products may be missing.
#pragma once

#include "spgemm/rows.cuh"

namespace warphash::spgemm {

struct ProductTask {
  Pattern a, b;
  Pattern excluded;  // entries to leave out; without row pointers: none
  int multiprocessors;
};

// Half values come widened to float32. Null: the pattern alone.
struct ProductValues {
  const void *a, *b;
  ValueType type;
  Semiring semiring;
};

// Where a product goes. values: of the type that they came in.
struct ProductOutput {
  ColumnStore columns;
  void* values;
};

// Kept from the counting to the writing, which may be done once.
size_t product_workspace(int64_t rows);

// crow [rows + 1]; its last number is how many entries the product has.
cudaError_t count_product(const ProductTask& task, void* workspace, int64_t* crow, cudaStream_t stream);
cudaError_t write_product(const ProductTask& task, const ProductValues& values, void* workspace, const int64_t* crow,
                          const ProductOutput& output, cudaStream_t stream);

}  // namespace warphash::spgemm
