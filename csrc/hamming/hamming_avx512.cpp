// SPDX-License-Identifier: Apache-2.0
// Hamming kernels for AVX-512 with VPOPCNTDQ.
//
// Bound: a pair costs words x (xor, popcount, add), shared by 8 codes. Intel issues the popcount on one port and all of
// it on two, so about 0.19 words x 8 codes a cycle there; Zen 5 has twice the ports. Loads would be as many as popcounts,
// so a register tile of 4 queries x 32 codes loads each code word once for 4 queries, each query word once for 32 codes.
// Data: tiles are word-major in groups of 8 codes, so that no sum ever crosses lanes. One min tree, one compare and one
// branch serve 32 pairs; what passes goes to the sink, which is cold.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "hamming/hamming.h"
#include "hamming/hamming_avx512.h"
#include "hamming/hamming_keys.h"
#include "hamming/hamming_nibbles.h"

namespace warphash::hamming {
namespace {

constexpr int query_tile = 4, code_vectors = 4, lanes = 8;

int tile_codes(int words) {
  // 16 KiB leave room in L1 for the queries' words and limits; wide codes shrink to 2 groups.
  int codes = 2048 / words / group_codes * group_codes;
  return codes < 64 ? 64 : codes;
}
size_t tile_bytes(int words) { return static_cast<size_t>(tile_codes(words)) * words * 8; }

// Rows of `width` (1 to 8) words from 8 codes, turned into `width` vectors of one word each.
inline void transpose8(const __m512i (&row)[8], __m512i (&column)[8]) {
  __m512i a[8], b[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm512_unpacklo_epi64(row[i], row[i + 1]);
    a[i + 1] = _mm512_unpackhi_epi64(row[i], row[i + 1]);
  }
#pragma GCC unroll 8
  for (int half = 0; half < 8; half += 4)
#pragma GCC unroll 8
    for (int i = 0; i < 2; ++i) {
      b[half + i] = _mm512_shuffle_i64x2(a[half + i], a[half + i + 2], 0x88);
      b[half + i + 2] = _mm512_shuffle_i64x2(a[half + i], a[half + i + 2], 0xdd);
    }
#pragma GCC unroll 8
  for (int i = 0; i < 4; ++i) {
    column[i] = _mm512_shuffle_i64x2(b[i], b[i + 4], 0x88);
    column[i + 4] = _mm512_shuffle_i64x2(b[i], b[i + 4], 0xdd);
  }
}

inline __mmask64 first_bytes(int count) { return count >= 64 ? ~0ull : count <= 0 ? 0 : (1ull << count) - 1; }
inline __m512i load(const uint8_t* at) { return _mm512_loadu_si512(at); }

// 8 whole codes of 1, 2 or 4 words lie in as many vectors and need no masks.
template <int words>
inline void arrange_group(const uint8_t* codes, uint64_t* out) {
  if constexpr (words == 1) {
    _mm512_store_si512(out, load(codes));
  } else if constexpr (words == 2) {
    const __m512i even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14),
                  odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
    const __m512i low = load(codes), high = load(codes + 64);
    _mm512_store_si512(out, _mm512_permutex2var_epi64(low, even, high));
    _mm512_store_si512(out + lanes, _mm512_permutex2var_epi64(low, odd, high));
  } else {
    const __m512i first = _mm512_setr_epi64(0, 4, 8, 12, 1, 5, 9, 13),
                  last = _mm512_setr_epi64(2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i a = load(codes), b = load(codes + 64), c = load(codes + 128), d = load(codes + 192);
    const __m512i front01 = _mm512_permutex2var_epi64(a, first, b), front23 = _mm512_permutex2var_epi64(a, last, b);
    const __m512i back01 = _mm512_permutex2var_epi64(c, first, d), back23 = _mm512_permutex2var_epi64(c, last, d);
    _mm512_store_si512(out, _mm512_shuffle_i64x2(front01, back01, 0x44));
    _mm512_store_si512(out + lanes, _mm512_shuffle_i64x2(front01, back01, 0xee));
    _mm512_store_si512(out + 2 * lanes, _mm512_shuffle_i64x2(front23, back23, 0x44));
    _mm512_store_si512(out + 3 * lanes, _mm512_shuffle_i64x2(front23, back23, 0xee));
  }
}

// `rows` codes of the group, 8 words at a time; what is missing becomes zero.
inline void arrange_ragged(const uint8_t* codes, int rows, int bytes, uint64_t* out) {
  const int words = (bytes + 7) / 8;
  for (int word = 0; word < words; word += 8) {
    const __mmask64 mask = first_bytes(bytes - 8 * word);
    __m512i row[8], column[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i)
      row[i] = _mm512_maskz_loadu_epi8(i < rows ? mask : 0, codes + static_cast<size_t>(i) * bytes + 8 * word);
    transpose8(row, column);
    const int width = words - word < 8 ? words - word : 8;
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i)
      if (i < width) _mm512_store_si512(out + (word + i) * lanes, column[i]);
  }
}

// Codes of 8 n words: plain loads and transposes.
inline void arrange_blocks(const uint8_t* codes, int words, uint64_t* out) {
  for (int word = 0; word < words; word += 8) {
    __m512i row[8], column[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) row[i] = load(codes + static_cast<size_t>(8) * (i * words + word));
    transpose8(row, column);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) _mm512_store_si512(out + (word + i) * lanes, column[i]);
  }
}

void arrange(const uint8_t* codes, int count, int bytes, void* tile) {
  const int words = (bytes + 7) / 8, whole = count / lanes * lanes;
  const int padded = (count + group_codes - 1) / group_codes * group_codes;
  uint64_t* out = static_cast<uint64_t*>(tile);
  const size_t from = static_cast<size_t>(lanes) * bytes, to = static_cast<size_t>(lanes) * words;
  for (int code = 0; code < whole; code += lanes, codes += from, out += to) {
    if (bytes == 8)
      arrange_group<1>(codes, out);
    else if (bytes == 16)
      arrange_group<2>(codes, out);
    else if (bytes == 32)
      arrange_group<4>(codes, out);
    else if (bytes % 64 == 0)
      arrange_blocks(codes, words, out);
    else
      arrange_ragged(codes, lanes, bytes, out);
  }
  for (int code = whole; code < padded; code += lanes, out += to) {
    arrange_ragged(codes, count - code, bytes, out);
    codes += code < count ? static_cast<size_t>(count - code) * bytes : 0;  // never past the end
  }
}

size_t prepared_bytes(int count, int words) { return static_cast<size_t>(count) * words * 8; }
void prepare(const uint64_t* queries, int count, int words, void* prepared) {
  uint64_t* out = static_cast<uint64_t*>(prepared);
  for (size_t i = 0; i < static_cast<size_t>(count) * words; ++i) out[i] = queries[i];
}

// Cold: the keys of one query and one group go to the sink.
__attribute__((noinline)) uint32_t hand_over(const ScanCall& call, int query, int code, const __m512i* keys,
                                             uint32_t passed) {
  int left = call.codes - code;
  if (left < group_codes) passed &= (1u << left) - 1;
  if (passed == 0) return call.limits[query];
  alignas(64) uint32_t flat[group_codes];
  for (int i = 0; i < code_vectors; ++i)
    _mm256_store_si256(reinterpret_cast<__m256i*>(flat + lanes * i), _mm512_cvtepi64_epi32(keys[i]));
  return call.limits[query] = call.sink.offer(call.sink.state, query, call.first + code, flat, passed);
}

template <bool conjunction>
inline __m512i combine(__m512i query, __m512i code) {
  return conjunction ? _mm512_and_si512(query, code) : _mm512_xor_si512(query, code);
}

// counts[q][i] = popcounts of `queries` queries with the 32 codes at `group`. fixed_words 0: words at run time.
template <bool conjunction, int fixed_words, int queries>
inline void count_bits(const uint64_t* group, const uint64_t* query, int words,
                       __m512i (&counts)[queries][code_vectors]) {
  const int width = fixed_words ? fixed_words : words;
#pragma GCC unroll 4
  for (int word = 0; word < width; ++word) {
    __m512i code[code_vectors];
#pragma GCC unroll 4
    for (int i = 0; i < code_vectors; ++i)
      code[i] = _mm512_load_si512(group + (static_cast<size_t>(i) * width + word) * lanes);
#pragma GCC unroll 4
    for (int q = 0; q < queries; ++q) {
      __m512i value = _mm512_set1_epi64(static_cast<int64_t>(query[static_cast<size_t>(q) * width + word]));
#pragma GCC unroll 4
      for (int i = 0; i < code_vectors; ++i) {
        __m512i count = _mm512_popcnt_epi64(combine<conjunction>(value, code[i]));
        counts[q][i] = word == 0 ? count : _mm512_add_epi64(counts[q][i], count);
      }
    }
  }
}

template <int fixed_words, int queries>
inline void scan_distance_rows(const ScanCall& call, int query) {
  const int words = fixed_words ? fixed_words : call.words;
  const uint64_t* tile = static_cast<const uint64_t*>(call.tile);
  const uint64_t* values = static_cast<const uint64_t*>(call.prepared) + static_cast<size_t>(query) * words;
  __m512i limit[queries];
  for (int q = 0; q < queries; ++q) limit[q] = _mm512_set1_epi64(call.limits[query + q]);
  for (int code = 0; code < call.codes; code += group_codes) {
    __m512i counts[queries][code_vectors];
    count_bits<false, fixed_words, queries>(tile + static_cast<size_t>(code) * words, values, words, counts);
    __m512i least[queries];
    __mmask8 hit = 0;
#pragma GCC unroll 4
    for (int q = 0; q < queries; ++q) {
      // The upper halves are zero, so the cheaper 32-bit minimum serves.
      least[q] =
          _mm512_min_epu32(_mm512_min_epu32(counts[q][0], counts[q][1]), _mm512_min_epu32(counts[q][2], counts[q][3]));
      hit = _kor_mask8(hit, _mm512_cmplt_epu64_mask(least[q], limit[q]));
    }
    if (__builtin_expect(hit == 0, 1)) continue;
#pragma GCC unroll 4
    for (int q = 0; q < queries; ++q) {
      if (_mm512_cmplt_epu64_mask(least[q], limit[q]) == 0) continue;
      uint32_t passed = 0;
      for (int i = 0; i < code_vectors; ++i)
        passed |= static_cast<uint32_t>(_mm512_cmplt_epu64_mask(counts[q][i], limit[q])) << (lanes * i);
      limit[q] = _mm512_set1_epi64(hand_over(call, query + q, code, counts[q], passed));
    }
  }
}

template <int fixed_words>
void scan_distance_words(const ScanCall& call) {
  int query = 0;
  for (; query + query_tile <= call.queries; query += query_tile)
    scan_distance_rows<fixed_words, query_tile>(call, query);
  for (; query < call.queries; ++query) scan_distance_rows<fixed_words, 1>(call, query);
}

void scan_distance(const ScanCall& call) {
  switch (call.words) {
    case 1: return scan_distance_words<1>(call);
    case 2: return scan_distance_words<2>(call);
    case 4: return scan_distance_words<4>(call);
    default: return scan_distance_words<0>(call);
  }
}

template <int queries>
inline void scan_jaccard_rows(const ScanCall& call, int query) {
  const uint64_t* tile = static_cast<const uint64_t*>(call.tile);
  const uint64_t* values = static_cast<const uint64_t*>(call.prepared) + static_cast<size_t>(query) * call.words;
  for (int code = 0; code < call.codes; code += group_codes) {
    __m512i counts[queries][code_vectors];
    count_bits<true, 0, queries>(tile + static_cast<size_t>(code) * call.words, values, call.words, counts);
    for (int q = 0; q < queries; ++q) {
      const __m256 floor = _mm256_set1_ps(jaccard_floor(call.limits[query + q]));
      const __m256i own = _mm256_set1_epi32(static_cast<int>(call.query_sizes[query + q])), one = _mm256_set1_epi32(1);
      uint32_t passed = 0;
      for (int i = 0; i < code_vectors; ++i) {
        __m256i both = _mm512_cvtepi64_epi32(counts[q][i]);
        __m256i sizes = _mm256_load_si256(reinterpret_cast<const __m256i*>(call.code_sizes + code + lanes * i));
        __m256i united = _mm256_sub_epi32(_mm256_add_epi32(own, sizes), both);
        // Two empty codes count as 1 / 1.
        __m256i empty = _mm256_sub_epi32(one, _mm256_min_epu32(united, one));
        __m256 bound = _mm256_mul_ps(floor, _mm256_cvtepi32_ps(_mm256_add_epi32(united, empty)));
        passed |= static_cast<uint32_t>(
                      _mm256_cmp_ps_mask(_mm256_cvtepi32_ps(_mm256_add_epi32(both, empty)), bound, _CMP_GT_OQ))
                  << (lanes * i);
      }
      if (__builtin_expect(passed == 0, 1)) continue;
      alignas(64) uint32_t keys[group_codes];
      for (int i = 0; i < code_vectors; ++i)
        _mm256_store_si256(reinterpret_cast<__m256i*>(keys + lanes * i), _mm512_cvtepi64_epi32(counts[q][i]));
      int left = call.codes - code;
      if (left < group_codes) passed &= (1u << left) - 1;
      uint32_t exact = 0;
      for (uint32_t rest = passed; rest != 0; rest &= rest - 1) {
        int lane = __builtin_ctz(rest);
        keys[lane] =
            jaccard_key(jaccard_similarity(keys[lane], call.query_sizes[query + q] + call.code_sizes[code + lane]));
        exact |= static_cast<uint32_t>(keys[lane] < call.limits[query + q]) << lane;
      }
      if (exact != 0)
        call.limits[query + q] = call.sink.offer(call.sink.state, query + q, call.first + code, keys, exact);
    }
  }
}

void scan_jaccard(const ScanCall& call) {
  int query = 0;
  for (; query + query_tile <= call.queries; query += query_tile) scan_jaccard_rows<query_tile>(call, query);
  for (; query < call.queries; ++query) scan_jaccard_rows<1>(call, query);
}

void sizes(const void* tile, int codes, int words, uint32_t* out) {
  const uint64_t* from = static_cast<const uint64_t*>(tile);
  for (int code = 0; code < codes; code += lanes) {
    __m512i count = _mm512_setzero_si512();
    for (int word = 0; word < words; ++word)
      count = _mm512_add_epi64(
          count, _mm512_popcnt_epi64(_mm512_load_si512(from + static_cast<size_t>(code) * words + word * lanes)));
    _mm256_store_si256(reinterpret_cast<__m256i*>(out + code), _mm512_cvtepi64_epi32(count));
  }
}

void distances(const void* tile, int codes, int words, const uint64_t* query, uint32_t* out) {
  const uint64_t* from = static_cast<const uint64_t*>(tile);
  for (int code = 0; code < codes; code += group_codes) {
    __m512i counts[1][code_vectors];
    count_bits<false, 0, 1>(from + static_cast<size_t>(code) * words, query, words, counts);
    for (int i = 0; i < code_vectors; ++i)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + code + lanes * i), _mm512_cvtepi64_epi32(counts[0][i]));
  }
}

}  // namespace

const Kernels& kernels_avx512() {
  static constexpr Kernels kernels = {Isa::avx512,
                                      {tile_codes, tile_bytes, arrange, prepared_bytes, prepare},
                                      scan_distance,
                                      scan_jaccard,
                                      sizes,
                                      distances,
                                      scan_rows_avx512,
                                      nibble_layout,
                                      scan_score_avx512};
  return kernels;
}

}  // namespace warphash::hamming
