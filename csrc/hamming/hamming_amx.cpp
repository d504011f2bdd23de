// SPDX-License-Identifier: Apache-2.0
// The Hamming distance scan for AMX int8.
//
// Sum: a code's bits as {0, 1} times a query's bits as {+1, -1} is |x| - 2 |q & x|; with |q| added it is |q ^ x|. The
// sums are int32, so any width is exact, and |q| is taken from the limits rather than added to every sum.
// Data: a set is 32 codes x 32 queries: 2 x 2 tiles of sums in tmm0..3. Codes lie in sets of [word][2 tiles of 16
// codes][64 bytes], so that a code's word is one masked move and one store; queries in sets of [word][2 tiles][16 rows
// of 4 bits][16 queries][4], the order in which the tile unit wants its right operand. Both are read front to back.
// Bound: a word of a set is 4 dot products of 16 cycles each, in which 4 tile loads take 32 cycles of the load ports.
// To this a set adds 4 tile stores (64 cycles of the store port), and 64 loads and minima (32 cycles of two ports). All
// of that fits beside the 64 cycles of even a single word, so the tile unit is the bound: 1024 pairs in 64 x words
// cycles. At one word the store port is full too; from 7 words on L1 holds the codes of one set only, so that queries
// are used once a reading and L2 must give 32 bytes a cycle.
// Loop: what would keep the tile unit waiting is a set's end, where sums must be stored before they can be compared. So
// three sets are in work at once. While a set's first products are issued, each tile of sums of the set before is
// stored just ahead of its reuse, and the minima of the set before that one are taken from memory; two buffers take
// turns. The branch on what passes stands behind all products of a set, so that a wrong guess leaves the tile unit with
// work.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "common/amx_tiles.h"
#include "hamming/hamming.h"

namespace warphash::hamming {
namespace {

using namespace amx;

constexpr int lanes = 16;                        // sums of a vector, queries of a tile
constexpr int set_queries = 2 * lanes;           // of a set, which has group_codes codes
constexpr int word_bytes = 2 * amx::tile_bytes;  // one word of a set's codes, or of its queries
constexpr int sum_tile = tile_rows * lanes;      // sums of a tile
constexpr int prefetch_words = 4;                // queries are brought into L1 this far ahead, or a set if that is less
static_assert(group_codes == 2 * tile_rows);

// The codes of a tile stay in L1 (48 KiB) while all queries pass by, beside two sets of queries and of sums.
int tile_codes(int words) {
  const int codes = 24 * 1024 / (64 * words) / group_codes * group_codes;
  return codes < group_codes ? group_codes : codes;
}
size_t tile_size(int words) { return static_cast<size_t>(tile_codes(words)) / group_codes * words * word_bytes; }

inline __m512i numbers() { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }

void arrange(const uint8_t* codes, int count, int bytes, void* tile) {
  const int words = (bytes + 7) / 8, whole = bytes / 8;
  const __mmask16 rest = static_cast<__mmask16>((1u << bytes % 8) - 1);
  const __m512i ones = _mm512_set1_epi8(1);
  uint8_t* set = static_cast<uint8_t*>(tile);
  for (int code = 0; code < count; code += group_codes, set += static_cast<size_t>(words) * word_bytes)
    for (int place = 0; place < group_codes; ++place) {
      uint8_t* row = set + place * tile_row_bytes;
      if (code + place >= count) {
        for (int word = 0; word < words; ++word, row += word_bytes) _mm512_store_si512(row, _mm512_setzero_si512());
        continue;
      }
      const uint8_t* from = codes + static_cast<size_t>(code + place) * bytes;
      for (int word = 0; word < whole; ++word, row += word_bytes, from += 8) {
        uint64_t bits;
        std::memcpy(&bits, from, sizeof bits);
        _mm512_store_si512(row, _mm512_maskz_mov_epi8(bits, ones));
      }
      if (rest != 0) {
        const int64_t bits = _mm_cvtsi128_si64(_mm_maskz_loadu_epi8(rest, from));
        _mm512_store_si512(row, _mm512_maskz_mov_epi8(static_cast<uint64_t>(bits), ones));
      }
    }
}

// Prepared queries: the sets, then |q| of each query as int32.
inline size_t set_count(int queries) { return (static_cast<size_t>(queries) + set_queries - 1) / set_queries; }
inline size_t sizes_offset(int queries, int words) { return set_count(queries) * words * word_bytes; }

size_t prepared_bytes(int count, int words) {
  return sizes_offset(count, words) + set_count(count) * set_queries * sizeof(int32_t);
}

void prepare(const uint64_t* queries, int count, int words, void* prepared) {
  if (count == 0) return;
  uint8_t* out = static_cast<uint8_t*>(prepared);
  int32_t* sizes = reinterpret_cast<int32_t*>(out + sizes_offset(count, words));
  // The last set's missing queries are zeros.
  const size_t last = set_count(count) - 1;
  std::memset(out + last * words * word_bytes, 0, static_cast<size_t>(words) * word_bytes);
  std::memset(sizes + last * set_queries, 0, set_queries * sizeof(int32_t));
  const __m512i plus = _mm512_set1_epi8(1), minus = _mm512_set1_epi8(-1);
  // Four bits of a query go to each of the 16 rows.
  const __m512i rows = _mm512_mullo_epi32(numbers(), _mm512_set1_epi32(tile_row_bytes));
  for (int query = 0; query < count; ++query) {
    uint8_t* column = out + static_cast<size_t>(query / set_queries) * words * word_bytes +
                      query % set_queries / lanes * amx::tile_bytes + query % lanes * 4;
    int32_t size = 0;
    for (int word = 0; word < words; ++word) {
      const uint64_t bits = queries[static_cast<size_t>(query) * words + word];
      size += static_cast<int32_t>(_mm_popcnt_u64(bits));
      _mm512_i32scatter_epi32(column + static_cast<size_t>(word) * word_bytes, rows,
                              _mm512_mask_blend_epi8(bits, plus, minus), 1);
    }
    sizes[query] = size;
  }
}

// The first code and the first query of a set.
struct Place {
  int code, query;
};

struct alignas(64) Sums {
  int32_t tiles[4][sum_tile];  // codes 0..15 x queries 0..15, codes 0..15 x queries 16..31, then codes 16..31
};

// What a scan's sets have in common, in registers.
struct Scanned {
  const uint32_t* limits;
  const int32_t* sizes;
  int queries;

  __mmask16 present(int query) const { return _mm512_cmpgt_epi32_mask(_mm512_set1_epi32(queries - query), numbers()); }
  // A sum below this is a distance below the limit. Distances are at most 2^30, below what no_limit is lowered to; of a
  // missing query both sum and bound are 0.
  __m512i bound(int query) const {
    const __m512i limit = _mm512_maskz_loadu_epi32(present(query), limits + query);
    return _mm512_sub_epi32(_mm512_min_epu32(limit, _mm512_set1_epi32(0x7fffffff)), _mm512_load_si512(sizes + query));
  }
};

// Cold: the queries of which something passes, one by one.
__attribute__((noinline)) void hand_over(const ScanCall& call, const int32_t* sizes, Place place, const Sums& sums,
                                         uint32_t hits) {
  const __m512i rows = _mm512_mullo_epi32(numbers(), _mm512_set1_epi32(lanes));
  const int left = call.codes - place.code;
  const uint32_t present = left < group_codes ? (1u << left) - 1 : ~0u;
  for (; hits != 0; hits &= hits - 1) {
    const int column = __builtin_ctz(hits), query = place.query + column;
    const __m512i size = _mm512_set1_epi32(sizes[query]),
                  limit = _mm512_set1_epi32(static_cast<int>(call.limits[query]));
    alignas(64) uint32_t keys[group_codes];
    uint32_t passed = 0;
    for (int half = 0; half < 2; ++half) {
      const int32_t* from = sums.tiles[2 * half + column / lanes] + column % lanes;
      const __m512i key = _mm512_add_epi32(_mm512_i32gather_epi32(rows, from, sizeof(int32_t)), size);
      _mm512_store_si512(keys + lanes * half, key);
      passed |= static_cast<uint32_t>(_mm512_cmplt_epu32_mask(key, limit)) << (lanes * half);
    }
    passed &= present;
    if (passed != 0)
      call.limits[query] = call.sink.offer(call.sink.state, query, call.first + place.code, keys, passed);
  }
}

// The least sum of each query in one tile.
inline __m512i least_of(const int32_t (&tile)[sum_tile]) {
  __m512i least = _mm512_load_si512(tile);
#pragma GCC unroll 15
  for (int row = 1; row < tile_rows; ++row) least = _mm512_min_epi32(least, _mm512_load_si512(tile + lanes * row));
  return least;
}

inline void compare(const ScanCall& call, const Scanned& scanned, Place place, const Sums& sums,
                    const __m512i (&least)[4]) {
  const uint32_t left = _mm512_cmplt_epi32_mask(_mm512_min_epi32(least[0], least[2]), scanned.bound(place.query));
  const uint32_t right =
      _mm512_cmplt_epi32_mask(_mm512_min_epi32(least[1], least[3]), scanned.bound(place.query + lanes));
  if (__builtin_expect((left | right) != 0, 0)) hand_over(call, scanned.sizes, place, sums, left | right << lanes);
}

inline void compare(const ScanCall& call, const Scanned& scanned, Place place, const Sums& sums) {
  const __m512i least[4] = {least_of(sums.tiles[0]), least_of(sums.tiles[1]), least_of(sums.tiles[2]),
                            least_of(sums.tiles[3])};
  compare(call, scanned, place, sums, least);
}

// A tile of sums changes hands: that of the set before goes to memory, the new set's begins, and beside it the minima
// of the set two before are taken. stage: how many sets have begun, 2 for two and more.
template <int stage, int sum, int left, int right>
inline void begin_sum(Sums& stored, const Sums& compared, __m512i (&least)[4]) {
  if constexpr (stage >= 1) store_tile<sum>(stored.tiles[sum]);
  zero_tile<sum>();
  dot_tiles<sum, left, right>();
  if constexpr (stage >= 2) least[sum] = least_of(compared.tiles[sum]);
}

// The queries of one word, brought from L2 before they are wanted; a tile load that misses L1 starts too late.
inline void prefetch_word(const uint8_t* queries) {
#pragma GCC unroll 8
  for (int line = 0; line < word_bytes; line += 64)
    _mm_prefetch(reinterpret_cast<const char*>(queries + line), _MM_HINT_T0);
}

// All products of a set; the minima of the set two before come back in `least`. more_queries: the set of queries is not
// the last, and this is its last use.
template <int stage, int fixed_words>
inline void multiply(const uint8_t* codes, const uint8_t* queries, int words, bool new_queries, bool more_queries,
                     Sums& stored, const Sums& compared, __m512i (&least)[4]) {
  const int width = fixed_words ? fixed_words : words;
  const size_t ahead = static_cast<size_t>(width < prefetch_words ? width : prefetch_words) * word_bytes;
  load_tile<4>(codes);
  // The queries of a single word stay in their tiles while all codes pass by.
  if (fixed_words != 1 || new_queries) {
    load_tile<6>(queries);
    load_tile<7>(queries + amx::tile_bytes);
  }
  load_tile<5>(codes + amx::tile_bytes);
  begin_sum<stage, 0, 4, 6>(stored, compared, least);
  begin_sum<stage, 1, 4, 7>(stored, compared, least);
  begin_sum<stage, 2, 5, 6>(stored, compared, least);
  begin_sum<stage, 3, 5, 7>(stored, compared, least);
  if (more_queries) prefetch_word(queries + ahead);
#pragma GCC unroll 4
  for (int word = 1; word < width; ++word) {
    codes += word_bytes;
    queries += word_bytes;
    load_tile<4>(codes);
    load_tile<6>(queries);
    dot_tiles<0, 4, 6>();
    load_tile<7>(queries + amx::tile_bytes);
    dot_tiles<1, 4, 7>();
    load_tile<5>(codes + amx::tile_bytes);
    dot_tiles<2, 5, 6>();
    dot_tiles<3, 5, 7>();
    if (more_queries) prefetch_word(queries + ahead);
  }
}

template <int fixed_words>
void scan_words(const ScanCall& call) {
  if (call.codes <= 0 || call.queries <= 0) return;
  const int words = fixed_words ? fixed_words : call.words, codes = call.codes;
  const size_t set_bytes = static_cast<size_t>(words) * word_bytes;
  const uint8_t* tile = static_cast<const uint8_t*>(call.tile);
  const uint8_t* prepared = static_cast<const uint8_t*>(call.prepared);
  const Scanned scanned = {call.limits, reinterpret_cast<const int32_t*>(prepared + sizes_offset(call.queries, words)),
                           call.queries};
  Sums sums[2];
  Place last = {}, before_last = {};
  __m512i least[4];
  int begun = 0;
  for (int query = 0; query < scanned.queries; query += set_queries, prepared += set_bytes) {
    const uint8_t* from = tile;
    for (int code = 0; code < codes; code += group_codes, from += set_bytes) {
      const bool fresh = code == 0, more = code + group_codes >= codes && query + set_queries < scanned.queries;
      Sums &stored = sums[(begun + 1) & 1], &compared = sums[begun & 1];
      if (__builtin_expect(begun >= 2, 1)) {
        multiply<2, fixed_words>(from, prepared, words, fresh, more, stored, compared, least);
        compare(call, scanned, before_last, compared, least);
      } else if (begun == 1) {
        multiply<1, fixed_words>(from, prepared, words, fresh, more, stored, compared, least);
      } else {
        multiply<0, fixed_words>(from, prepared, words, fresh, more, stored, compared, least);
      }
      before_last = last;
      last = {code, query};
      ++begun;
    }
  }
  Sums &stored = sums[(begun + 1) & 1], &compared = sums[begun & 1];
  store_tile<0>(stored.tiles[0]);
  store_tile<1>(stored.tiles[1]);
  store_tile<2>(stored.tiles[2]);
  store_tile<3>(stored.tiles[3]);
  if (begun >= 2) compare(call, scanned, before_last, compared);
  compare(call, scanned, last, stored);
}

void scan_distance(const ScanCall& call) {
  switch (call.words) {
    case 1: return scan_words<1>(call);
    case 2: return scan_words<2>(call);
    case 4: return scan_words<4>(call);
    default: return scan_words<0>(call);
  }
}

void begin() {
  static constexpr TileConfiguration configuration = full_tiles();
  configure_tiles(configuration);
}
void end() { release_tiles(); }

}  // namespace

const AmxKernels& kernels_amx() {
  static constexpr AmxKernels kernels = {{tile_codes, tile_size, arrange, prepared_bytes, prepare, begin, end},
                                         scan_distance};
  return kernels;
}

}  // namespace warphash::hamming
