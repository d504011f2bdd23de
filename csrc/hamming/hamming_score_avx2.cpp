// SPDX-License-Identifier: Apache-2.0
// Asymmetric scores: float queries against packed codes, by the sums of 4 weights that a nibble picks.
//
// Bound: per nibble of 8 codes two permutes on the shuffle port and one variable blend (2 operations), 2 to 3 cycles.
// Tables are loaded once for 32 codes; the tile (hamming_nibbles.h) keeps 32 bits of 16 codes side by side.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "hamming/hamming_avx2.h"
#include "hamming/hamming_keys.h"
#include "hamming/hamming_nibbles.h"

namespace warphash::hamming {

// 16 sums in two registers: the lower 3 bits of a nibble permute both, the highest bit chooses.
void scan_score_avx2(const ScanCall& call) {
  constexpr int score_vectors = 4;  // 32 codes
  const int words = 2 * call.words;
  for (int query = 0; query < call.queries; ++query) {
    const float* tables =
        static_cast<const float*>(call.prepared) + static_cast<size_t>(query) * call.words * nibble_sums;
    for (int code = 0; code < call.codes; code += group_codes) {
      __m256 sum[score_vectors];
      for (__m256& one : sum) one = _mm256_setzero_ps();
      const float* table = tables;
      for (int word = 0; word < words; ++word) {
        __m256i value[score_vectors];
        for (int i = 0; i < score_vectors; ++i)
          value[i] = _mm256_load_si256(reinterpret_cast<const __m256i*>(
              static_cast<const uint32_t*>(call.tile) +
              (static_cast<size_t>((code + 8 * i) / nibble_lanes) * words + word) * nibble_lanes + i % 2 * 8));
        for (int nibble = 0; nibble < 8; ++nibble, table += 16) {
          const __m256 low = _mm256_load_ps(table), high = _mm256_load_ps(table + 8);
#pragma GCC unroll 4
          for (int i = 0; i < score_vectors; ++i) {
            __m256 part =
                _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, value[i]), _mm256_permutevar8x32_ps(high, value[i]),
                                 _mm256_castsi256_ps(_mm256_slli_epi32(value[i], 28)));
            sum[i] = _mm256_add_ps(sum[i], part);
            value[i] = _mm256_srli_epi32(value[i], 4);
          }
        }
      }
      const __m256 floor = _mm256_set1_ps(score_floor(call.limits[query]));
      uint32_t passed = 0;
      for (int i = 0; i < score_vectors; ++i)
        passed |= static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(sum[i], floor, _CMP_GE_OQ))) << (8 * i);
      int left = call.codes - code;
      if (left < group_codes) passed &= (1u << left) - 1;
      if (__builtin_expect(passed == 0, 1)) continue;
      alignas(32) float scores[group_codes];
      uint32_t keys[group_codes];
      for (int i = 0; i < score_vectors; ++i) _mm256_store_ps(scores + 8 * i, sum[i]);
      for (int lane = 0; lane < group_codes; ++lane) keys[lane] = score_key(scores[lane]);
      call.limits[query] = call.sink.offer(call.sink.state, query, call.first + code, keys, passed);
    }
  }
}

}  // namespace warphash::hamming
