// SPDX-License-Identifier: Apache-2.0
// Rows added by eight floats at a time. Bound: loads and stores of the first-level cache.
#include <immintrin.h>

#include "lsh/buckets/bucket_rows.h"

namespace warphash::lsh {
namespace {

void add_f16(const uint16_t* from, int64_t count, float* to) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256 values = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i)));
    _mm256_storeu_ps(to + i, _mm256_add_ps(_mm256_loadu_ps(to + i), values));
  }
  for (; i < count; ++i) to[i] += float_of_float16(from[i]);
}

struct Float16 {
  using Value = uint16_t;
  using Sum = float;
  typedef __m256 Vector;
  static constexpr int lanes = 8;
  static Vector load(const Value* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static Sum one(Value value) { return float_of_float16(value); }
};

}  // namespace

const RowKernels& row_kernels_avx2() {
  static constexpr RowKernels kernels = {
      add<float>,        add<double>,       add_f16, add_bf16, sum_rows<Plain<float>>, sum_rows<Plain<double>>,
      sum_rows<Float16>, sum_rows<Bfloat16>};
  return kernels;
}

}  // namespace warphash::lsh
