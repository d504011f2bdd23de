// SPDX-License-Identifier: Apache-2.0
// Densification, for the file of each instruction set and the CUDA kernels: in an unnamed namespace, so that none carries
// the code of another's flags.
#pragma once

#include <cstdint>

#include "lsh/mixing.h"
#include "lsh/sketches/sketches.h"

namespace warphash::lsh {
namespace {

// Where densification looks for the value of an empty bin.
constexpr uint32_t densify_place(uint32_t bin, uint32_t attempt, uint32_t start, uint32_t bins) {
  const uint32_t hash = fmix32(bin * 0x9E3779B1 + attempt * 0x85EBCA77 + start);
  return static_cast<uint32_t>((static_cast<uint64_t>(hash) * bins) >> 32);
}

// The value of an empty bin; the row has one that is not.
inline uint32_t densify_value(const uint32_t* row, uint32_t bin, uint32_t first_attempt, uint32_t start,
                              uint32_t bins) {
  for (uint32_t attempt = first_attempt; attempt < densify_attempts; ++attempt) {
    const uint32_t value = row[densify_place(bin, attempt, start, bins)];
    if (value != no_value) return value;
  }
  do bin = bin + 1 == bins ? 0 : bin + 1;
  while (row[bin] == no_value);
  return row[bin];
}

}  // namespace
}  // namespace warphash::lsh
