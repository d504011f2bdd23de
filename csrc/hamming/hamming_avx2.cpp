// SPDX-License-Identifier: Apache-2.0
// Hamming kernels for AVX2.
//
// There is no vector popcount, but a nibble of a query, once known, is a table: the 16 counts of its nibble with every
// other. So a tile holds one nibble a byte, nibble-major in blocks of 128 codes, and one byte shuffle counts 32 of them: no
// xor and no sums across lanes. A count takes 3 bits of its byte, so a table serves two queries, one in each half, and
// three nibbles are added before the halves are taken apart: 9 operations for 3 nibbles of 32 codes and 2 queries, a third
// of what looking up the nibbles of each xor takes.
// Bound: these operations, 2.25 cycles on 4 vector ports, 3 on 3. The loads come next, 2 a cycle: a block of 128 codes
// shares the tables of three nibbles in registers. Measured on Zen 5: 1.17 times that bound, and for wide codes a tenth more
// to drain bytes into 16-bit sums. Up to 256 bits counts stay bytes, so that one compare serves 32 codes.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hamming/hamming_avx2.h"
#include "hamming/hamming_keys.h"
#include "hamming/hamming_nibbles.h"

namespace warphash::hamming {
namespace {

constexpr int groups = block_codes / group_codes;
constexpr int byte_words = 4;                     // the counts of so many words fit a byte, all but 256 itself
constexpr int run_nibbles = 63;                   // whole triples, whose counts (4 a nibble at most) fit a byte
constexpr int sum_nibbles = 1008 * word_nibbles;  // whole runs and whole words, whose counts fit 16 bits

// counts[nibbles of a pair of queries][nibble of the code]: bits of the xor (or and) with the first query in the lower
// half, with the second in the upper half.
struct Tables {
  alignas(64) uint8_t counts[256][16];
};
constexpr int bits_of(int nibble) { return (nibble & 1) + (nibble >> 1 & 1) + (nibble >> 2 & 1) + (nibble >> 3 & 1); }
constexpr Tables make_tables(bool conjunction) {
  Tables tables{};
  for (int pair = 0; pair < 256; ++pair)
    for (int code = 0; code < 16; ++code) {
      const int first = pair & 15, second = pair >> 4;
      tables.counts[pair][code] = static_cast<uint8_t>(bits_of(conjunction ? first & code : first ^ code) +
                                                       16 * bits_of(conjunction ? second & code : second ^ code));
    }
  return tables;
}
constexpr Tables difference_tables = make_tables(false), conjunction_tables = make_tables(true);

// Prepared queries name their tables by the offset in bytes, 16 times the pair of nibbles.
inline __m256i table_at(const Tables& tables, uint16_t offset) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(tables.counts[0] + offset)));
}
inline __m256i load(const void* at) { return _mm256_load_si256(static_cast<const __m256i*>(at)); }

int tile_codes(int words) {
  // 16 KiB leave room in L1 for the tables and the queries; a block of more than 512 bits takes more.
  int codes = 1024 / words / block_codes * block_codes;
  return codes < block_codes ? block_codes : codes;
}
size_t tile_bytes(int words) { return static_cast<size_t>(tile_codes(words)) * words * word_nibbles; }

// A pair of queries is a row of table offsets, one a nibble; the last query may be paired with zeros.
size_t prepared_bytes(int count, int words) {
  return static_cast<size_t>((count + 1) / 2) * words * word_nibbles * sizeof(uint16_t);
}
void prepare_pair(const uint64_t* first, const uint64_t* second, int words, uint16_t* out) {
  const __m128i half = _mm_set1_epi8(15);
  for (int word = 0; word < words; ++word, out += word_nibbles) {
    const __m128i a = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(first + word));
    const __m128i b =
        second == nullptr ? _mm_setzero_si128() : _mm_loadl_epi64(reinterpret_cast<const __m128i*>(second + word));
    const __m128i even = _mm_or_si128(_mm_and_si128(a, half), _mm_slli_epi16(_mm_and_si128(b, half), 4));
    const __m128i odd = _mm_or_si128(_mm_and_si128(_mm_srli_epi16(a, 4), half), _mm_andnot_si128(half, b));
    const __m256i tables = _mm256_slli_epi16(_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(even, odd)), 4);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), tables);
  }
}
void prepare(const uint64_t* queries, int count, int words, void* prepared) {
  for (int query = 0; query < count; query += 2) {
    const uint64_t* first = queries + static_cast<size_t>(query) * words;
    prepare_pair(first, query + 1 < count ? first + words : nullptr, words,
                 static_cast<uint16_t*>(prepared) + static_cast<size_t>(query / 2) * words * word_nibbles);
  }
}

// What `nibbles` (1 to 3) lines count, both halves together, for 32 codes.
template <int nibbles>
inline __m256i count_lines(const uint8_t* lines, const __m256i (&table)[3]) {
  __m256i both = _mm256_shuffle_epi8(table[0], load(lines));
  if (nibbles > 1) both = _mm256_add_epi8(both, _mm256_shuffle_epi8(table[1], load(lines + block_codes)));
  if (nibbles > 2) both = _mm256_add_epi8(both, _mm256_shuffle_epi8(table[2], load(lines + 2 * block_codes)));
  return both;
}

// Counts of at most byte_words words, one byte a code, for the two queries of a pair; 256 becomes 255.
inline void count_bytes(const uint8_t* lines, const uint16_t* offsets, const Tables& tables, int nibbles,
                        __m256i (&counts)[2][groups]) {
  const __m256i half = _mm256_set1_epi8(15);
  __m256i lower[groups], upper[groups];
#pragma GCC unroll 4
  for (int i = 0; i < groups; ++i) lower[i] = upper[i] = _mm256_setzero_si256();
  for (; nibbles >= 3; nibbles -= 3, lines += 3 * block_codes, offsets += 3) {
    const __m256i table[3] = {table_at(tables, offsets[0]), table_at(tables, offsets[1]), table_at(tables, offsets[2])};
#pragma GCC unroll 4
    for (int i = 0; i < groups; ++i) {
      const __m256i both = count_lines<3>(lines + i * group_codes, table);
      lower[i] = _mm256_add_epi8(lower[i], _mm256_and_si256(both, half));
      // The shift of 16 bits lets the odd byte's lower half into the even byte's sum; it is taken out below.
      upper[i] = _mm256_add_epi16(upper[i], _mm256_srli_epi16(both, 4));
      asm(""
          : "+x"(lower[i]), "+x"(upper[i]));  // one vector after the other: interleaved, they do not fit the registers
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < groups; ++i)
    upper[i] = _mm256_sub_epi16(upper[i], _mm256_and_si256(_mm256_srli_epi16(lower[i], 4), _mm256_set1_epi16(0xff0)));
  if (nibbles > 0) {
    const __m256i table[3] = {table_at(tables, offsets[0]), table_at(tables, offsets[nibbles - 1])};
#pragma GCC unroll 4
    for (int i = 0; i < groups; ++i) {
      const uint8_t* from = lines + i * group_codes;
      const __m256i both = nibbles == 1 ? count_lines<1>(from, table) : count_lines<2>(from, table);
      lower[i] = _mm256_adds_epu8(lower[i], _mm256_and_si256(both, half));
      upper[i] = _mm256_adds_epu8(upper[i], _mm256_and_si256(_mm256_srli_epi16(both, 4), half));
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < groups; ++i) counts[0][i] = lower[i], counts[1][i] = upper[i];
}

// Not inlined: all the registers go to this loop, none to the sums around it.
__attribute__((noinline)) void count_run(const uint8_t* lines, const uint16_t* offsets, const Tables& tables,
                                         int nibbles, __m256i (&counts)[2][groups]) {
  count_bytes(lines, offsets, tables, nibbles, counts);
}

// 16-bit counts of the codes with an even and with an odd number.
struct Sums {
  __m256i even, odd;
};

// Counts of at most sum_nibbles lines. `step`: how far the offsets go on after run_nibbles; 0 repeats them.
inline void count_sums(const uint8_t* lines, const uint16_t* offsets, int step, const Tables& tables, int nibbles,
                       Sums (&sums)[2][groups]) {
  std::memset(sums, 0, sizeof sums);
  for (int begin = 0; begin < nibbles; begin += run_nibbles, lines += run_nibbles * block_codes, offsets += step) {
    __m256i counts[2][groups];
    const int left = nibbles - begin;
    count_run(lines, offsets, tables, left < run_nibbles ? left : run_nibbles, counts);
    for (int q = 0; q < 2; ++q)
#pragma GCC unroll 4
      for (int i = 0; i < groups; ++i) {
        // even + 256 odd modulo 2^16: the multiple of 256 goes when odd is known
        sums[q][i].even = _mm256_add_epi16(sums[q][i].even, counts[q][i]);
        sums[q][i].odd = _mm256_add_epi16(sums[q][i].odd, _mm256_srli_epi16(counts[q][i], 8));
      }
  }
  for (int q = 0; q < 2; ++q)
#pragma GCC unroll 4
    for (int i = 0; i < groups; ++i)
      sums[q][i].even = _mm256_sub_epi16(sums[q][i].even, _mm256_slli_epi16(sums[q][i].odd, 8));
}

inline void store(uint32_t* keys, __m256i value) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(keys), value); }
inline void store_keys(__m256i counts, uint32_t* keys) {
  const __m128i low = _mm256_castsi256_si128(counts), high = _mm256_extracti128_si256(counts, 1);
  store(keys, _mm256_cvtepu8_epi32(low));
  store(keys + 8, _mm256_cvtepu8_epi32(_mm_srli_si128(low, 8)));
  store(keys + 16, _mm256_cvtepu8_epi32(high));
  store(keys + 24, _mm256_cvtepu8_epi32(_mm_srli_si128(high, 8)));
}
inline void store_keys(const Sums& sums, uint32_t* keys) {
  const __m256i first = _mm256_unpacklo_epi16(sums.even, sums.odd), last = _mm256_unpackhi_epi16(sums.even, sums.odd);
  store(keys, _mm256_cvtepu16_epi32(_mm256_castsi256_si128(first)));
  store(keys + 8, _mm256_cvtepu16_epi32(_mm256_castsi256_si128(last)));
  store(keys + 16, _mm256_cvtepu16_epi32(_mm256_extracti128_si256(first, 1)));
  store(keys + 24, _mm256_cvtepu16_epi32(_mm256_extracti128_si256(last, 1)));
}

// Adds the counts of any number of lines with the first or second of a pair to counts [block_codes].
inline void add_counts(const uint8_t* lines, const uint16_t* offsets, int step, const Tables& tables, int nibbles,
                       int which, uint32_t* counts) {
  for (int begin = 0; begin < nibbles; begin += sum_nibbles) {
    const int left = nibbles - begin;
    Sums sums[2][groups];
    count_sums(lines + static_cast<size_t>(begin) * block_codes, offsets + (step == 0 ? 0 : begin), step, tables,
               left < sum_nibbles ? left : sum_nibbles, sums);
    for (int i = 0; i < groups; ++i) {
      alignas(32) uint32_t part[group_codes];
      store_keys(sums[which][i], part);
      for (int lane = 0; lane < group_codes; ++lane) counts[i * group_codes + lane] += part[lane];
    }
  }
}

// Cold: the codes of one group whose key is below the limit go to the sink.
__attribute__((noinline)) void hand_over(const ScanCall& call, int query, int code, const uint32_t* keys) {
  const int left = call.codes - code < group_codes ? call.codes - code : group_codes;
  uint32_t passed = 0;
  for (int lane = 0; lane < left; ++lane) passed |= static_cast<uint32_t>(keys[lane] < call.limits[query]) << lane;
  if (passed != 0) call.limits[query] = call.sink.offer(call.sink.state, query, call.first + code, keys, passed);
}

// What is at most the bound may pass; that a limit of 0 admits nothing is seen to behind the branch.
inline __m256i byte_bound(uint32_t limit) {
  const uint32_t bound = limit == 0 ? 0 : limit - 1;
  return _mm256_set1_epi8(static_cast<char>(bound < 255 ? bound : 255));
}
inline __m256i sum_bound(uint32_t limit) {
  const uint32_t bound = limit == 0 ? 0 : limit - 1;
  return _mm256_set1_epi16(static_cast<short>(bound < 65535 ? bound : 65535));
}
inline __m256i admitted(const __m256i (&counts)[groups], __m256i bound) {
  __m256i least = counts[0];
#pragma GCC unroll 4
  for (int i = 1; i < groups; ++i) least = _mm256_min_epu8(least, counts[i]);
  return _mm256_cmpeq_epi8(_mm256_min_epu8(least, bound), least);
}
inline __m256i admitted(const Sums (&sums)[groups], __m256i bound) {
  __m256i least = _mm256_min_epu16(sums[0].even, sums[0].odd);
#pragma GCC unroll 4
  for (int i = 1; i < groups; ++i) least = _mm256_min_epu16(least, _mm256_min_epu16(sums[i].even, sums[i].odd));
  return _mm256_cmpeq_epi16(_mm256_min_epu16(least, bound), least);
}
inline bool any(__m256i mask) { return !_mm256_testz_si256(mask, mask); }

// Of 32 codes: Sums, or bytes.
template <bool wide>
struct Counts {
  using type = Sums;
};
template <>
struct Counts<false> {
  using type = __m256i;
};

inline const uint16_t* pair_offsets(const ScanCall& call, int query) {
  return static_cast<const uint16_t*>(call.prepared) + static_cast<size_t>(query / 2) * call.words * word_nibbles;
}

template <bool wide, int fixed_words>
void scan_distance_words(const ScanCall& call) {
  const int nibbles = (fixed_words ? fixed_words : call.words) * word_nibbles;
  const uint8_t* tile = static_cast<const uint8_t*>(call.tile);
  for (int query = 0; query < call.queries; query += 2) {
    const int present = call.queries - query < 2 ? 1 : 2;
    const uint16_t* offsets = pair_offsets(call, query);
    auto bound_of = [&](int q) {
      const uint32_t limit = q < present ? call.limits[query + q] : 0;
      return wide ? sum_bound(limit) : byte_bound(limit);
    };
    __m256i bound[2] = {bound_of(0), bound_of(1)};
    for (int code = 0; code < call.codes; code += block_codes) {
      const uint8_t* lines = tile + static_cast<size_t>(code) * nibbles;
      typename Counts<wide>::type counts[2][groups];
      if constexpr (wide)
        count_sums(lines, offsets, run_nibbles, difference_tables, nibbles, counts);
      else
        count_bytes(lines, offsets, difference_tables, nibbles, counts);
      if (__builtin_expect(!any(_mm256_or_si256(admitted(counts[0], bound[0]), admitted(counts[1], bound[1]))), 1))
        continue;
      for (int q = 0; q < present; ++q) {
        if (call.limits[query + q] == 0 || !any(admitted(counts[q], bound[q]))) continue;
        alignas(32) uint32_t keys[block_codes] = {};
        if (!wide && nibbles == byte_words * word_nibbles && call.limits[query + q] > 255)
          add_counts(lines, offsets, run_nibbles, difference_tables, nibbles, q, keys);  // 255 may mean 256
        else
          for (int i = 0; i < groups; ++i) store_keys(counts[q][i], keys + i * group_codes);
        for (int i = 0; i < block_codes; i += group_codes) hand_over(call, query + q, code + i, keys + i);
        bound[q] = bound_of(q);
      }
    }
  }
}

// Codes of more than sum_nibbles nibbles.
void scan_distance_long(const ScanCall& call) {
  const int nibbles = call.words * word_nibbles;
  for (int query = 0; query < call.queries; ++query)
    for (int code = 0; code < call.codes; code += block_codes) {
      uint32_t keys[block_codes] = {};
      add_counts(static_cast<const uint8_t*>(call.tile) + static_cast<size_t>(code) * nibbles,
                 pair_offsets(call, query), run_nibbles, difference_tables, nibbles, query % 2, keys);
      for (int i = 0; i < block_codes; i += group_codes) hand_over(call, query, code + i, keys + i);
    }
}

void scan_distance(const ScanCall& call) {
  switch (call.words) {
    case 1: return scan_distance_words<false, 1>(call);
    case 2: return scan_distance_words<false, 2>(call);
    case 3: return scan_distance_words<false, 3>(call);
    case byte_words: return scan_distance_words<false, byte_words>(call);
    default: break;
  }
  return call.words * word_nibbles <= sum_nibbles ? scan_distance_words<true, 0>(call) : scan_distance_long(call);
}

// both: |query & code| of one group
inline void offer_jaccard(const ScanCall& call, int query, int code, uint32_t* both) {
  const __m256 floor = _mm256_set1_ps(jaccard_floor(call.limits[query]));
  const __m256i own = _mm256_set1_epi32(static_cast<int>(call.query_sizes[query])), one = _mm256_set1_epi32(1);
  int hit = 0;
  for (int i = 0; i < group_codes; i += 8) {
    __m256i shared = load(both + i), sizes = load(call.code_sizes + code + i);
    __m256i united = _mm256_sub_epi32(_mm256_add_epi32(own, sizes), shared);
    __m256i empty = _mm256_sub_epi32(one, _mm256_min_epu32(united, one));  // two empty codes count as 1 / 1
    __m256 bound = _mm256_mul_ps(floor, _mm256_cvtepi32_ps(_mm256_add_epi32(united, empty)));
    hit |= _mm256_movemask_ps(_mm256_cmp_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(shared, empty)), bound, _CMP_GT_OQ));
  }
  if (__builtin_expect(hit == 0, 1)) return;
  for (int lane = 0; lane < group_codes; ++lane)
    both[lane] = jaccard_key(jaccard_similarity(both[lane], call.query_sizes[query] + call.code_sizes[code + lane]));
  hand_over(call, query, code, both);
}

void scan_jaccard(const ScanCall& call) {
  const int nibbles = call.words * word_nibbles;
  for (int query = 0; query < call.queries; query += 2)
    for (int code = 0; code < call.codes; code += block_codes) {
      const uint8_t* lines = static_cast<const uint8_t*>(call.tile) + static_cast<size_t>(code) * nibbles;
      const uint16_t* offsets = pair_offsets(call, query);
      alignas(32) uint32_t both[2][block_codes] = {};
      if (nibbles <= sum_nibbles) {
        Sums sums[2][groups];
        count_sums(lines, offsets, run_nibbles, conjunction_tables, nibbles, sums);
        for (int q = 0; q < 2; ++q)
          for (int i = 0; i < groups; ++i) store_keys(sums[q][i], both[q] + i * group_codes);
      } else {
        for (int q = 0; q < 2; ++q) add_counts(lines, offsets, run_nibbles, conjunction_tables, nibbles, q, both[q]);
      }
      for (int q = 0; q < 2 && query + q < call.queries; ++q)
        for (int i = 0; i < block_codes && code + i < call.codes; i += group_codes)
          offer_jaccard(call, query + q, code + i, both[q] + i);
    }
}

void sizes(const void* tile, int codes, int words, uint32_t* out) {
  const int nibbles = words * word_nibbles;
  uint16_t full[run_nibbles];
  for (uint16_t& offset : full) offset = 16 * 15;
  std::memset(out, 0, static_cast<size_t>((codes + block_codes - 1) / block_codes) * block_codes * sizeof(uint32_t));
  for (int code = 0; code < codes; code += block_codes)
    add_counts(static_cast<const uint8_t*>(tile) + static_cast<size_t>(code) * nibbles, full, 0, conjunction_tables,
               nibbles, 0, out + code);
}

void distances(const void* tile, int codes, int words, const uint64_t* query, uint32_t* out) {
  constexpr int part_words = sum_nibbles / word_nibbles;
  const int nibbles = words * word_nibbles;
  std::memset(out, 0, static_cast<size_t>((codes + block_codes - 1) / block_codes) * block_codes * sizeof(uint32_t));
  for (int word = 0; word < words; word += part_words) {
    const int part = words - word < part_words ? words - word : part_words;
    uint16_t offsets[sum_nibbles];
    prepare_pair(query + word, nullptr, part, offsets);
    for (int code = 0; code < codes; code += block_codes)
      add_counts(static_cast<const uint8_t*>(tile) + static_cast<size_t>(code) * nibbles +
                     static_cast<size_t>(word) * word_nibbles * block_codes,
                 offsets, run_nibbles, difference_tables, part * word_nibbles, 0, out + code);
  }
}

}  // namespace

const Kernels& kernels_avx2() {
  static constexpr Kernels kernels = {Isa::avx2,      {tile_codes, tile_bytes, arrange_avx2, prepared_bytes, prepare},
                                      scan_distance,  scan_jaccard,
                                      sizes,          distances,
                                      scan_rows_avx2, nibble_layout,
                                      scan_score_avx2};
  return kernels;
}

}  // namespace warphash::hamming
