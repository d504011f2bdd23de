// SPDX-License-Identifier: Apache-2.0
// Launchers of the bucket tables' CUDA kernels. Torch-free; all pointers are device pointers.
//
// Wrong data never leave the arrays: a code that is out of range counts as the last bucket's in a sort, is left out of
// sums, and finds nothing in a look-up.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/portable.h"
#include "lsh/buckets/buckets.h"

namespace warphash::lsh {

// Workspace: some numbers a tile of codes and, above 4096 buckets, 12 bytes an item (8 above 2^32 buckets).
size_t bucket_sort_workspace(const Codes& codes);
// order, inverse [tables, items], offsets [tables, buckets + 1]. inverse may be null. buckets > 0 where there are items;
// cudaErrorInvalidValue above 4096 buckets where a code and an index are not 64 bits together.
cudaError_t bucket_sort(const Codes& codes, void* workspace, int64_t* order, int64_t* inverse, int64_t* offsets,
                        cudaStream_t stream);

size_t bucket_query_workspace(int64_t queries);
// row_starts [queries + 1]: running sums of how many distinct items each query's buckets have.
cudaError_t bucket_query_count(const Table& table, const int64_t* codes, int64_t queries, void* workspace,
                               int64_t* row_starts, cudaStream_t stream);
// candidates [row_starts[queries]]
cudaError_t bucket_query_fill(const Table& table, const int64_t* codes, int64_t queries, const int64_t* row_starts,
                              int64_t* candidates, cudaStream_t stream);

// Workspace: that of a sort of the codes, and 8 bytes a code and a bucket for its result.
size_t bucket_sum_workspace(const Rows& rows);
// values [batch, codes_per_table, width] -> sums [batch, tables, buckets, width]
cudaError_t bucket_sum(const Rows& rows, const void* values, void* workspace, void* sums, cudaStream_t stream);
// table [batch, tables, buckets, width] -> sums [batch, codes_per_table, width]
cudaError_t bucket_gather_sum(const Rows& rows, const void* table, void* sums, cudaStream_t stream);

}  // namespace warphash::lsh
