// SPDX-License-Identifier: Apache-2.0
// Windows of sums by what the compiler's baseline gives. Bound: a load, a comparison and a store for every four sums.
//
// Sixteen sums are looked at together, since after the first windows hardly one in a thousand is large enough.
#include <cstring>
#include <limits>

#include "common/half.h"
#include "spgemm/topk/topk_loops.h"

namespace warphash::spgemm {
namespace {

constexpr int64_t group = 16;

bool touched(float sum) { return bits_of_float(sum) != 0x80000000; }
bool touched(double sum) {
  uint64_t bits;
  std::memcpy(&bits, &sum, 8);
  return bits != uint64_t{1} << 63;
}

template <class Value>
int64_t inspect(const int32_t* col, const Value* values, int64_t count, int32_t base, int32_t width, Value* least) {
  *least = std::numeric_limits<Value>::infinity();
  return inspect_loop(col, values, count, base, width, 0, least);
}

template <class Value>
int64_t collect(Value* sums, int64_t begin, int64_t width, int32_t base, Value floor, bool all, Found<Value>* found) {
  for (int64_t i = begin; i < width; i += group) {
    int any = 0;
    for (int64_t j = i; j < i + group; ++j) any |= all ? touched(sums[j]) : sums[j] >= floor;
    if (any) {
      if (found->count + group > found->room) return i;
      for (int64_t j = i; j < i + group; ++j)
        keep(sums[j], base + static_cast<int32_t>(j), touched(sums[j]) && (all || sums[j] >= floor), found);
    }
    for (int64_t j = i; j < i + group; ++j) sums[j] = Value(-0.0);
  }
  return width;
}

template <class Value>
int64_t collect_marked(Value* sums, uint8_t* marks, int64_t begin, int64_t width, int32_t base, Value floor, bool all,
                       Found<Value>* found) {
  for (int64_t i = begin; i < width; i += group) {
    int any = 0;
    for (int64_t j = i; j < i + group; ++j) any |= marks[j];
    if (!any) continue;
    if (found->count + group > found->room) return i;
    for (int64_t j = i; j < i + group; ++j) {
      const Value sum = sums[j] + Value(0);
      keep(sum, base + static_cast<int32_t>(j), marks[j] != 0 && (all || sum >= floor), found);
      sums[j] = Value(-0.0);
      marks[j] = 0;
    }
  }
  return width;
}

template <class Value>
constexpr TopkKernels<Value> kernels = {inspect<Value>, add_loop<Value>, collect<Value>, collect_marked<Value>};

}  // namespace

const TopkKernels<float>& topk_kernels_scalar(float) { return kernels<float>; }
const TopkKernels<double>& topk_kernels_scalar(double) { return kernels<double>; }

}  // namespace warphash::spgemm
