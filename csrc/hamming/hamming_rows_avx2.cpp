// SPDX-License-Identifier: Apache-2.0
// One query over the database as it lies.
//
// Bound: reading the rows from DRAM; from a cache, one xor, popcount and addition a word on the integer ports, 1 to 2 words
// a cycle. That is less work than laying a row out for the byte shuffles of a tile, which pay from a few queries on. Rows are
// prefetched 8 KiB ahead, past a page's end too, where the hardware prefetcher stops.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hamming/hamming_avx2.h"

namespace warphash::hamming {
namespace {

constexpr int prefetch_distance = 8192;

inline uint64_t load_word(const uint8_t* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// words: whole words of a row; rest: bytes after them, below 8. fixed_words 0: any words and rest.
template <int fixed_words>
inline uint32_t distance(const uint8_t* row, const uint64_t* query, int words, int rest) {
  uint64_t sum = 0;
  const int width = fixed_words ? fixed_words : words;
#pragma GCC unroll 16
  for (int word = 0; word < width; ++word)
    sum += static_cast<uint64_t>(_mm_popcnt_u64(query[word] ^ load_word(row + static_cast<size_t>(word) * 8)));
  if (fixed_words == 0 && rest != 0) {
    uint64_t last = 0;
    std::memcpy(&last, row + static_cast<size_t>(words) * 8, static_cast<size_t>(rest));
    sum += static_cast<uint64_t>(_mm_popcnt_u64(query[words] ^ last));
  }
  return static_cast<uint32_t>(sum);
}

template <int fixed_words>
void scan(const uint8_t* rows, int64_t count, int bytes, int64_t first, const uint64_t* query, int query_number,
          uint32_t* limit, const Sink& sink) {
  const int words = fixed_words ? fixed_words : bytes / 8, rest = bytes - 8 * words;
  const size_t stride = fixed_words ? size_t{8} * fixed_words : static_cast<size_t>(bytes);
  uint32_t bound = *limit;
  for (int64_t code = 0; code < count; code += group_codes) {
    const uint8_t* group = rows + static_cast<size_t>(code) * stride;
    const int codes = count - code < group_codes ? static_cast<int>(count - code) : group_codes;
    for (size_t line = 0; line < group_codes * stride; line += 64)
      _mm_prefetch(reinterpret_cast<const char*>(group + line + prefetch_distance), _MM_HINT_T0);
    for (int lane = 0; lane < codes; ++lane) {
      const uint32_t key = distance<fixed_words>(group + static_cast<size_t>(lane) * stride, query, words, rest);
      if (__builtin_expect(key < bound, 0)) bound = sink.offer(sink.state, query_number, first + code + lane, &key, 1);
    }
  }
  *limit = bound;
}

}  // namespace

void scan_rows_avx2(const uint8_t* rows, int64_t count, int bytes, int64_t first, const uint64_t* query,
                    int query_number, uint32_t* limit, const Sink& sink) {
  switch (bytes) {
    case 8: return scan<1>(rows, count, bytes, first, query, query_number, limit, sink);
    case 16: return scan<2>(rows, count, bytes, first, query, query_number, limit, sink);
    case 32: return scan<4>(rows, count, bytes, first, query, query_number, limit, sink);
    case 64: return scan<8>(rows, count, bytes, first, query, query_number, limit, sink);
    case 128: return scan<16>(rows, count, bytes, first, query, query_number, limit, sink);
    default: return scan<0>(rows, count, bytes, first, query, query_number, limit, sink);
  }
}

}  // namespace warphash::hamming
