// SPDX-License-Identifier: Apache-2.0
// Rows added by what the compiler's baseline gives. Bound: a load, an addition and a store for every four values.
#include "lsh/buckets/bucket_rows.h"

namespace warphash::lsh {
namespace {

void add_f16(const uint16_t* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) to[i] += float_of_float16(from[i]);
}

struct Float16 {
  using Value = uint16_t;
  using Sum = float;
  typedef float Vector __attribute__((vector_size(vector_bytes)));
  static constexpr int lanes = 4;
  static Vector load(const Value* from) { return Vector{one(from[0]), one(from[1]), one(from[2]), one(from[3])}; }
  static Sum one(Value value) { return float_of_float16(value); }
};

}  // namespace

const RowKernels& row_kernels_scalar() {
  static constexpr RowKernels kernels = {
      add<float>,        add<double>,       add_f16, add_bf16, sum_rows<Plain<float>>, sum_rows<Plain<double>>,
      sum_rows<Float16>, sum_rows<Bfloat16>};
  return kernels;
}

}  // namespace warphash::lsh
