// SPDX-License-Identifier: Apache-2.0
// The product of two patterns where a mask has entries too. Torch-free.
#pragma once

#include <cstdint>
#include <vector>

#include "common/isa.h"
#include "spgemm/spgemm_values.h"
#include "spgemm/spgemm_workspace.h"

namespace warphash::spgemm {

// Of a [M, K] times b [K, N] at the entries of `mask` [M, N] on which a product falls; a column of -1 is none. Operands'
// values are of sum_type(type).
struct MaskedJob {
  Pattern a, b, mask;
  const void *a_values, *b_values;  // null: the pattern alone
  ValueType type;
  Semiring semiring;
  const int32_t* names = nullptr;  // the mask's own columns where those of `mask` are renumbered
};

// Rows [begin, end) stand one after the other from the place of the mask's row `begin` on: `entries` of them.
struct MaskedPiece {
  int64_t begin, end, entries;
};

// Works on making it, in memory of the mask's size besides a value and two bytes a column for each worker, and gives the
// result in arrays of exactly its own. Throws std::invalid_argument and std::out_of_range for operands that would lead
// outside of their arrays.
class Masked {
 public:
  Masked(Isa isa, const MaskedJob& job);
  int64_t entries() const { return entries_; }
  // crow [rows + 1], col [entries], values [entries] of the job's type, not looked at without values.
  void write(int32_t* crow, int32_t* col, void* values) const { write_as(crow, col, values); }
  void write(int64_t* crow, int64_t* col, void* values) const { write_as(crow, col, values); }

 private:
  template <class Index>
  void write_as(Index* crow, Index* col, void* values) const;

  MaskedJob job_;
  Workspace counts_, col_, values_;
  std::vector<MaskedPiece> pieces_;  // in any order
  int64_t entries_ = 0;
};

// ---- Kernels --------------------------------------------------------------------------------------------------------
struct MaskedOut {
  int64_t* counts;  // [rows]
  int32_t* col;     // [mask.entries]
  void* values;     // [mask.entries], of the job's type
};
// Rows of a piece. `sums`, `marks` and `hits` point at column 0, have one more place before it, and are all zero before and
// after. Returns the first row whose mask has a column outside of [-1, columns), or -1.
struct MaskedRow {
  void* sums;
  uint8_t *marks, *hits;
};
using MaskedRows = int64_t (*)(const MaskedJob& job, const MaskedOut& out, MaskedPiece& piece, const MaskedRow& dense);
MaskedRows masked_rows_scalar(ValueType type, Semiring semiring);
MaskedRows masked_pattern_rows_scalar();

}  // namespace warphash::spgemm
