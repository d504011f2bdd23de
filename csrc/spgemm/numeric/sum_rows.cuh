// SPDX-License-Identifier: Apache-2.0
// Values of A·B on a known pattern, and which product gives each. Bound: the loads of B's entries (12 bytes a product in
// float32, from L2), then one read and one write of shared memory a product.
//
// Rows go to warps or blocks (long_rows.cuh), their products to threads (walk.cuh), sums to shared memory (pieces.cuh); a
// row of several pieces is walked once a piece, over the parts of B's rows that it has.
#pragma once

#include "spgemm/numeric/long_rows.cuh"
#include "spgemm/numeric/pieces.cuh"
#include "spgemm/semirings.cuh"

namespace warphash::spgemm {
namespace {

template <class Value>
struct Outputs {
  void* values;  // of numeric
  ValueType type;
  int64_t *of_a, *of_b;  // of winners
};

// What comes out of a slot. B's entry is found again by its column, so that a slot need not hold it.
template <bool winners, class Value>
__device__ __forceinline__ void store(const Outputs<Value>& out, int64_t to, int32_t column, Value value, int64_t entry,
                                      const Csr<Value>& a, const Csr<Value>& b) {
  if constexpr (winners) {
    int64_t at = -1;
    if (entry >= 0) {
      const Range of_b = row_range(b, a.col[entry]);
      at = lower_bound(b.col, of_b.begin, of_b.end, column);
    }
    out.of_a[to] = entry, out.of_b[to] = at;
  } else {
    store_value(out.values, to, value, out.type);
  }
}

constexpr Parts parts_of_pattern{false, pattern_part};

// What a group has in shared memory beside its slots.
template <int group>
struct Walk {
  Chunk<group> chunk;
  unsigned claims[Turns<Group<group>>::slots];
};

template <int group, bool winners, class Value>
__device__ __forceinline__ void sum_row(Walk<group>& walk, Turns<Group<group>>& turns, unsigned char* shared, int bytes,
                                        const Csr<Value>& a, const Csr<Value>& b, const Pattern& pattern,
                                        Semiring semiring, bool covers, const Outputs<Value>& out, int64_t row,
                                        Range rest) {
  using AllSlots = Slots<Value, winners>;
  using Own = Group<group>;
  const Value zero = zero_of<Value>(semiring);
  if (rest.begin == rest.end) return;
  const Range whole = row_range(pattern, row);
  const int64_t first_of_a = row_range(a, row).begin;
  if (__ldg(pattern.col + rest.begin) < 0) {
    const int64_t before = rest.begin;
    rest.begin = lower_bound(pattern.col, before, rest.end, 0);
    for (int64_t p = before + Own::rank(); p < rest.begin; p += group) store<winners>(out, p, 0, zero, -1, a, b);
  }
  while (rest.begin < rest.end) {
    const Piece piece = next_piece<AllSlots>(pattern, rest, bytes);
    const AllSlots slots(shared, bytes, piece.is_dense);
    const int count = static_cast<int>(piece.end - rest.begin);
    for (int i = Own::rank(); i < count; i += group) {
      const int32_t column = __ldg(pattern.col + rest.begin + i);
      const unsigned slot = piece.is_dense ? unsigned(column) - unsigned(piece.base) : unsigned(i);
      if (slot >= unsigned(slots.count)) continue;
      slots.values[slot] = zero;
      if constexpr (winners) slots.entries[slot] = -1;
      if (!piece.is_dense) slots.columns[slot] = column;
    }
    Own::sync();
    const bool is_all =
        covers && piece.end == whole.end && (rest.begin == whole.begin || __ldg(pattern.col + rest.begin - 1) < 0);
    const int32_t low = is_all ? 0 : piece.base;
    const int32_t high = is_all ? b.columns : min(int64_t(__ldg(pattern.col + piece.end - 1)) + 1, b.columns);
    for_products<Own>(walk.chunk, a, b, row, low, high, [&](const Product& product) {
      int slot = -1;
      Value value{};
      if (product.active) {
        value = times(semiring, a.values[product.entry], b.values[product.at]);
        if (!piece.is_dense) {
          slot = last_not_above(slots.columns, count, product.column);
          if (slots.columns[slot] != product.column) slot = -1;
        } else if (unsigned(product.column) - unsigned(piece.base) < unsigned(slots.count)) {
          slot = product.column - piece.base;
        }
      }
      turns.in_order(slot, product.alone, [&] {
        if constexpr (winners) {
          if (slots.entries[slot] >= 0 && !wins(semiring, value, slots.values[slot])) return;
          slots.values[slot] = value;
          slots.entries[slot] = static_cast<int32_t>(product.entry - first_of_a);
        } else {
          slots.values[slot] = plus(semiring, slots.values[slot], value);
        }
      });
    });
    for (int i = Own::rank(); i < count; i += group) {
      const int32_t column = __ldg(pattern.col + rest.begin + i);
      const unsigned slot = piece.is_dense ? unsigned(column) - unsigned(piece.base) : unsigned(i);
      Value value = zero;
      int64_t entry = -1;
      if (slot < unsigned(slots.count)) {
        value = slots.values[slot];
        if constexpr (winners)
          if (slots.entries[slot] >= 0) entry = first_of_a + slots.entries[slot];
      }
      store<winners>(out, rest.begin + i, column, value, entry, a, b);
    }
    Own::sync();
    rest.begin = piece.end;
  }
}

template <int group, bool winners, class Value>
__global__ void __launch_bounds__(threads, blocks_of_multiprocessor<group>)
    sum_rows(const LongRows rows, const Csr<Value> a, const Csr<Value> b, const Pattern pattern,
             const Semiring semiring, const bool covers, const Outputs<Value> out) {
  DYNAMIC_SHARED(unsigned char, shared);
  __shared__ Walk<group> walks[threads / group];
  const int own = group == 32 ? threadIdx.x / 32 : 0;
  constexpr int bytes = group == 32 ? warp_bytes : block_bytes;
  Turns<Group<group>> turns{walks[own].claims, 0};
  turns.begin();
  for_rows<group>(a, pattern, rows, [&](int64_t row, Range entries) {
    sum_row<group, winners>(walks[own], turns, shared + own * bytes, bytes, a, b, pattern, semiring, covers, out, row,
                            entries);
  });
}

}  // namespace
}  // namespace warphash::spgemm
