// SPDX-License-Identifier: Apache-2.0
// Tokens that two ascending lists share, by instruction set.
#pragma once

#include <cstdint>

namespace warphash::lsh {

int64_t common_tokens_scalar(const int64_t* a, int64_t a_count, const int64_t* b, int64_t b_count);
int64_t common_tokens_avx2(const int64_t* a, int64_t a_count, const int64_t* b, int64_t b_count);
int64_t common_tokens_avx512(const int64_t* a, int64_t a_count, const int64_t* b, int64_t b_count);

// Internal linkage, so that the file of each set may have its own.
namespace {

inline int64_t merged(const int64_t* a, int64_t a_count, const int64_t* b, int64_t b_count) {
  int64_t i = 0, j = 0, common = 0;
  while (i < a_count && j < b_count) {
    const int64_t x = a[i], y = b[j];
    common += x == y;
    i += x <= y;
    j += y <= x;
  }
  return common;
}

}  // namespace
}  // namespace warphash::lsh
