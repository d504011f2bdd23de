// SPDX-License-Identifier: Apache-2.0
// The loop of gather_distances, for the files that compile it with and without a popcount instruction. Everything here is
// static: an ISA file must not leave a copy that other files could be linked to.
//
// Bound: one cache miss a candidate (the caller has prefetched the rows), then a popcount a word.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace warphash::hamming {
namespace {

static inline uint64_t load_word(const uint8_t* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, 8);
  return word;
}

// words: the row's length in whole words if known when compiling, else 0.
template <int words>
static inline void gather_rows(const uint8_t* codes, int bytes, const uint8_t* query, const int32_t* ids, int count,
                               uint32_t* distances) {
  const int whole = words != 0 ? words : bytes / 8;
  const int left = words != 0 ? 0 : bytes % 8;
  for (int i = 0; i < count; ++i) {
    const uint8_t* row = codes + static_cast<size_t>(ids[i]) * static_cast<size_t>(bytes);
    int distance = 0;
    for (int word = 0; word < whole; ++word)
      distance += __builtin_popcountll(load_word(row + 8 * word) ^ load_word(query + 8 * word));
    if (left != 0) {
      uint64_t a = 0, b = 0;
      std::memcpy(&a, row + 8 * whole, static_cast<size_t>(left));
      std::memcpy(&b, query + 8 * whole, static_cast<size_t>(left));
      distance += __builtin_popcountll(a ^ b);
    }
    distances[i] = static_cast<uint32_t>(distance);
  }
}

static inline void gather_by_width(const uint8_t* codes, int bytes, const uint8_t* query, const int32_t* ids, int count,
                                   uint32_t* distances) {
  switch (bytes) {
    case 8: return gather_rows<1>(codes, bytes, query, ids, count, distances);
    case 16: return gather_rows<2>(codes, bytes, query, ids, count, distances);
    case 32: return gather_rows<4>(codes, bytes, query, ids, count, distances);
    default: return gather_rows<0>(codes, bytes, query, ids, count, distances);
  }
}

}  // namespace
}  // namespace warphash::hamming
