// SPDX-License-Identifier: Apache-2.0
// Launchers of the CUDA kernels for pairs and components. Torch-free; all pointers are device pointers.
//
// Wrong data never leave the arrays: a pair with a member that does not exist is left out of components and has similarity
// 0, offsets are kept within the tokens.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/portable.h"
#include "lsh/pairs/pairs.h"

namespace warphash::lsh {

// Keys [columns, items], each column sorted, and the items that they are of: equal keys' items ascend.
struct SortedKeys {
  const int64_t *keys, *items;
  int64_t columns, count;  // of items

  int64_t all() const { return columns * count; }
};

// ---- Candidate pairs: counted, written, and, once they are sorted, equal ones taken out -------------------------------

size_t pairs_workspace(int64_t count);  // for the running sums of count numbers

// ends [columns, count]: running sums of the pairs that each key is the later one of. Their last is the number of pairs.
cudaError_t count_pairs(const SortedKeys& sorted, int64_t max_bucket, PairMode mode, void* workspace, int64_t* ends,
                        cudaStream_t stream);
// pairs [count]: smaller item << 32 | larger; items are below 2^31.
cudaError_t write_pairs(const SortedKeys& sorted, PairMode mode, const int64_t* ends, int64_t count, int64_t* pairs,
                        cudaStream_t stream);
// numbers [count]: how many distinct of the sorted pairs there are up to here.
cudaError_t number_distinct(const int64_t* pairs, int64_t count, void* workspace, int64_t* numbers,
                            cudaStream_t stream);
// out [numbers[count - 1], 2]
cudaError_t write_distinct(const int64_t* pairs, const int64_t* numbers, int64_t count, int64_t* out,
                           cudaStream_t stream);

// ---- Others ---------------------------------------------------------------------------------------------------------

// sizes [count + 2]: entry s is how many buckets have s members; the last entry is the largest size.
cudaError_t count_sizes(const SortedKeys& sorted, int64_t* sizes, cudaStream_t stream);

size_t connected_components_workspace(int64_t items);
// pairs [count, 2] -> labels [items]
cudaError_t connected_components(const int64_t* pairs, int64_t count, int64_t items, void* workspace, int64_t* labels,
                                 cudaStream_t stream);

cudaError_t pair_jaccard(const SortedSets& sets, const int64_t* pairs, int64_t count, double* similarity,
                         cudaStream_t stream);

}  // namespace warphash::lsh
