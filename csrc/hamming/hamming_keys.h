// SPDX-License-Identifier: Apache-2.0
// Keys: what every top-k ranks by, uint32, the smaller the better; equal keys go by ascending index.
// A limit admits the keys below it; no_limit admits every key. Internal linkage, so that ISA files may include it.
#pragma once

#include <cstdint>
#include <cstring>

namespace warphash::hamming {

static constexpr uint32_t no_limit = 0xffffffffu;

static inline float float_of_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
static inline uint32_t bits_of_float(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// ---- Jaccard: similarity in [0, 1]; floats that are not negative order as their bits do ---------------------------
static constexpr uint32_t bits_of_one = 0x3f800000u;

static inline float jaccard_similarity(uint32_t intersection, uint32_t size_sum) {
  uint32_t united = size_sum - intersection;
  return united == 0 ? 1.0f : static_cast<float>(intersection) / static_cast<float>(united);
}
static inline uint32_t jaccard_key(float similarity) { return bits_of_one - bits_of_float(similarity); }
static inline float jaccard_of_key(uint32_t key) { return float_of_bits(bits_of_one - key); }
// A similarity is admitted only if intersection > floor * union. The floor is a little low, to be safe against the
// rounding of the product; what it lets through too much, the exact key turns away.
static inline float jaccard_floor(uint32_t limit) {
  return limit > bits_of_one ? -1.0f : float_of_bits(bits_of_one - limit) * (1.0f - 1e-6f);
}

// ---- Asymmetric scores: any float but NaN; -0 counts as +0 ---------------------------------------------------------
static inline uint32_t score_key(float score) {
  uint32_t bits = bits_of_float(score + 0.0f);
  return bits >> 31 ? bits : ~(bits | 0x80000000u);
}
static inline float score_of_key(uint32_t key) { return float_of_bits(key >> 31 ? key : ~key & 0x7fffffffu); }
// Admitted are the scores >= floor; a comparison that turns NaN away must be used.
static inline float score_floor(uint32_t limit) {
  constexpr uint32_t key_of_minus_infinity = 0xff800000u;
  return score_of_key(limit > key_of_minus_infinity ? key_of_minus_infinity : limit - 1);
}

}  // namespace warphash::hamming
