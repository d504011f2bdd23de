// SPDX-License-Identifier: Apache-2.0
// What the files of the AVX2 kernels share.
#pragma once

#include "hamming/hamming.h"

namespace warphash::hamming {

// A tile is blocks of 128 codes; a block is a line of one nibble a byte for each nibble of the words.
constexpr int block_codes = 128, word_nibbles = 16;

void arrange_avx2(const uint8_t* codes, int count, int bytes, void* tile);
void scan_score_avx2(const ScanCall& call);
void scan_rows_avx2(const uint8_t* rows, int64_t count, int bytes, int64_t first, const uint64_t* query,
                    int query_number, uint32_t* limit, const Sink& sink);

}  // namespace warphash::hamming
