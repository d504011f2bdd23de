// SPDX-License-Identifier: Apache-2.0
// What of a pattern in CSR is broken or out of order. Torch-free.
#pragma once

#include <cstdint>

#include "common/isa.h"
#include "spgemm/spgemm.h"

namespace warphash::spgemm {

// The first broken row pointer or -1; the position of the first column outside of [0, columns) or -1; 1 where a row's
// columns do not ascend strictly, else 0. Pointer i is broken if crow[0] != 0, crow[i] < crow[i - 1] or
// crow[rows] != entries; the other two are then -1 and 0.
struct Inspection {
  int64_t broken_pointer, outside, disordered;
};
Inspection inspect(Isa isa, const int32_t* crow, const int32_t* col, int64_t rows, int64_t columns, int64_t entries);
Inspection inspect(Isa isa, const int64_t* crow, const int64_t* col, int64_t rows, int64_t columns, int64_t entries);

// What kernels need of an operand so as to stay inside their arrays. Throws std::invalid_argument for a broken pointer,
// std::out_of_range for a column outside, naming `name`. Order is not asked for.
void check_pointers(const Pattern& pattern, const char* name);
void check_bounds(Isa isa, const Pattern& pattern, const char* name);

// By instruction set; chosen by the type of the argument. At most 2^31 columns at a time.
template <class Index>
struct ColumnKernels {
  // Whether all are in [0, columns).
  bool (*inside)(const Index* col, int64_t count, int64_t columns);
  // How many of col[1 .. count) are not above the one before.
  int64_t (*descents)(const Index* col, int64_t count);
};
const ColumnKernels<int32_t>& column_kernels_scalar(int32_t);
const ColumnKernels<int64_t>& column_kernels_scalar(int64_t);
const ColumnKernels<int32_t>& column_kernels_avx2(int32_t);
const ColumnKernels<int64_t>& column_kernels_avx2(int64_t);
const ColumnKernels<int32_t>& column_kernels_avx512(int32_t);
const ColumnKernels<int64_t>& column_kernels_avx512(int64_t);

}  // namespace warphash::spgemm
