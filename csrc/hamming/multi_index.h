// SPDX-License-Identifier: Apache-2.0
// Exact multi-index hashing (Norouzi, Punjani and Fleet, 2012): codes are cut into disjoint substrings and each substring
// has a table of buckets. Torch-free.
//
// Pigeonhole: if every one of m substrings differs from the query's in more than a bits in the first j + 1 of them and in
// at least a bits in the others, the codes differ in more than a * m + j bits. So, when level a (all buckets a flips away)
// has been probed up to substring j, all codes within radius a * m + j have been seen. Both searches probe level by level
// and substring by substring, and stop at the radius wanted, or once the k-th best is within the radius covered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace warphash::hamming {

// A table has an entry for every value of its substring. Substrings as wide as log2 of the number of codes are about the
// best (docs/retrieval.md), so the tables are no larger than the ids and need no hashing.
constexpr int widest_substring = 30;

// Substring s holds the bits first .. first + width - 1 of a code; the bits % substrings first ones are one bit wider.
struct Substring {
  int first, width;
};
Substring substring_of(int bits, int substrings, int s);

// For each substring the codes 0 .. indexed - 1 in order of (substring value, id): those of value v stand in ids from
// offsets[v] to offsets[v + 1].
struct MultiIndex {
  const uint8_t* codes;    // [total, bytes]; those from `indexed` on are in no table and are compared one by one
  int64_t total, indexed;  // total < 2^31
  int bytes, bits, substrings;
  const int32_t* offsets;  // [substrings, table_entries]
  const int32_t* ids;      // [substrings, indexed]
};
// 2^(width of the widest substring) + 1
int64_t table_entries(int bits, int substrings);

// Fills offsets and ids of an index over all `total` codes; a thread a substring.
void multi_index_build(const MultiIndex& index, int32_t* offsets, int32_t* ids);

// distance << 32 | id: sorts by (distance, index).
using Entry = uint64_t;

// What came of a search; hits have a meaning where it is complete. Tables are given by the caller: every read through
// them is bounded, and tables that lead out of themselves or of the codes are found broken when they do.
enum class Outcome { complete, gave_up, broken };

// The costs of both searches are counted in compared candidates; a probe of a bucket costs about two. A search whose next
// step is expected to pass `budget` gives up.
//
// hits: the k best in order, fewer if there are fewer codes.
Outcome multi_index_topk(const MultiIndex& index, const uint8_t* query, int64_t k, double budget,
                         std::vector<Entry>& hits);
// hits: all codes within radius, in order.
Outcome multi_index_range(const MultiIndex& index, const uint8_t* query, int radius, double budget,
                          std::vector<Entry>& hits);

// Distances of the codes `ids` to a query; both as rows of `bytes` bytes.
using GatherDistances = void (*)(const uint8_t* codes, int bytes, const uint8_t* query, const int32_t* ids, int count,
                                 uint32_t* distances);
void gather_distances_scalar(const uint8_t* codes, int bytes, const uint8_t* query, const int32_t* ids, int count,
                             uint32_t* distances);
// Needs POPCNT, which the avx2 level includes.
void gather_distances_avx2(const uint8_t* codes, int bytes, const uint8_t* query, const int32_t* ids, int count,
                           uint32_t* distances);

}  // namespace warphash::hamming
