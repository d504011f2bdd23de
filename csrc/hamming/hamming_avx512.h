// SPDX-License-Identifier: Apache-2.0
// The pieces of the AVX-512 kernels that stand in files of their own.
#pragma once

#include "hamming/hamming.h"

namespace warphash::hamming {

void scan_rows_avx512(const uint8_t* rows, int64_t count, int bytes, int64_t first, const uint64_t* query,
                      int query_number, uint32_t* limit, const Sink& sink);
void scan_score_avx512(const ScanCall& call);

}  // namespace warphash::hamming
