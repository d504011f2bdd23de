// SPDX-License-Identifier: Apache-2.0
// Rows of a table as vectors of features, for lanes that gather, and with them the whole table of kernels. Lanes offer
// read_words (1, 2, 4 or 8 32-bit words of each row), read_two_rows (a row of 1 or 2 words and the one behind it), halves
// (the two features of each word), wide and store_narrowed (as many halves as there are lanes). Internal, as hashgrid_stages.h.
#pragma once

#include <immintrin.h>

#include "common/half.h"
#include "hashgrid/hashgrid_stages.h"
#include "hashgrid/hashgrid_turn.h"

namespace warphash::hashgrid {
namespace {

// The numbers of two rows, by one load.
struct TwoRows {
  size_t first, second;
  explicit TwoRows(const uint32_t* row) {
    const uint64_t both = load<uint64_t>(row);
    first = static_cast<uint32_t>(both), second = both >> 32;
  }
};

// 8 bytes each of two rows, which begin at multiples of `step` bytes.
template <int step>
inline __m128 two_doubles(const void* base, const uint32_t* row) {
  const TwoRows at(row);
  const char* from = static_cast<const char*>(base);
  const __m128 low = _mm_castsi128_ps(_mm_loadu_si64(from + at.first * step));
  return _mm_loadh_pi(low, reinterpret_cast<const __m64*>(from + at.second * step));
}

template <class L, int width>
struct FloatRows {
  static constexpr int features = width;
  static constexpr bool pairs = width <= 2;
  const void* base;
  FloatRows(const void* rows, int, int) : base(rows) {}
  void read(const uint32_t* row, typename L::Reals* out) const {
    typename L::Words found[width];
    L::read_words(base, row, found);
    for (int f = 0; f < width; ++f) out[f] = L::floats(found[f]);
  }
  void read_two(const uint32_t* row, typename L::Reals* out) const {
    typename L::Words found[2 * width];
    L::read_two_rows(base, row, found);
    for (int f = 0; f < 2 * width; ++f) out[f] = L::floats(found[f]);
  }
};

// A word holds two features of a half type.
template <class L, TableType type, int width>
struct HalfRows {
  static constexpr int features = width;
  static constexpr bool pairs = width <= 4;
  const void* base;
  HalfRows(const void* rows, int, int) : base(rows) {}
  void read(const uint32_t* row, typename L::Reals* out) const {
    typename L::Words found[width / 2];
    L::read_words(base, row, found);
    for (int pair = 0; pair < width / 2; ++pair)
      L::template halves<type>(found[pair], out[2 * pair], out[2 * pair + 1]);
  }
  void read_two(const uint32_t* row, typename L::Reals* out) const {
    typename L::Words found[width];
    L::read_two_rows(base, row, found);
    for (int pair = 0; pair < width; ++pair) L::template halves<type>(found[pair], out[2 * pair], out[2 * pair + 1]);
  }
};

// One feature of rows of any number of features, and single halves, which no gather reads without reading past them.
template <class L, class Stored, TableType type>
struct SingleFeature {
  static constexpr int features = 1;
  static constexpr bool pairs = false;
  const Stored* base;
  int64_t stride;
  SingleFeature(const void* rows, int all, int first) : base(static_cast<const Stored*>(rows) + first), stride(all) {}
  void read(const uint32_t* row, typename L::Reals* out) const {
    Stored values[L::width];
    for (int lane = 0; lane < L::width; ++lane) values[lane] = base[row[lane] * stride];
    if constexpr (type == TableType::f32)
      out[0] = load<typename L::Reals>(values);
    else
      out[0] = L::template wide<type>(values);
  }
};

template <class L, TableType type>
void widen_as(const uint16_t* from, int64_t count, float* to) {
  int64_t i = 0;
  for (; i + L::width <= count; i += L::width) store(to + i, L::template wide<type>(from + i));
  for (; i < count; ++i) to[i] = type == TableType::f16 ? float_of_float16(from[i]) : float_of_bfloat16(from[i]);
}
template <class L>
void widen(TableType type, const uint16_t* from, int64_t count, float* to) {
  return type == TableType::f16 ? widen_as<L, TableType::f16>(from, count, to)
                                : widen_as<L, TableType::bf16>(from, count, to);
}

template <class L, TableType type>
void narrow_as(const float* from, int64_t count, uint16_t* to) {
  int64_t i = 0;
  for (; i + L::width <= count; i += L::width)
    L::template store_narrowed<type>(to + i, load<typename L::Reals>(from + i));
  for (; i < count; ++i) to[i] = type == TableType::f16 ? float16_of_float(from[i]) : bfloat16_of_float(from[i]);
}
template <class L>
void narrow(TableType type, const float* from, int64_t count, uint16_t* to) {
  return type == TableType::f16 ? narrow_as<L, TableType::f16>(from, count, to)
                                : narrow_as<L, TableType::bf16>(from, count, to);
}

template <class L, TableType type>
constexpr void set_half(Kernels<float>& kernels) {
  set_rows<L, SingleFeature<L, uint16_t, type>>(kernels, type, 0);
  set_rows<L, SingleFeature<L, uint16_t, type>>(kernels, type, 1);
  set_rows<L, HalfRows<L, type, 2>>(kernels, type, 2);
  set_rows<L, HalfRows<L, type, 4>>(kernels, type, 3);
  set_rows<L, HalfRows<L, type, 8>>(kernels, type, 4);
}

template <class L>
constexpr Kernels<float> kernels_of_lanes(Isa isa) {
  Kernels<float> kernels{};
  kernels.isa = isa;
  set_stages<L>(kernels);
  set_rows<L, SingleFeature<L, float, TableType::f32>>(kernels, TableType::f32, 0);
  set_rows<L, FloatRows<L, 1>>(kernels, TableType::f32, 1);
  set_rows<L, FloatRows<L, 2>>(kernels, TableType::f32, 2);
  set_rows<L, FloatRows<L, 4>>(kernels, TableType::f32, 3);
  set_rows<L, FloatRows<L, 8>>(kernels, TableType::f32, 4);
  set_half<L, TableType::f16>(kernels);
  set_half<L, TableType::bf16>(kernels);
  kernels.turn = turn;
  kernels.widen = widen<L>;
  kernels.narrow = narrow<L>;
  return kernels;
}

}  // namespace
}  // namespace warphash::hashgrid
