// SPDX-License-Identifier: Apache-2.0
// Names the launchers of sparse products for Python: structs taken apart; workspaces and results of exactly the size asked
// for, so that mode asan sees what goes past them. Results are copied out where there is room for them.
#include "emulated_memory.h"
#include "spgemm/product/product.cuh"

namespace warphash::spgemm {
namespace {

// compute_major: of the card, 9 with bulk copies and clusters of up to largest_cluster blocks, 8 without. crow [rows + 1]; col and values have room for `room` entries. values: null for the pattern alone.
cudaError_t emulated_product(int compute_major, int largest_cluster, const int64_t* a_crow, const int32_t* a_col,
                             int64_t rows, int64_t inner, int64_t a_entries, const int64_t* b_crow,
                             const int32_t* b_col, int64_t columns, int64_t b_entries, const int64_t* exclude_crow,
                             const int32_t* exclude_col, int64_t exclude_entries, const void* a_values,
                             const void* b_values, int type, int semiring, int64_t room, bool wide, int64_t* crow,
                             void* col, void* values, cudaStream_t stream) {
  const ProductTask task{{a_crow, a_col, rows, inner, a_entries},
                         {b_crow, b_col, inner, columns, b_entries},
                         {exclude_crow, exclude_col, rows, columns, exclude_entries},
                         4};
  cuda_emulation::engine.compute_major = compute_major;
  cuda_emulation::engine.largest_cluster = unsigned(largest_cluster);
  const Memory workspace(product_workspace(rows));
  cudaError_t error = count_product(task, workspace, crow, stream);
  const int64_t entries = crow[rows];
  if (error != cudaSuccess || entries == 0) return error;
  if (entries > room) return cudaErrorMemoryAllocation;
  const size_t col_bytes = static_cast<size_t>(entries) * (wide ? 8 : 4);
  const size_t bytes = a_values == nullptr ? 0 : static_cast<size_t>(entries * bytes_of(ValueType(type)));
  const Memory own_col(col_bytes), own_values(bytes);
  error = write_product(task, {a_values, b_values, ValueType(type), Semiring(semiring)}, workspace, crow,
                        {{own_col, wide}, own_values}, stream);
  own_col.copy_to(col, col_bytes), own_values.copy_to(values, bytes);
  return error;
}

}  // namespace
}  // namespace warphash::spgemm

EMULATED_LAUNCHER(product, warphash::spgemm::emulated_product);
