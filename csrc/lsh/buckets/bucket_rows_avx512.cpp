// SPDX-License-Identifier: Apache-2.0
// Rows added by sixteen floats at a time, tails under masks. Bound: loads and stores of the first-level cache.
#include <immintrin.h>

#include "lsh/buckets/bucket_rows.h"

namespace warphash::lsh {
namespace {

inline __mmask16 lanes(int64_t left) { return left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1); }

template <class Load>
inline void add_floats(int64_t count, float* to, const Load& load) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 mask = lanes(count - i);
    _mm512_mask_storeu_ps(to + i, mask, _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to + i), load(i, mask)));
  }
}
void add_f32(const float* from, int64_t count, float* to) {
  add_floats(count, to, [&](int64_t i, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, from + i); });
}
void add_f16(const uint16_t* from, int64_t count, float* to) {
  add_floats(count, to,
             [&](int64_t i, __mmask16 mask) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, from + i)); });
}
void add_wide_bf16(const uint16_t* from, int64_t count, float* to) {
  add_floats(count, to, [&](int64_t i, __mmask16 mask) {
    const __m512i words = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from + i));
    return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
  });
}
void add_f64(const double* from, int64_t count, double* to) {
  for (int64_t i = 0; i < count; i += 8) {
    const __mmask8 mask = count - i >= 8 ? 0xff : static_cast<__mmask8>((1u << (count - i)) - 1);
    const __m512d sum = _mm512_add_pd(_mm512_maskz_loadu_pd(mask, to + i), _mm512_maskz_loadu_pd(mask, from + i));
    _mm512_mask_storeu_pd(to + i, mask, sum);
  }
}

struct Float16 {
  using Value = uint16_t;
  using Sum = float;
  typedef __m512 Vector;
  static constexpr int lanes = 16;
  static Vector load(const Value* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static Sum one(Value value) { return float_of_float16(value); }
};

}  // namespace

const RowKernels& row_kernels_avx512() {
  static constexpr RowKernels kernels = {
      add_f32,           add_f64,           add_f16, add_wide_bf16, sum_rows<Plain<float>>, sum_rows<Plain<double>>,
      sum_rows<Float16>, sum_rows<Bfloat16>};
  return kernels;
}

}  // namespace warphash::lsh
