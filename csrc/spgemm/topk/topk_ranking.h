// SPDX-License-Identifier: Apache-2.0
// How entries are ranked: as integers, the larger the better, so that NaN, both zeros and flushed denormals cannot
// confuse an order.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#include "common/half.h"
#include "spgemm/topk/topk.h"

namespace warphash::spgemm {
namespace {

// Bits of a number to integers in its order: NaN becomes 0, -inf comes next. Both zeros are equal.
template <class Bits>
Bits ordered(Bits bits, Bits infinity) {
  constexpr Bits sign = Bits(1) << (8 * sizeof(Bits) - 1);
  if ((bits & ~sign) > infinity) return 0;
  if (bits == sign) bits = 0;
  return static_cast<Bits>(bits & sign ? ~bits : bits | sign);
}

// A key holds an entry: its value's order, then its column the other way round.
struct RankFloat {
  using Value = float;
  using Out = float;
  using Key = uint64_t;
  static Key key(float sum, int32_t column) {
    return Key(ordered(bits_of_float(sum), uint32_t{0x7f800000})) << 32 | ~static_cast<uint32_t>(column);
  }
  static bool better(Key x, Key y) { return x > y; }
  static int32_t column(Key key) { return static_cast<int32_t>(~static_cast<uint32_t>(key)); }
  static float value(Key key) {
    const uint32_t order = static_cast<uint32_t>(key >> 32);
    if (order == 0) return std::numeric_limits<float>::quiet_NaN();
    return float_of_bits(order & 0x80000000 ? order ^ 0x80000000 : ~order);
  }
  static Out out(Key key) { return value(key); }
  static Out none() { return -std::numeric_limits<float>::infinity(); }
  static float above(float x) { return float_of_bits(bits_of_float(x) + (x >= 0 ? 1 : uint32_t(-1))); }
};

struct RankDouble {
  using Value = double;
  using Out = double;
  struct Key {
    uint64_t order;
    uint32_t column;
  };
  static Key key(double sum, int32_t column) {
    uint64_t bits;
    std::memcpy(&bits, &sum, 8);
    return {ordered(bits, uint64_t{0x7ff} << 52), ~static_cast<uint32_t>(column)};
  }
  static bool better(const Key& x, const Key& y) {
    return x.order != y.order ? x.order > y.order : x.column > y.column;
  }
  static int32_t column(const Key& key) { return static_cast<int32_t>(~key.column); }
  static double value(const Key& key) {
    constexpr uint64_t sign = uint64_t{1} << 63;
    if (key.order == 0) return std::numeric_limits<double>::quiet_NaN();
    const uint64_t bits = key.order & sign ? key.order ^ sign : ~key.order;
    double number;
    std::memcpy(&number, &bits, 8);
    return number;
  }
  static Out out(const Key& key) { return value(key); }
  static Out none() { return -std::numeric_limits<double>::infinity(); }
  static double above(double x) {
    uint64_t bits;
    std::memcpy(&bits, &x, 8);
    bits += x >= 0 ? 1 : ~uint64_t{0};
    std::memcpy(&x, &bits, 8);
    return x;
  }
};

// Halves are compared after they are rounded; their bits go along in the key.
template <uint16_t (*round)(float), float (*widen)(uint16_t), uint16_t infinity>
struct RankHalf {
  using Value = float;
  using Out = uint16_t;
  using Key = uint64_t;
  static Key key(float sum, int32_t column) {
    const uint16_t bits = round(sum);
    return Key(ordered(bits, infinity)) << 48 | Key(~static_cast<uint32_t>(column)) << 16 | bits;
  }
  static bool better(Key x, Key y) { return x > y; }
  static int32_t column(Key key) { return static_cast<int32_t>(~static_cast<uint32_t>(key >> 16)); }
  static float value(Key key) { return widen(out(key)); }
  static Out out(Key key) { return static_cast<Out>(key); }
  static Out none() { return static_cast<Out>(infinity | 0x8000); }
  static float above(float x) { return RankFloat::above(x); }
};
using RankFloat16 = RankHalf<float16_of_float, float_of_float16, 0x7c00>;
using RankBfloat16 = RankHalf<bfloat16_of_float, float_of_bfloat16, 0x7f80>;

}  // namespace
}  // namespace warphash::spgemm
