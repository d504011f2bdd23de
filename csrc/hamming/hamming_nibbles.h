// SPDX-License-Identifier: Apache-2.0
// How every instruction set lays operands of asymmetric scores out; defined in hamming_scalar.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hamming/hamming.h"

namespace warphash::hamming {

constexpr int nibble_lanes = 16;      // codes of a group
constexpr int nibble_block = 128;     // codes that the AVX-512 kernel takes at a time; tiles hold whole blocks
constexpr int nibble_sums = 16 * 16;  // floats a 64-bit word of a query becomes: 16 nibbles of 16 sums

int nibble_tile_codes(int words);
size_t nibble_tile_bytes(int words);
void arrange_nibbles(const uint8_t* codes, int count, int bytes, void* tile);
size_t nibble_prepared_bytes(int count, int words);
void prepare_nibbles(const uint64_t* queries, int count, int words, void* prepared);

static constexpr Layout nibble_layout = {nibble_tile_codes, nibble_tile_bytes, arrange_nibbles, nibble_prepared_bytes,
                                         prepare_nibbles};

}  // namespace warphash::hamming
