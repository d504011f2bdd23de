// SPDX-License-Identifier: Apache-2.0
// Sums of a row's entries in shared memory, a piece of the row at a time.
//
// A piece is either dense, a slot for each column from its first entry's on, so that a product finds its slot without a
// search and those off the pattern fall where nobody looks; or, where columns lie far apart, a slot for each entry, which
// a product finds by binary search in the piece's columns.
#pragma once

#include "spgemm/walk.cuh"

namespace warphash::spgemm {
namespace {

// The last of `count` > 0 ascending columns in shared memory that is not above `column`; the first if all are.
__device__ __forceinline__ int last_not_above(const int32_t* columns, int count, int32_t column) {
  int at = 0;
  for (int step = 1 << (31 - __clz(count)); step > 0; step /= 2)
    if (at + step < count && columns[at + step] <= column) at += step;
  return at;
}

// Slots in one group's shared memory. `with_entries`: each also has the number of an entry of A.
template <class Value, bool with_entries>
struct Slots {
  int32_t *entries, *columns;
  Value* values;
  int count;

  static constexpr int slot_bytes = sizeof(Value) + (with_entries ? 4 : 0);
  static constexpr int dense_count(int bytes) { return bytes / slot_bytes / 8 * 8; }
  static constexpr int sparse_count(int bytes) { return bytes / (slot_bytes + 4) / 8 * 8; }

  __device__ __forceinline__ Slots(unsigned char* shared, int bytes, bool is_dense)
      : entries(reinterpret_cast<int32_t*>(shared)), count(is_dense ? dense_count(bytes) : sparse_count(bytes)) {
    columns = entries + (with_entries ? count : 0);
    values = reinterpret_cast<Value*>(columns + (is_dense ? 0 : count));
  }
};

// The first place of a row's rest whose column is not below.
__device__ __forceinline__ int64_t end_of(const Pattern& pattern, Range rest, int64_t column) {
  if (column >= pattern.columns) return rest.end;
  return lower_bound(pattern.col, rest.begin, rest.end, static_cast<int32_t>(column));
}

struct Piece {
  int64_t end;   // of its entries
  int32_t base;  // its first column
  bool is_dense;
};

// The piece that begins with a row's rest, which is not empty.
template <class AllSlots>
__device__ __forceinline__ Piece next_piece(const Pattern& pattern, Range rest, int bytes) {
  const int32_t base = __ldg(pattern.col + rest.begin);
  const int64_t sparse_end = min(rest.begin + AllSlots::sparse_count(bytes), rest.end);
  const int64_t dense_end = end_of(pattern, rest, int64_t(base) + AllSlots::dense_count(bytes));
  const bool is_dense = 2 * (dense_end - rest.begin) >= sparse_end - rest.begin;
  // Were the columns in disorder, a dense piece could be empty.
  return {is_dense ? max(dense_end, rest.begin + 1) : sparse_end, base, is_dense};
}

}  // namespace
}  // namespace warphash::spgemm
