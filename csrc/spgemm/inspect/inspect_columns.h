// SPDX-License-Identifier: Apache-2.0
// Loops over columns that the compiler turns into those of the file's instruction set.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

namespace warphash::spgemm {
namespace {

template <class Index>
bool columns_inside(const Index* col, int64_t count, int64_t columns) {
  if (columns <= 0) return count == 0;
  constexpr int64_t largest = std::numeric_limits<Index>::max();
  using Bits = std::make_unsigned_t<Index>;
  const Bits last = static_cast<Bits>(columns - 1 < largest ? columns - 1 : largest);
  Bits outside = 0;  // the top bit is set by a negative column and by one above the last
  for (int64_t i = 0; i < count; ++i) outside |= static_cast<Bits>(col[i]) | (last - static_cast<Bits>(col[i]));
  return static_cast<Index>(outside) >= 0;
}

template <class Index>
int64_t column_descents(const Index* col, int64_t count) {
  Index descents = 0;  // as wide as the columns: no conversion in the loop
  for (int64_t i = 1; i < count; ++i) descents += col[i] <= col[i - 1];
  return descents;
}

}  // namespace
}  // namespace warphash::spgemm
