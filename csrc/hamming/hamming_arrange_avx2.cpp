// SPDX-License-Identifier: Apache-2.0
// The tiles of the AVX2 kernels: one nibble a byte, nibble-major in blocks of 128 codes.
//
// Bound: reading the codes from DRAM; from a cache, about 100 operations for one word of 32 codes, what comparing it with 4
// queries costs. Rows are read a word at a time, 32 of them in turn, so the codes ahead are prefetched: with it, 32 queries
// against 1024-bit codes go 1.15 times as fast.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hamming/hamming_avx2.h"

namespace warphash::hamming {
namespace {

constexpr int prefetch_distance = 8192;

inline void store(uint8_t* at, __m256i value) { _mm256_store_si256(reinterpret_cast<__m256i*>(at), value); }

// One word of 32 codes, `stride` bytes apart, becomes 16 lines of nibbles. Four rounds of interleaving halves put the
// bytes of 16 codes side by side; the two lanes work on 16 codes each.
inline void arrange_word(const uint8_t* rows, size_t stride, uint8_t* lines) {
  __m256i a[8], b[8];
  auto word = [&](int code) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(rows + code * stride)); };
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i)
    a[i] = _mm256_set_m128i(_mm_unpacklo_epi8(word(i + 16), word(i + 24)), _mm_unpacklo_epi8(word(i), word(i + 8)));
#pragma GCC unroll 8
  for (int i = 0; i < 4; ++i) {
    b[i] = _mm256_unpacklo_epi8(a[i], a[i + 4]);
    b[i + 4] = _mm256_unpackhi_epi8(a[i], a[i + 4]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; i += 4)
#pragma GCC unroll 8
    for (int j = 0; j < 2; ++j) {
      a[i + j] = _mm256_unpacklo_epi8(b[i + j], b[i + j + 2]);
      a[i + j + 2] = _mm256_unpackhi_epi8(b[i + j], b[i + j + 2]);
    }
  const __m256i nibble = _mm256_set1_epi8(15);
#pragma GCC unroll 8
  for (int byte = 0; byte < 8; ++byte) {
    const __m256i even = a[byte & ~1], odd = a[byte | 1];
    const __m256i column = byte % 2 ? _mm256_unpackhi_epi8(even, odd) : _mm256_unpacklo_epi8(even, odd);
    uint8_t* out = lines + static_cast<size_t>(2 * byte) * block_codes;
    store(out, _mm256_and_si256(column, nibble));
    store(out + block_codes, _mm256_and_si256(_mm256_srli_epi16(column, 4), nibble));
  }
}

}  // namespace

void arrange_avx2(const uint8_t* codes, int count, int bytes, void* tile) {
  const int words = (bytes + 7) / 8;
  uint8_t* out = static_cast<uint8_t*>(tile);
  for (int code = 0; code < count; code += block_codes, out += static_cast<size_t>(block_codes) * words * word_nibbles)
    for (int group = 0; group < block_codes; group += group_codes) {
      const int first = code + group, left = count - first;
      const int rows = left < 0 ? 0 : left < group_codes ? left : group_codes;
      const uint8_t* from = codes + static_cast<size_t>(rows > 0 ? first : 0) * bytes;  // never past the end
      // Of very wide codes a part is enough to keep the memory busy.
      const size_t ahead = static_cast<size_t>(rows) * bytes < 16384 ? static_cast<size_t>(rows) * bytes : 16384;
      for (size_t line = 0; line < ahead; line += 64)
        _mm_prefetch(reinterpret_cast<const char*>(from + line + prefetch_distance), _MM_HINT_T0);
      for (int word = 0; word < words; ++word) {
        uint8_t* lines = out + group + static_cast<size_t>(word) * word_nibbles * block_codes;
        if (rows == group_codes && 8 * word + 8 <= bytes) {
          arrange_word(from + 8 * word, static_cast<size_t>(bytes), lines);
          continue;
        }
        uint64_t padded[group_codes] = {};
        const size_t width = bytes - 8 * word < 8 ? static_cast<size_t>(bytes - 8 * word) : 8;
        for (int row = 0; row < rows; ++row)
          std::memcpy(padded + row, from + static_cast<size_t>(row) * bytes + 8 * word, width);
        arrange_word(reinterpret_cast<const uint8_t*>(padded), 8, lines);
      }
    }
}

}  // namespace warphash::hamming
