// SPDX-License-Identifier: Apache-2.0
// Rows added by what the compiler's baseline gives. Bound: a load, an addition and a store for every four values.
#include "lsh/buckets/bucket_rows.h"

namespace warphash::lsh {
namespace {

void add_f16(const uint16_t* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) to[i] += float_of_float16(from[i]);
}

}  // namespace

const RowKernels& row_kernels_scalar() {
  static constexpr RowKernels kernels = {add<float>, add<double>, add_f16, add_bf16};
  return kernels;
}

}  // namespace warphash::lsh
