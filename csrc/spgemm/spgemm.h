// SPDX-License-Identifier: Apache-2.0
// What the kernels of sparse products share: patterns in CSR and semirings. Torch-free.
#pragma once

#include <cstdint>

namespace warphash::spgemm {

// ⊕ sums the products of an entry, ⊗ makes them. Zero of ⊕: 0, false, +inf, -inf (integers: their largest, smallest).
enum class Semiring : int { plus_times = 0, or_and = 1, min_plus = 2, max_times = 3 };

// Rows of columns in CSR. Row pointers are 64 bits wide whatever the tensor's are; columns are below 2^31, since a matrix
// with more of them is renumbered by the columns that occur before any kernel sees it.
// Canonical: columns of a row ascend strictly. All operands of kernels are.
struct Pattern {
  const int64_t* crow;  // [rows + 1]
  const int32_t* col;   // [entries]
  int64_t rows, columns, entries;
};

template <class Value>
struct Csr : Pattern {
  const Value* values;  // [entries]
};

}  // namespace warphash::spgemm
