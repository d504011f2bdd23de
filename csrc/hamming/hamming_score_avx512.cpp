// SPDX-License-Identifier: Apache-2.0
// Asymmetric scores: float queries against packed codes.
//
// The sum of 4 signed query values takes one of 16 values, so a query becomes a table of 16 floats a nibble, which fits
// one vector: a lookup is one lane permutation, indexed by the codes' nibbles. Bound: that permutation, one a cycle on
// Intel for 16 codes and 4 bits. Sums go in nibble order, one code a lane, so every machine rounds alike. Tiles are
// 32-bit words, word-major in groups of 16 codes; 8 groups go together to hide the latency of the sums.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "hamming/hamming_avx512.h"
#include "hamming/hamming_keys.h"
#include "hamming/hamming_nibbles.h"

namespace warphash::hamming {
namespace {

constexpr int lanes = 16, vectors = 8, block = lanes * vectors;

void scan_block(const ScanCall& call, int query, int code, const float* table) {
  const int words = 2 * call.words;
  const uint32_t* tile = static_cast<const uint32_t*>(call.tile) + static_cast<size_t>(code) * words;
  __m512 sum[vectors];
  for (__m512& one : sum) one = _mm512_setzero_ps();
  for (int word = 0; word < words; ++word) {
    __m512i value[vectors];
#pragma GCC unroll 8
    for (int i = 0; i < vectors; ++i)
      value[i] = _mm512_load_si512(tile + (static_cast<size_t>(i) * words + word) * lanes);
#pragma GCC unroll 1
    for (int nibble = 0; nibble < 8; ++nibble, table += 16) {
      __m512 parts = _mm512_load_ps(table);
#pragma GCC unroll 8
      for (int i = 0; i < vectors; ++i) {
        __m512 part = _mm512_permutexvar_ps(value[i], parts);
        sum[i] = _mm512_add_ps(sum[i], part);
        value[i] = _mm512_srli_epi32(value[i], 4);
      }
    }
  }
  __m512 floor = _mm512_set1_ps(score_floor(call.limits[query]));
  for (int half = 0; half < vectors; half += 2) {
    uint32_t passed = _mm512_cmp_ps_mask(sum[half], floor, _CMP_GE_OQ) |
                      static_cast<uint32_t>(_mm512_cmp_ps_mask(sum[half + 1], floor, _CMP_GE_OQ)) << lanes;
    int left = call.codes - (code + half * lanes);
    if (left <= 0 || passed == 0) continue;
    if (left < group_codes) passed &= (1u << left) - 1;
    alignas(64) float scores[group_codes];
    uint32_t keys[group_codes];
    _mm512_store_ps(scores, sum[half]);
    _mm512_store_ps(scores + lanes, sum[half + 1]);
    for (int lane = 0; lane < group_codes; ++lane) keys[lane] = score_key(scores[lane]);
    // The first half may have raised the bar.
    uint32_t still = 0;
    for (uint32_t rest = passed; rest != 0; rest &= rest - 1)
      still |= static_cast<uint32_t>(keys[__builtin_ctz(rest)] < call.limits[query]) << __builtin_ctz(rest);
    if (still != 0)
      call.limits[query] = call.sink.offer(call.sink.state, query, call.first + code + half * lanes, keys, still);
  }
}

}  // namespace

void scan_score_avx512(const ScanCall& call) {
  for (int query = 0; query < call.queries; ++query) {
    const float* table =
        static_cast<const float*>(call.prepared) + static_cast<size_t>(query) * call.words * nibble_sums;
    for (int code = 0; code < call.codes; code += block) scan_block(call, query, code, table);
  }
}

}  // namespace warphash::hamming
