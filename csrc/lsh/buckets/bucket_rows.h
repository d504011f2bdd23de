// SPDX-License-Identifier: Apache-2.0
// Loops over one row, included by the file of each instruction set, whose flags the compiler turns into vectors. Sums of
// neighbours do not mix, so all sets give the same bits.
#pragma once

#include <cstdint>

#include "common/half.h"
#include "lsh/buckets/buckets.h"

namespace warphash::lsh {
namespace {

template <class Real>
void add(const Real* __restrict from, int64_t count, Real* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] += from[i];
}
inline void add_bf16(const uint16_t* __restrict from, int64_t count, float* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] += float_of_bfloat16(from[i]);
}

}  // namespace
}  // namespace warphash::lsh
