// SPDX-License-Identifier: Apache-2.0
// Loops in plain C++, included by the file of each instruction set, whose flags the compiler turns into vectors.
#pragma once

#include <cstdint>

#include "lsh/sketches/sketches_densify.h"

namespace warphash::lsh {
namespace {

inline void mix_tokens(const uint32_t* tokens, int64_t count, uint32_t* mixed) {
  for (int64_t i = 0; i < count; ++i) mixed[i] = fmix32(tokens[i]);
}
inline void mix_wide_tokens(const uint64_t* tokens, int64_t count, uint32_t* mixed) {
  for (int64_t i = 0; i < count; ++i) mixed[i] = static_cast<uint32_t>(fmix64(tokens[i]));
}

// Empty bins are listed first, without a branch that would be guessed wrong at every one of them.
inline void densify_row(const uint32_t* row, uint32_t bins, uint32_t start, uint32_t* filled) {
  constexpr uint32_t piece = 128;
  uint32_t empty[piece + 1];
  uint32_t first_full = 0;
  while (first_full < bins && row[first_full] == no_value) ++first_full;
  for (uint32_t first = 0; first < bins; first += piece) {
    const uint32_t end = bins - first < piece ? bins : first + piece;
    uint32_t count = 0;
    for (uint32_t bin = first; bin < end; ++bin) {
      filled[bin] = row[bin];
      empty[count] = bin;
      count += row[bin] == no_value;
    }
    if (first_full == bins) continue;
    for (uint32_t i = 0; i < count; ++i) filled[empty[i]] = densify_value(row, empty[i], 0, start, bins);
  }
}

// `together` bands at once: each is a chain of dependent operations.
template <int together>
void key_some(const uint32_t* row, int64_t first, int64_t values, int64_t* keys) {
  uint64_t h[together];
  for (int k = 0; k < together; ++k) h[k] = static_cast<uint64_t>(first + k);
  for (int64_t v = 0; v < values; ++v)
    for (int k = 0; k < together; ++k) {
      h[k] = (h[k] ^ row[(first + k) * values + v]) * 0x9E3779B97F4A7C15;
      h[k] ^= h[k] >> 29;
    }
  for (int k = 0; k < together; ++k) keys[first + k] = static_cast<int64_t>(fmix64(h[k]) & (~uint64_t{0} >> 1));
}
inline void key_bands(const uint32_t* row, int64_t bands, int64_t values, int64_t* keys) {
  int64_t band = 0;
  for (; band + 4 <= bands; band += 4) key_some<4>(row, band, values, keys);
  for (; band < bands; ++band) key_some<1>(row, band, values, keys);
}

// Neighbours joined until a byte is full.
inline void pack_bits(const uint32_t* row, int64_t width, int bits, uint8_t* codes) {
  constexpr int64_t piece = 128;
  uint32_t values[piece];
  for (int64_t first = 0; first < width; first += piece) {
    int64_t count = width - first < piece ? width - first : piece;
    const uint32_t mask = (1u << bits) - 1;
    for (int64_t i = 0; i < count; ++i) values[i] = fmix32(row[first + i]) & mask;
    for (int joined = bits; joined < 8; joined *= 2) {
      if (count % 2 != 0) values[count++] = 0;
      count /= 2;
      for (int64_t i = 0; i < count; ++i) values[i] = values[2 * i] | values[2 * i + 1] << joined;
    }
    for (int64_t i = 0; i < count; ++i) {
      *codes++ = static_cast<uint8_t>(values[i]);
      if (bits == 16) *codes++ = static_cast<uint8_t>(values[i] >> 8);
    }
  }
}

}  // namespace
}  // namespace warphash::lsh
