// SPDX-License-Identifier: Apache-2.0
// Launcher of the CUDA kernels for the largest entries of a product's rows. Torch-free; all pointers are device pointers.
//
// Wrong data never leave the arrays: row pointers are kept within them, entries that have no row or column are left out.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/portable.h"
#include "spgemm/topk/topk.h"

namespace warphash::spgemm {

template <class Value>
size_t topk_workspace(int64_t rows, int64_t columns, int64_t k);

// values, indices [a.rows, k]: entries by (value descending, column ascending), NaN last, then -inf and -1. Sums are
// rounded before they are compared. Value: float or double. Beyond some thousands of k the product is made several times.
template <class Value>
cudaError_t topk(const Csr<Value>& a, const Csr<Value>& b, int64_t k, Rounding rounding, void* workspace, Value* values,
                 int64_t* indices, cudaStream_t stream);

}  // namespace warphash::spgemm
