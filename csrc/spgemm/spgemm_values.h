// SPDX-License-Identifier: Apache-2.0
// Types of values at run time, and what each is summed in. Torch-free.
#pragma once

#include <cstdint>

#include "common/half.h"
#include "spgemm/semirings.h"
#include "spgemm/spgemm.h"

namespace warphash::spgemm {

// Values of the half types come widened to float32, are summed so, and are rounded once.
enum class ValueType : int { float32, float64, int32, int64, boolean, float16, bfloat16 };

constexpr bool is_half(ValueType type) { return type == ValueType::float16 || type == ValueType::bfloat16; }
constexpr bool is_float(ValueType type) {
  return is_half(type) || type == ValueType::float32 || type == ValueType::float64;
}
constexpr ValueType sum_type(ValueType type) { return is_half(type) ? ValueType::float32 : type; }
constexpr int64_t bytes_of(ValueType type) {
  switch (type) {
    case ValueType::boolean: return 1;
    case ValueType::float16:
    case ValueType::bfloat16: return 2;
    case ValueType::float32:
    case ValueType::int32: return 4;
    default: return 8;
  }
}

// Internal linkage, so that the file of each instruction set has its own.
namespace {

// How a sum is written.
struct Float16 {
  uint16_t bits;
};
struct Bfloat16 {
  uint16_t bits;
};
template <class Stored, class Sum>
Stored rounded(Sum sum) {
  if constexpr (std::is_same_v<Stored, Float16>)
    return {float16_of_float(sum)};
  else if constexpr (std::is_same_v<Stored, Bfloat16>)
    return {bfloat16_of_float(sum)};
  else
    return sum;
}

// Calls visit.operator()<Stored, Sum>().
template <class Visit>
auto with_type(ValueType type, Visit visit) {
  switch (type) {
    case ValueType::float32: return visit.template operator()<float, float>();
    case ValueType::float64: return visit.template operator()<double, double>();
    case ValueType::int32: return visit.template operator()<int32_t, int32_t>();
    case ValueType::int64: return visit.template operator()<int64_t, int64_t>();
    case ValueType::boolean: return visit.template operator()<uint8_t, uint8_t>();
    case ValueType::float16: return visit.template operator()<Float16, float>();
    default: return visit.template operator()<Bfloat16, float>();
  }
}

// Calls visit.operator()<Stored, Sum, Ring>(). On bool each semiring is or_and.
template <class Visit>
auto with_ring(ValueType type, Semiring semiring, Visit visit) {
  return with_type(type, [&]<class Stored, class Sum>() {
    if constexpr (std::is_same_v<Sum, uint8_t>) {
      return visit.template operator()<Stored, Sum, OrAnd>();
    } else {
      switch (semiring) {
        case Semiring::min_plus: return visit.template operator()<Stored, Sum, MinPlus<Sum>>();
        case Semiring::max_times: return visit.template operator()<Stored, Sum, MaxTimes<Sum>>();
        default: return visit.template operator()<Stored, Sum, PlusTimes<Sum>>();
      }
    }
  });
}

}  // namespace
}  // namespace warphash::spgemm
