// SPDX-License-Identifier: Apache-2.0
#include "spgemm/product/product_words.h"

#include "spgemm/spgemm_blocks.h"

namespace warphash::spgemm {

void RowWords::drop() {
  begin_.release(), words_.release(), alike_.release();
  count_ = 0;
}

void RowWords::make(const Pattern& pattern) {
  begin_.reserve((static_cast<size_t>(pattern.rows) + 1) * sizeof(int64_t));
  int64_t* begin = reinterpret_cast<int64_t*>(begin_.data());
  for_rows(pattern, [&](int64_t r) {
    const int64_t from = pattern.crow[r], to = pattern.crow[r + 1];
    int32_t words = from < to;
    for (int64_t q = from + 1; q < to; ++q) words += pattern.col[q - 1] >> 4 != pattern.col[q] >> 4;
    begin[r + 1] = 2 * words <= to - from ? words : 0;
  });
  int64_t entries = 0;
  for (int64_t r = 0; r < pattern.rows; ++r) {
    entries += begin[r + 1] > 0 ? pattern.crow[r + 1] - pattern.crow[r] : 0;
    begin[r + 1] += begin[r];
  }
  most_ = 8 * entries >= 7 * pattern.entries;
  count_ = begin[pattern.rows];
  if (empty()) return;
  words_.reserve(static_cast<size_t>(count_) * sizeof(Word));
  Word* words = reinterpret_cast<Word*>(words_.data());
  for_rows(pattern, [&](int64_t r) {
    if (begin[r] == begin[r + 1]) return;
    int64_t at = begin[r] - 1;
    int32_t number = -1;
    for (int64_t q = pattern.crow[r]; q < pattern.crow[r + 1]; ++q) {
      const int32_t c = pattern.col[q];
      if (c >> 4 != number) number = c >> 4, words[++at] = {static_cast<uint32_t>(number) * 16, 0};
      words[at].mask |= uint32_t{1} << (c & 15);
    }
  });
  alike_.reserve(static_cast<size_t>(pattern.rows));
  uint8_t* alike = alike_.data();
  for_rows(pattern, [&](int64_t r) {
    const int64_t count = begin[r + 1] - begin[r];
    if (r == 0 || count == 0 || begin[r] - begin[r - 1] != count) return;
    const Word* own = words + begin[r];
    bool same = true;
    for (int64_t w = 0; w < count; ++w) same &= own[w].column == (own - count)[w].column;
    alike[r] = same;
  });
}

}  // namespace warphash::spgemm
