// SPDX-License-Identifier: Apache-2.0
// The two sides of a row under a mask: all its products, each searched in the mask's row; or, where the mask's row is short
// beside them, every column of it, searched in every row of B that the row of A names.
#pragma once

#include "spgemm/numeric/long_rows.cuh"

namespace warphash::spgemm {
namespace {

__device__ __forceinline__ bool has(const Pattern& pattern, const Range& row, int32_t column, int64_t& at) {
  at = lower_bound(pattern.col, row.begin, row.end, column);
  return at < row.end && __ldg(pattern.col + at) == column;
}

// The products of a row, as far as it must be known: counting ends at `enough`.
template <class Group>
__device__ __forceinline__ int64_t count_products(Chunk<Group::size>& chunk, const Pattern& a, const Pattern& b,
                                                  const Range& of_a, int64_t enough) {
  int64_t all = 0;
  for (int64_t first = of_a.begin; first < of_a.end && all < enough; first += Group::size) {
    const int64_t e = first + Group::rank();
    int64_t length = 0;
    if (e < of_a.end) {
      const Range part = row_range(b, __ldg(a.col + e));
      length = part.end - part.begin;
    }
    const int64_t sum = Group::running_sum(length, chunk.sums);
    if (Group::rank() == Group::size - 1) chunk.ends[0] = sum;
    Group::sync();
    all += chunk.ends[0];
    Group::sync();
  }
  return all;
}

// Whether the mask's columns are the side to take; the same for the whole group.
template <class Group>
__device__ __forceinline__ bool is_search_cheaper(Chunk<Group::size>& chunk, const Pattern& a, const Pattern& b,
                                                  const Range& of_a, const Range& of_mask) {
  // A search in a row of B costs about as much as four products.
  const int64_t searches = 4 * (of_mask.end - of_mask.begin) * (of_a.end - of_a.begin);
  return count_products<Group>(chunk, a, b, of_a, searches) >= searches;
}

}  // namespace
}  // namespace warphash::spgemm
