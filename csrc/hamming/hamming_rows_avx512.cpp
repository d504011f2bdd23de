// SPDX-License-Identifier: Apache-2.0
// One query over the database as it lies.
//
// Bound: reading the rows, 10 to 30 GB/s a core from DRAM; a code of 32 bytes may take 4 cycles. So rows are not laid out
// anew: whole vectors are compared with the repeated query, and sums of one code are brought together by a tree of
// unpacks and lane shuffles that serves 8 codes at once. The rows are prefetched 8 KiB ahead, past a page's end too, where
// the hardware prefetcher stops.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "hamming/hamming_avx512.h"

namespace warphash::hamming {
namespace {

constexpr int lanes = 8, vectors = group_codes / lanes, prefetch_distance = 8192;

inline __m512i bits(__m512i query, __m512i rows) { return _mm512_popcnt_epi64(_mm512_xor_si512(query, rows)); }
// Sums neighbouring 64-bit lanes, neighbouring 128-bit lanes.
inline __m512i pair_sums(__m512i a, __m512i b) {
  return _mm512_add_epi64(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}
inline __m512i quarter_sums(__m512i a, __m512i b) {
  return _mm512_add_epi64(_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xdd));
}

struct Rows8 {  // 8 codes a vector
  static constexpr int bytes = 8;
  __m512i query;
  explicit Rows8(const uint64_t* q) : query(_mm512_set1_epi64(static_cast<int64_t>(q[0]))) {}
  __m512i distances(const uint8_t* rows) const { return bits(query, _mm512_loadu_si512(rows)); }
};

struct Rows16 {  // 4 codes a vector
  static constexpr int bytes = 16;
  __m512i query;
  explicit Rows16(const uint64_t* q)
      : query(_mm512_broadcast_i64x2(_mm_loadu_si128(reinterpret_cast<const __m128i*>(q)))) {}
  __m512i distances(const uint8_t* rows) const {
    __m512i sums = pair_sums(bits(query, _mm512_loadu_si512(rows)), bits(query, _mm512_loadu_si512(rows + 64)));
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), sums);
  }
};

struct Rows32 {  // 2 codes a vector
  static constexpr int bytes = 32;
  __m512i query;
  explicit Rows32(const uint64_t* q)
      : query(_mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(q)))) {}
  __m512i distances(const uint8_t* rows) const {
    __m512i low = pair_sums(bits(query, _mm512_loadu_si512(rows)), bits(query, _mm512_loadu_si512(rows + 64)));
    __m512i high = pair_sums(bits(query, _mm512_loadu_si512(rows + 128)), bits(query, _mm512_loadu_si512(rows + 192)));
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 1, 3, 4, 6, 5, 7), quarter_sums(low, high));
  }
};

// 8 codes of one sum vector each, brought together.
template <class Form>
inline __m512i distances_of_sums(const Form& form, const uint8_t* rows) {
  const size_t stride = static_cast<size_t>(form.bytes);
  __m512i pairs[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    pairs[i] = pair_sums(form.one(rows + 2 * i * stride), form.one(rows + (2 * i + 1) * stride));
  return quarter_sums(quarter_sums(pairs[0], pairs[1]), quarter_sums(pairs[2], pairs[3]));
}

struct RowsBlocks {  // a code takes whole vectors
  const uint64_t* query;
  int bytes;
  __m512i one(const uint8_t* row) const {
    __m512i sum = bits(_mm512_loadu_si512(query), _mm512_loadu_si512(row));
    for (int at = 64; at < bytes; at += 64)
      sum = _mm512_add_epi64(sum, bits(_mm512_loadu_si512(query + at / 8), _mm512_loadu_si512(row + at)));
    return sum;
  }
  __m512i distances(const uint8_t* rows) const { return distances_of_sums(*this, rows); }
};

struct RowsAny {  // a code takes one vector or more, the last one masked
  const uint64_t* query;
  int bytes;
  __mmask64 last;
  RowsAny(const uint64_t* q, int row_bytes) : query(q), bytes(row_bytes) {
    int left = (row_bytes - 1) % 64 + 1;
    last = left == 64 ? ~0ull : (1ull << left) - 1;
  }
  __m512i one(const uint8_t* row) const {
    __m512i sum = _mm512_setzero_si512();
    int at = 0;
    for (; at + 64 < bytes; at += 64)
      sum = _mm512_add_epi64(sum, bits(_mm512_loadu_si512(query + at / 8), _mm512_loadu_si512(row + at)));
    __mmask8 words = static_cast<__mmask8>((1u << ((bytes - at + 7) / 8)) - 1);
    return _mm512_add_epi64(
        sum, bits(_mm512_maskz_loadu_epi64(words, query + at / 8), _mm512_maskz_loadu_epi8(last, row + at)));
  }
  __m512i distances(const uint8_t* rows) const { return distances_of_sums(*this, rows); }
};

// Cold: 32 distances as 64-bit lanes, those in passed go to the sink.
__attribute__((noinline)) uint32_t hand_over(const __m512i* distances, int query_number, int64_t first, uint32_t passed,
                                             const Sink& sink) {
  alignas(64) uint32_t keys[group_codes];
  for (int i = 0; i < vectors; ++i)
    _mm256_store_si256(reinterpret_cast<__m256i*>(keys + lanes * i), _mm512_cvtepi64_epi32(distances[i]));
  return sink.offer(sink.state, query_number, first, keys, passed);
}

template <class Form>
void scan(const Form& form, const RowsAny& tail, const uint8_t* rows, int64_t count, int64_t first, int query_number,
          uint32_t* limit, const Sink& sink) {
  const size_t stride = static_cast<size_t>(form.bytes);
  __m512i bound = _mm512_set1_epi64(*limit);
  int64_t code = 0;
  for (; code + group_codes <= count; code += group_codes) {
    const uint8_t* group = rows + static_cast<size_t>(code) * stride;
    __m512i distance[vectors];
#pragma GCC unroll 4
    for (int i = 0; i < vectors; ++i) {
      const uint8_t* part = group + static_cast<size_t>(i * lanes) * stride;
      for (size_t line = 0; line < lanes * stride; line += 64)
        _mm_prefetch(reinterpret_cast<const char*>(part + line + prefetch_distance), _MM_HINT_T0);
      distance[i] = form.distances(part);
    }
    __m512i least =
        _mm512_min_epu32(_mm512_min_epu32(distance[0], distance[1]), _mm512_min_epu32(distance[2], distance[3]));
    if (__builtin_expect(_mm512_cmplt_epu64_mask(least, bound), 0)) {
      uint32_t passed = 0;
      for (int i = 0; i < vectors; ++i)
        passed |= static_cast<uint32_t>(_mm512_cmplt_epu64_mask(distance[i], bound)) << (lanes * i);
      *limit = hand_over(distance, query_number, first + code, passed, sink);
      bound = _mm512_set1_epi64(*limit);
    }
  }
  for (; code < count; ++code) {
    uint32_t key = static_cast<uint32_t>(_mm512_reduce_add_epi64(tail.one(rows + static_cast<size_t>(code) * stride)));
    if (key < *limit) *limit = sink.offer(sink.state, query_number, first + code, &key, 1);
  }
}

}  // namespace

void scan_rows_avx512(const uint8_t* rows, int64_t count, int bytes, int64_t first, const uint64_t* query,
                      int query_number, uint32_t* limit, const Sink& sink) {
  RowsAny any(query, bytes);
  switch (bytes) {
    case 8: return scan(Rows8(query), any, rows, count, first, query_number, limit, sink);
    case 16: return scan(Rows16(query), any, rows, count, first, query_number, limit, sink);
    case 32: return scan(Rows32(query), any, rows, count, first, query_number, limit, sink);
    default:
      if (bytes % 64 == 0) return scan(RowsBlocks{query, bytes}, any, rows, count, first, query_number, limit, sink);
      return scan(any, any, rows, count, first, query_number, limit, sink);
  }
}

}  // namespace warphash::hamming
