// SPDX-License-Identifier: Apache-2.0
// Tokens that two ascending lists share, eight of each at a time: all are compared with all by turning one side, then the
// side that ends first, or both, moves on; what is left over goes under masks. Bound: eight comparisons into masks a step.
#include <immintrin.h>

#include "lsh/pairs/common_tokens.h"

namespace warphash::lsh {
namespace {

inline __mmask8 lanes(int64_t count) { return static_cast<__mmask8>((1u << count) - 1); }

template <int turn>
inline __mmask8 equal_turned(__m512i x, __m512i y) {
  return _mm512_cmpeq_epi64_mask(x, _mm512_alignr_epi64(y, y, turn));
}
// Which of x stand anywhere in y.
inline __mmask8 found(__m512i x, __m512i y) {
  const __mmask8 near = equal_turned<0>(x, y) | equal_turned<1>(x, y) | equal_turned<2>(x, y) | equal_turned<3>(x, y);
  const __mmask8 far = equal_turned<4>(x, y) | equal_turned<5>(x, y) | equal_turned<6>(x, y) | equal_turned<7>(x, y);
  return near | far;
}

}  // namespace

int64_t common_tokens_avx512(const int64_t* a, int64_t a_count, const int64_t* b, int64_t b_count) {
  int64_t i = 0, j = 0, common = 0;
  while (i + 8 <= a_count && j + 8 <= b_count) {
    common += _mm_popcnt_u32(found(_mm512_loadu_si512(a + i), _mm512_loadu_si512(b + j)));
    const int64_t a_last = a[i + 7], b_last = b[j + 7];
    i += a_last <= b_last ? 8 : 0;
    j += b_last <= a_last ? 8 : 0;
  }
  while (i < a_count && j < b_count) {
    const int64_t a_left = a_count - i < 8 ? a_count - i : 8, b_left = b_count - j < 8 ? b_count - j : 8;
    const int64_t a_last = a[i + a_left - 1], b_last = b[j + b_left - 1];
    // b's last token once more in the place of those it lacks; what a lacks is not counted.
    const __m512i y = _mm512_mask_loadu_epi64(_mm512_set1_epi64(b_last), lanes(b_left), b + j);
    const __mmask8 own = lanes(a_left);
    common += _mm_popcnt_u32(found(_mm512_maskz_loadu_epi64(own, a + i), y) & own);
    i += a_last <= b_last ? a_left : 0;
    j += b_last <= a_last ? b_left : 0;
  }
  return common;
}

}  // namespace warphash::lsh
