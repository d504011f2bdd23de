// SPDX-License-Identifier: Apache-2.0
// Tokens that two ascending lists share, four of each at a time: all are compared with all by turning one side, then the
// side that ends first, or both, moves on. Bound: some ten instructions a step.
#include <immintrin.h>

#include "lsh/pairs/common_tokens.h"

namespace warphash::lsh {

int64_t common_tokens_avx2(const int64_t* a, int64_t a_count, const int64_t* b, int64_t b_count) {
  int64_t i = 0, j = 0, common = 0;
  while (i + 4 <= a_count && j + 4 <= b_count) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + i));
    const __m256i y = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + j));
    const __m256i by_none = _mm256_cmpeq_epi64(x, y);
    const __m256i by_one = _mm256_cmpeq_epi64(x, _mm256_permute4x64_epi64(y, 0b00111001));
    const __m256i by_two = _mm256_cmpeq_epi64(x, _mm256_permute4x64_epi64(y, 0b01001110));
    const __m256i by_three = _mm256_cmpeq_epi64(x, _mm256_permute4x64_epi64(y, 0b10010011));
    const __m256i equal = _mm256_or_si256(_mm256_or_si256(by_none, by_one), _mm256_or_si256(by_two, by_three));
    common += _mm_popcnt_u32(static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(equal))));
    const int64_t a_last = a[i + 3], b_last = b[j + 3];
    i += a_last <= b_last ? 4 : 0;
    j += b_last <= a_last ? 4 : 0;
  }
  return common + merged(a + i, a_count - i, b + j, b_count - j);
}

}  // namespace warphash::lsh
