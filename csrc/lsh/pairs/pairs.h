// SPDX-License-Identifier: Apache-2.0
// From band keys to pairs, and from pairs to components. Torch-free.
#pragma once

#include <cstdint>
#include <vector>

#include "common/isa.h"

namespace warphash::lsh {

// Keys of items, [items, columns] row by row: equal keys in one column meet, -1 never does.
struct Keys {
  const int64_t* data;
  int64_t items, columns;
};

// Which pairs of a bucket: all, or its first member with each other one (whose components are the same).
enum class PairMode : int { all = 0, chain = 1 };

constexpr int64_t most_pairs = (int64_t{1} << 31) - 1;  // before equal ones are taken out

// Distinct pairs, i below j, sorted by (i, j). Piece p holds those whose i is in [p · items, (p + 1) · items), packed.
struct PairPieces {
  int64_t items;
  std::vector<std::vector<uint64_t>> codes;

  int64_t count() const;
  void write(int64_t* pairs) const;  // [count, 2]
};
// Buckets of more than max_bucket members are skipped whole; negative: none. Throws std::length_error with the count where
// there are more than most_pairs.
PairPieces candidate_pairs(const Keys& keys, int64_t max_bucket, PairMode mode);

// Entry s: how many buckets have s members; one entry more than the largest size.
std::vector<int64_t> bucket_sizes(const Keys& keys);

// labels [items]: the smallest member of each one's component. Throws std::out_of_range where a member is not in [0, items).
void connected_components(const int64_t* pairs, int64_t count, int64_t items, int64_t* labels);

// Sets in CSR, ascending and distinct: |A ∩ B| / |A ∪ B| of each pair [count, 2], 0 where both are empty. Throws
// std::out_of_range where a member is not in [0, sets), std::invalid_argument where offsets do not ascend from 0 to `tokens`.
struct SortedSets {
  const int64_t* tokens;
  int64_t token_count;
  const int64_t* offsets;  // [sets + 1]
  int64_t sets;
};
void pair_jaccard(Isa isa, const SortedSets& sets, const int64_t* pairs, int64_t count, double* similarity);

}  // namespace warphash::lsh
