// SPDX-License-Identifier: Apache-2.0
// Semirings as functors of the CPU kernels: what makes a product, what sums them, what an empty sum is. Torch-free.
//
// An entry is zero ⊕ p1 ⊕ p2 … in the order of A's columns, without fused multiply-adds, whichever kernel makes it: so its
// bits are the same everywhere.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "spgemm/spgemm.h"

namespace warphash::spgemm {
namespace {

// Integers wrap around, as torch's do: their arithmetic is done in the unsigned type of the same width.
template <class Value, bool = std::is_integral_v<Value>>
struct Arithmetic {
  using type = Value;
};
template <class Value>
struct Arithmetic<Value, true> {
  using type = std::make_unsigned_t<Value>;
};

template <class Value>
struct PlusTimes {
  static constexpr Value zero() { return Value(0); }
  static Value times(Value a, Value b) {
    using Type = typename Arithmetic<Value>::type;
    return static_cast<Value>(static_cast<Type>(a) * static_cast<Type>(b));
  }
  static Value plus(Value sum, Value product) {
    using Type = typename Arithmetic<Value>::type;
    return static_cast<Value>(static_cast<Type>(sum) + static_cast<Type>(product));
  }
};

// Values are 0 and 1.
struct OrAnd {
  static constexpr uint8_t zero() { return 0; }
  static uint8_t times(uint8_t a, uint8_t b) { return a & b; }
  static uint8_t plus(uint8_t sum, uint8_t product) { return sum | product; }
};

template <class Value>
constexpr Value largest() {
  return std::is_integral_v<Value> ? std::numeric_limits<Value>::max() : std::numeric_limits<Value>::infinity();
}
template <class Value>
constexpr Value smallest() {
  return std::is_integral_v<Value> ? std::numeric_limits<Value>::min() : -std::numeric_limits<Value>::infinity();
}

// NaN wins over every number, as in torch.minimum: `!(product >= sum)` also takes a NaN product; a NaN sum stays since
// the second comparison asks for it. Of equal products the first one stays.
template <class Value>
bool wins_min(Value product, Value sum) {
  return !(product >= sum) && sum == sum;
}
template <class Value>
bool wins_max(Value product, Value sum) {
  return !(product <= sum) && sum == sum;
}

// The better of both by one comparison and no branch that could be guessed wrong: NaN is rare.
template <class Value>
Value lesser(Value sum, Value product) {
  if constexpr (!std::is_integral_v<Value>)
    if (product != product) return sum == sum ? product : sum;
  return product < sum ? product : sum;
}
template <class Value>
Value greater(Value sum, Value product) {
  if constexpr (!std::is_integral_v<Value>)
    if (product != product) return sum == sum ? product : sum;
  return product > sum ? product : sum;
}

template <class Value>
struct MinPlus {
  static constexpr Value zero() { return largest<Value>(); }
  static Value times(Value a, Value b) { return PlusTimes<Value>::plus(a, b); }
  static Value plus(Value sum, Value product) { return lesser(sum, product); }
};

template <class Value>
struct MaxTimes {
  static constexpr Value zero() { return smallest<Value>(); }
  static Value times(Value a, Value b) { return PlusTimes<Value>::times(a, b); }
  static Value plus(Value sum, Value product) { return greater(sum, product); }
};

}  // namespace
}  // namespace warphash::spgemm
