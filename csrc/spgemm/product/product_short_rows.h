// SPDX-License-Identifier: Apache-2.0
// Rows of the product that need no window of columns, whatever the instruction set: scaled copies of one row of B, and
// products so few or so far apart that they are sorted. `Lanes` is the instruction set's part.
#pragma once

#include <cstdint>

#include "spgemm/product/product_inputs.h"
#include "spgemm/product/product_sink.h"

namespace warphash::spgemm {
namespace {

template <class Lanes, class A>
class ShortRows {
  using Value = typename A::Value;

 public:
  explicit ShortRows(RowInputs<A>& inputs) : in_(inputs) {}

  template <bool counting>
  int64_t one_row(int64_t k, Sink<A>* sink) {
    const int64_t from = in_.b.crow[in_.a.col[k]], to = in_.b.crow[in_.a.col[k] + 1];
    const bool excludes = in_.excludes();
    if constexpr (counting) {
      if (!excludes) return to - from;
      int64_t count = 0;
      for (int64_t q = from; q < to; ++q) count += !in_.is_excluded(in_.b.col[q]);
      return count;
    } else {
      int64_t count = 0, put = 0;
      for (int64_t q = from; q < to; ++q) {
        if (excludes && in_.is_excluded(in_.b.col[q])) continue;
        if (put == sink->room) sink->commit(put), put = 0;
        if (put == sink->room) break;
        sink->columns[put] = in_.b.col[q];
        if constexpr (A::valued) sink->values[put] = A::plus(A::zero(), A::times(in_.a_values[k], in_.b_values[q]));
        ++put, ++count;
      }
      sink->commit(put);
      return count;
    }
  }

  // Rows of a few products that lie far apart: keys of 32 bits, sorted in registers. Column and number of the product
  // make a key, so products of one column stay in their order.
  template <bool counting>
  int64_t by_few(int64_t begin, int64_t end, int64_t products, int32_t base, Sink<A>* sink) {
    constexpr bool with_values = !counting && A::valued;
    alignas(64) uint32_t keys[Lanes::few + 64];
    alignas(64) Value made[Lanes::few + 64];
    int64_t count = 0;
    for (int64_t k = begin; k < end; ++k) {
      const int64_t from = in_.b.crow[in_.a.col[k]], to = in_.b.crow[in_.a.col[k] + 1];
      Lanes::few_keys(in_.b.col + from, to - from, base, static_cast<uint32_t>(count), keys + count);
      if constexpr (with_values)
        for (int64_t q = from; q < to; ++q) made[count + q - from] = A::times(in_.a_values[k], in_.b_values[q]);
      count += to - from;
    }
    const int64_t distinct = Lanes::sort_few(keys, products);
    if (!in_.excludes()) {
      if constexpr (counting) return distinct;
      if (distinct == products && products <= sink->room) {
        if constexpr (!counting) Lanes::template write_few<A>(keys, products, base, made, sink->columns, sink->values);
        if constexpr (!counting) sink->commit(products);
        return products;
      }
    }
    return put_sorted<counting>(
        products, sink, [&](int64_t at) { return base + static_cast<int32_t>(keys[at] >> Lanes::few_bits); },
        [&](int64_t at) { return made[keys[at] & ((1 << Lanes::few_bits) - 1)]; });
  }

  template <bool counting>
  int64_t by_sorting(int64_t begin, int64_t end, int64_t products, Sink<A>* sink) {
    constexpr bool with_values = !counting && A::valued;
    in_.scratch.keys.reserve(static_cast<size_t>(products) * sizeof(uint64_t));
    in_.scratch.spare.reserve(static_cast<size_t>(products) * sizeof(uint64_t));
    if constexpr (with_values) in_.scratch.products.reserve(static_cast<size_t>(products) * sizeof(Value));
    uint64_t* keys = reinterpret_cast<uint64_t*>(in_.scratch.keys.data());
    Value* made = reinterpret_cast<Value*>(in_.scratch.products.data());
    int64_t count = 0;
    for (int64_t k = begin; k < end; ++k) {
      const int64_t to = in_.b.crow[in_.a.col[k] + 1];
      for (int64_t q = in_.b.crow[in_.a.col[k]]; q < to; ++q, ++count) {
        keys[count] = static_cast<uint64_t>(static_cast<uint32_t>(in_.b.col[q])) << 32 | static_cast<uint32_t>(count);
        if constexpr (with_values) made[count] = A::times(in_.a_values[k], in_.b_values[q]);
      }
    }
    // Products of one column stay in their order: it stands in the low half.
    sort_keys(keys, reinterpret_cast<uint64_t*>(in_.scratch.spare.data()), products, 32,
              32 - __builtin_clz(static_cast<uint32_t>(in_.b.columns)));
    return put_sorted<counting>(
        products, sink, [&](int64_t at) { return static_cast<int32_t>(keys[at] >> 32); },
        [&](int64_t at) { return made[static_cast<uint32_t>(keys[at])]; });
  }

 private:
  // Entries of products that are sorted by column, and within a column in the order of A's columns.
  template <bool counting, class Column, class Made>
  int64_t put_sorted(int64_t products, Sink<A>* sink, Column column_of, Made made) {
    int64_t entries = 0, put = 0;
    for (int64_t at = 0; at < products;) {
      const int32_t column = column_of(at);
      Value sum = A::zero();
      for (; at < products && column_of(at) == column; ++at)
        if constexpr (!counting && A::valued) sum = A::plus(sum, made(at));
      if (in_.is_excluded(column)) continue;
      if constexpr (!counting) {
        if (put == sink->room) sink->commit(put), put = 0;
        if (put == sink->room) break;
        sink->columns[put] = column;
        if constexpr (A::valued) sink->values[put] = sum;
        ++put;
      }
      ++entries;
    }
    if constexpr (!counting) sink->commit(put);
    return entries;
  }

  RowInputs<A>& in_;
};

}  // namespace
}  // namespace warphash::spgemm
