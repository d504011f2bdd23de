// SPDX-License-Identifier: Apache-2.0
// Launchers of the CUDA kernels for a product under a mask. Torch-free; all pointers are device pointers.
//
// Wrong data never leave the arrays. Where a row of the mask or of b does not ascend, entries may be missing.
#pragma once

#include "spgemm/rows.cuh"

namespace warphash::spgemm {

// Of a [M, K] times b [K, N] and a mask [M, N]: less than the mask's own columns.
size_t masked_workspace(const Pattern& a, const Pattern& mask);

// crow [M + 1]: its last number is how many entries of the mask a product falls on. What is kept in the workspace says
// which, for write_masked.
cudaError_t count_masked(const Pattern& a, const Pattern& b, const Pattern& mask, void* workspace, int64_t* crow,
                         cudaStream_t stream);
cudaError_t write_masked(const Pattern& a, const Pattern& mask, void* workspace, const int64_t* crow, int32_t* col,
                         cudaStream_t stream);

// values [pattern.entries] on the pattern found, of `type`; those of the operands are of its sum_type.
size_t masked_values_workspace(const Pattern& a, const Pattern& pattern);
cudaError_t masked_values(const Pattern& a, const Pattern& b, const Pattern& pattern, const void* a_values,
                          const void* b_values, ValueType type, Semiring semiring, void* workspace, void* values,
                          cudaStream_t stream);

}  // namespace warphash::spgemm
