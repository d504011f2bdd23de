// SPDX-License-Identifier: Apache-2.0
// Squares of 8 x 8 floats turned by vectors of 32 bytes, which AVX2 and AVX-512 files share. Internal.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace warphash::hashgrid {
namespace {

inline void turn_square(const float* const* in, int64_t at, float* out, int64_t out_stride) {
  __m256 row[8];  // 0 to 3: rows i and i + 4 of the left half; 4 to 7: of the right half
  for (int i = 0; i < 4; ++i) {
    const float *upper = in[i] + at, *lower = in[i + 4] + at;
    row[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(upper)), _mm_loadu_ps(lower), 1);
    row[i + 4] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(upper + 4)), _mm_loadu_ps(lower + 4), 1);
  }
  for (int half = 0; half < 8; half += 4) {
    const __m256 a = _mm256_unpacklo_ps(row[half], row[half + 1]), b = _mm256_unpackhi_ps(row[half], row[half + 1]);
    const __m256 c = _mm256_unpacklo_ps(row[half + 2], row[half + 3]);
    const __m256 d = _mm256_unpackhi_ps(row[half + 2], row[half + 3]);
    float* to = out + half * out_stride;
    _mm256_storeu_ps(to, _mm256_shuffle_ps(a, c, 0x44));
    _mm256_storeu_ps(to + out_stride, _mm256_shuffle_ps(a, c, 0xee));
    _mm256_storeu_ps(to + 2 * out_stride, _mm256_shuffle_ps(b, d, 0x44));
    _mm256_storeu_ps(to + 3 * out_stride, _mm256_shuffle_ps(b, d, 0xee));
  }
}

inline void turn(const float* const* in, int64_t rows, int64_t columns, float* out, int64_t out_stride) {
  const int64_t whole_rows = rows / 8 * 8, whole_columns = columns / 8 * 8;
  for (int64_t j = 0; j < whole_columns; j += 8)
    for (int64_t i = 0; i < whole_rows; i += 8) turn_square(in + i, j, out + j * out_stride + i, out_stride);
  for (int64_t i = 0; i < whole_rows; ++i)
    for (int64_t j = whole_columns; j < columns; ++j) out[j * out_stride + i] = in[i][j];
  for (int64_t i = whole_rows; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) out[j * out_stride + i] = in[i][j];
}

}  // namespace
}  // namespace warphash::hashgrid
