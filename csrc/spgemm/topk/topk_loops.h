// SPDX-License-Identifier: Apache-2.0
// Loops over a window in plain C++, included by the file of each instruction set, whose flags the compiler uses.
#pragma once

#include <cstdint>

#include "spgemm/topk/topk.h"

namespace warphash::spgemm {
namespace {

inline bool within(int32_t column, int32_t base, int32_t width) {
  return static_cast<uint32_t>(column) - static_cast<uint32_t>(base) < static_cast<uint32_t>(width);
}

template <class Value>
int64_t inspect_loop(const int32_t* col, const Value* values, int64_t count, int32_t base, int32_t width, int64_t from,
                     Value* least) {
  Value lowest = *least;
  int64_t i = from;
  for (; i < count && within(col[i], base, width); ++i)
    if (const Value magnitude = __builtin_fabs(values[i]); !(magnitude >= lowest))
      lowest = magnitude > 0 ? magnitude : Value(0);
  *least = lowest;
  return i;
}

template <class Value>
void add_loop(Value* __restrict sums, const Value* __restrict row, int64_t width, Value factor) {
  for (int64_t i = 0; i < width; ++i) sums[i] += factor * row[i];
}

template <class Value>
void keep(Value value, int32_t column, bool wanted, Found<Value>* found) {
  found->values[found->count] = value;
  found->columns[found->count] = column;
  found->count += wanted;
}

}  // namespace
}  // namespace warphash::spgemm
