// SPDX-License-Identifier: Apache-2.0
// What rows of the product are made of and where their entries go, whatever the instruction set.
#pragma once

#include <cstdint>

#include "spgemm/product/product_rows.h"

namespace warphash::spgemm {
namespace {

constexpr int64_t group = 64;  // columns of a coarse flag

// Stands for the semiring where there are no values.
struct NoAlgebra {
  using Value = uint8_t;
  static constexpr bool valued = false;
  static constexpr Value zero() { return 0; }
  static Value times(Value, Value) { return 0; }
  static Value plus(Value, Value) { return 0; }
};
template <class V, class Ring>
struct Algebra : Ring {
  using Value = V;
  using Semiring = Ring;
  static constexpr bool valued = true;
};

// Entries of 64 columns from `column` on whose bits are set, one by one; their sums are zero afterwards.
inline void write_columns_singly(uint64_t mask, int32_t column, int32_t* columns, int64_t room) {
  for (int64_t i = 0; mask != 0 && i < room; mask &= mask - 1) columns[i++] = column + __builtin_ctzll(mask);
}
template <class A>
void write_singly(uint64_t mask, int32_t column, typename A::Value* sums, int32_t* columns, typename A::Value* values,
                  int64_t room) {
  for (int64_t i = 0; mask != 0 && i < room; mask &= mask - 1, ++i) {
    const int bit = __builtin_ctzll(mask);
    columns[i] = column + bit, values[i] = sums[bit], sums[bit] = A::zero();
  }
}

// Where entries go: into the output itself, or into a piece that is widened or narrowed on its way there.
template <class A>
class Sink {
  using Value = typename A::Value;

 public:
  int32_t* columns = nullptr;  // of the next entries
  Value* values = nullptr;
  int64_t room = 0;  // how many entries may be put before the next commit

  Sink(const ProductOutput& output, Scratch& scratch, int64_t begin, int64_t end, int64_t most)
      : output_(output), at_(begin), direct_(!output.wide && !is_half(output.type)), room_all_(end) {
    if (direct_) {
      columns = static_cast<int32_t*>(output.col) + begin;
      if constexpr (A::valued) values = static_cast<Value*>(output.values) + begin;
      room = end - begin;
      return;
    }
    room = most;
    scratch.piece_columns.reserve(static_cast<size_t>(most) * sizeof(int32_t));
    columns = reinterpret_cast<int32_t*>(scratch.piece_columns.data());
    if constexpr (A::valued) {
      scratch.piece_values.reserve(static_cast<size_t>(most) * sizeof(Value));
      values = reinterpret_cast<Value*>(scratch.piece_values.data());
    }
  }

  void commit(int64_t count) {
    if (count > room_all_ - at_) count = room_all_ - at_;
    if (direct_) {
      columns += count, room -= count;
      if constexpr (A::valued) values += count;
    } else if (output_.wide) {
      int64_t* to = static_cast<int64_t*>(output_.col) + at_;
      for (int64_t i = 0; i < count; ++i) to[i] = columns[i];
    } else {
      int32_t* to = static_cast<int32_t*>(output_.col) + at_;
      for (int64_t i = 0; i < count; ++i) to[i] = columns[i];
    }
    if constexpr (A::valued)
      if (!direct_) commit_values(count);
    at_ += count;
  }

 private:
  void commit_values(int64_t count) {
    if (!is_half(output_.type)) {
      Value* to = static_cast<Value*>(output_.values) + at_;
      for (int64_t i = 0; i < count; ++i) to[i] = values[i];
    } else {
      uint16_t* to = static_cast<uint16_t*>(output_.values) + at_;
      if (output_.type == ValueType::float16)
        for (int64_t i = 0; i < count; ++i) to[i] = float16_of_float(static_cast<float>(values[i]));
      else
        for (int64_t i = 0; i < count; ++i) to[i] = bfloat16_of_float(static_cast<float>(values[i]));
    }
  }
  const ProductOutput& output_;
  int64_t at_;
  bool direct_;
  int64_t room_all_;
};

}  // namespace
}  // namespace warphash::spgemm
