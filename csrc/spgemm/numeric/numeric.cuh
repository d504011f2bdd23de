// SPDX-License-Identifier: Apache-2.0
// Launchers of the CUDA kernels for values on a known pattern, their gradients and winners. Torch-free; all pointers are
// device pointers. Values are float, double, int32_t, int64_t or, for bool, uint8_t; gradients float or double. `type` says
// what sums are rounded to when they are written.
//
// All sums are deterministic. Wrong data never leave the arrays: row pointers are kept within them, entries that have no
// row or column are left out.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/portable.h"
#include "spgemm/spgemm_values.h"

namespace warphash::spgemm {

// For numeric and winners: a list of the parts of long rows.
size_t numeric_workspace(const Pattern& a, const Pattern& pattern);

// values [pattern.entries]: those of A·B, the semiring's zero where no product falls, and at columns of -1, which only the
// beginning of a row has.
template <class Value>
cudaError_t numeric(const Csr<Value>& a, const Csr<Value>& b, const Pattern& pattern, Semiring semiring, bool covers,
                    void* workspace, void* values, ValueType type, cudaStream_t stream);

// of_a, of_b [pattern.entries]: positions in A's and B's values of the product that gives each entry; -1 where none does.
template <class Value>
cudaError_t winners(const Csr<Value>& a, const Csr<Value>& b, const Pattern& pattern, Semiring semiring,
                    void* workspace, int64_t* of_a, int64_t* of_b, cudaStream_t stream);

size_t gradient_of_a_workspace(const Pattern& a, const Pattern& gradient);
// dA [a.entries] = Σ_j G_ij B_kj; the gradient has a value for each entry of the pattern.
template <class Value>
cudaError_t gradient_of_a(const Csr<Value>& gradient, const Pattern& a, const Csr<Value>& b, void* workspace,
                          void* of_a, ValueType type, cudaStream_t stream);

// A's entries by column, from its columns sorted stably: `keys` and the places `order` that they had [a.entries].
// crow [a.columns + 1], rows [a.entries]
cudaError_t transpose(const Pattern& a, const int32_t* keys, const int64_t* order, int64_t* crow, int32_t* rows,
                      cudaStream_t stream);

size_t gradient_of_b_workspace(const Pattern& transposed, const Pattern& b);
// dB [b.entries] = Σ_i A_ik G_ij, in ascending i within blocks of rows as the CPU's, whose sums are added in order.
// From `worth_blocks` products on there are several.
template <class Value>
cudaError_t gradient_of_b(const Csr<Value>& gradient, const Csr<Value>& a, const Pattern& transposed,
                          const int64_t* order, const Pattern& b, int64_t worth_blocks, void* workspace, void* of_b,
                          ValueType type, cudaStream_t stream);

}  // namespace warphash::spgemm
