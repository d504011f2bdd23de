// SPDX-License-Identifier: Apache-2.0
// Hamming kernels for AVX2.
//
// There is no vector popcount: a byte is looked up as two nibbles, 8 operations for 4 words. Byte sums of up to 31 words
// fit a byte, so the sums across bytes (vpsadbw) are made once a code. Bound: the two shuffles on their one port on Intel,
// about 2 cycles for 4 words. Tiles are word-major in groups of 8 codes, two vectors a group.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hamming/hamming.h"
#include "hamming/hamming_keys.h"
#include "hamming/hamming_nibbles.h"

namespace warphash::hamming {
namespace {

constexpr int lanes = 8, vectors = 8;  // 8 vectors of 4 codes are one group of the sink

inline __m256i byte_counts(__m256i bits) {
  const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i low = _mm256_set1_epi8(15);
  return _mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(bits, low)),
                         _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(bits, 4), low)));
}
inline __m256i load(const uint64_t* at) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(at)); }

// Popcounts of 4 codes as 64-bit lanes; half (0 or 1) of the group of 8 at `group`.
template <bool conjunction, int fixed_words>
inline __m256i count_bits(const uint64_t* group, const uint64_t* query, int words) {
  const int width = fixed_words ? fixed_words : words;
  __m256i sums = _mm256_setzero_si256();
  for (int begin = 0; begin < width; begin += 31) {
    const int end = width - begin < 31 ? width : begin + 31;
    __m256i bytes = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int word = begin; word < end; ++word) {
      __m256i value = _mm256_set1_epi64x(static_cast<int64_t>(query[word])), code = load(group + static_cast<size_t>(word) * lanes);
      bytes = _mm256_add_epi8(bytes, byte_counts(conjunction ? _mm256_and_si256(value, code) : _mm256_xor_si256(value, code)));
    }
    sums = _mm256_add_epi64(sums, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
  }
  return sums;
}

template <bool conjunction, int fixed_words>
inline void count_group(const uint64_t* tile, int code, const uint64_t* query, int words, __m256i (&counts)[vectors]) {
  const int width = fixed_words ? fixed_words : words;
#pragma GCC unroll 8
  for (int i = 0; i < vectors; ++i)
    counts[i] = count_bits<conjunction, fixed_words>(tile + static_cast<size_t>(code + i / 2 * lanes) * width + i % 2 * 4, query, width);
}

inline void store_keys(const __m256i (&counts)[vectors], uint32_t* keys) {
  for (int i = 0; i < vectors; ++i) {
    alignas(32) uint64_t wide[4];
    _mm256_store_si256(reinterpret_cast<__m256i*>(wide), counts[i]);
    for (int lane = 0; lane < 4; ++lane) keys[4 * i + lane] = static_cast<uint32_t>(wide[lane]);
  }
}

// Cold: the group goes to the sink with the lanes whose key is below the limit.
__attribute__((noinline)) void hand_over(const ScanCall& call, int query, int code, const uint32_t* keys) {
  int left = call.codes - code < group_codes ? call.codes - code : group_codes;
  uint32_t passed = 0;
  for (int lane = 0; lane < left; ++lane) passed |= static_cast<uint32_t>(keys[lane] < call.limits[query]) << lane;
  if (passed != 0) call.limits[query] = call.sink.offer(call.sink.state, query, call.first + code, keys, passed);
}

template <int fixed_words>
void scan_distance_words(const ScanCall& call) {
  const int words = fixed_words ? fixed_words : call.words;
  for (int query = 0; query < call.queries; ++query) {
    const uint64_t* values = static_cast<const uint64_t*>(call.prepared) + static_cast<size_t>(query) * words;
    __m256i limit = _mm256_set1_epi64x(call.limits[query]);
    for (int code = 0; code < call.codes; code += group_codes) {
      __m256i counts[vectors];
      count_group<false, fixed_words>(static_cast<const uint64_t*>(call.tile), code, values, words, counts);
      __m256i least = counts[0];
#pragma GCC unroll 8
      for (int i = 1; i < vectors; ++i) least = _mm256_min_epu32(least, counts[i]);
      __m256i below = _mm256_cmpgt_epi64(limit, least);
      if (__builtin_expect(!_mm256_testz_si256(below, below), 0)) {
        alignas(32) uint32_t keys[group_codes];
        store_keys(counts, keys);
        hand_over(call, query, code, keys);
        limit = _mm256_set1_epi64x(call.limits[query]);
      }
    }
  }
}

void scan_distance(const ScanCall& call) {
  switch (call.words) {
    case 1: return scan_distance_words<1>(call);
    case 2: return scan_distance_words<2>(call);
    case 4: return scan_distance_words<4>(call);
    case 8: return scan_distance_words<8>(call);
    case 16: return scan_distance_words<16>(call);
    default: return scan_distance_words<0>(call);
  }
}

void scan_jaccard(const ScanCall& call) {
  for (int query = 0; query < call.queries; ++query) {
    const uint64_t* values = static_cast<const uint64_t*>(call.prepared) + static_cast<size_t>(query) * call.words;
    const __m256i own = _mm256_set1_epi32(static_cast<int>(call.query_sizes[query])), one = _mm256_set1_epi32(1);
    for (int code = 0; code < call.codes; code += group_codes) {
      __m256i counts[vectors];
      count_group<true, 0>(static_cast<const uint64_t*>(call.tile), code, values, call.words, counts);
      alignas(32) uint32_t keys[group_codes];
      store_keys(counts, keys);
      const __m256 floor = _mm256_set1_ps(jaccard_floor(call.limits[query]));
      int hit = 0;
      for (int i = 0; i < group_codes; i += 8) {
        __m256i both = _mm256_load_si256(reinterpret_cast<const __m256i*>(keys + i));
        __m256i sizes = _mm256_load_si256(reinterpret_cast<const __m256i*>(call.code_sizes + code + i));
        __m256i united = _mm256_sub_epi32(_mm256_add_epi32(own, sizes), both);
        __m256i empty = _mm256_sub_epi32(one, _mm256_min_epu32(united, one));  // two empty codes count as 1 / 1
        __m256 bound = _mm256_mul_ps(floor, _mm256_cvtepi32_ps(_mm256_add_epi32(united, empty)));
        hit |= _mm256_movemask_ps(_mm256_cmp_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(both, empty)), bound, _CMP_GT_OQ));
      }
      if (__builtin_expect(hit == 0, 1)) continue;
      for (int lane = 0; lane < group_codes; ++lane)
        keys[lane] = jaccard_key(jaccard_similarity(keys[lane], call.query_sizes[query] + call.code_sizes[code + lane]));
      hand_over(call, query, code, keys);
    }
  }
}

void distances(const void* tile, int codes, int words, const uint64_t* query, uint32_t* out) {
  for (int code = 0; code < codes; code += group_codes) {
    __m256i counts[vectors];
    count_group<false, 0>(static_cast<const uint64_t*>(tile), code, query, words, counts);
    store_keys(counts, out + code);
  }
}

// 16 sums in two registers: the lower 3 bits of a nibble permute both, the highest bit chooses.
void scan_score(const ScanCall& call) {
  constexpr int score_vectors = 4;  // 32 codes
  const int words = 2 * call.words;
  for (int query = 0; query < call.queries; ++query) {
    const float* tables = static_cast<const float*>(call.prepared) + static_cast<size_t>(query) * call.words * nibble_sums;
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
            __m256 part = _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, value[i]), _mm256_permutevar8x32_ps(high, value[i]),
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

}  // namespace

const Kernels& kernels_avx2() {
  static const Kernels kernels = [] {
    Kernels table = kernels_scalar();
    table.isa = Isa::avx2;
    table.scan_distance = scan_distance;
    table.scan_jaccard = scan_jaccard;
    table.distances = distances;
    table.scan_score = scan_score;
    return table;
  }();
  return kernels;
}

}  // namespace warphash::hamming
