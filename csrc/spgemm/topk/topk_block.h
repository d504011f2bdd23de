// SPDX-License-Identifier: Apache-2.0
// A block of rows of a, window by window.
//
// Bound: a load, an addition and a store of the first-level cache for each product, and b's entries from wherever they
// lie. A block of rows of a walks through the columns window by window: the sums of one row and window stay in the first
// level, and what the block needs of b in that window is found once, by a cursor into each row. Rows of b that are long
// and met often are spread out over the window, so that adding one is a loop over vectors. Sums that may still be among
// the best are kept in a list a row, which is cut down to the best k when it is full; their least is what others must
// reach from then on.
//
// Whether a column has an entry: sums begin as -0. Where no product is 0 or too small for a number, a sum of products is
// never -0 again, so its bits tell; else marks do. Adding -0 changes no bit of any sum, so rows are spread out over -0,
// which a positive factor leaves as it is.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "spgemm/spgemm_workspace.h"
#include "spgemm/topk/topk.h"
#include "spgemm/topk/topk_ranking.h"

namespace warphash::spgemm {
namespace {

constexpr int64_t lanes = 16, dense_share = 10, least_uses = 3, most_prefetched = 512;

inline int64_t rounded_up(int64_t count) { return (count + lanes - 1) / lanes * lanes; }

// A function of its own, so that the loop has the registers for itself.
template <class Value>
[[gnu::noinline]] void add_entries(Value* sums, const int32_t* col, const Value* values, int64_t count, Value factor) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const int32_t c0 = col[i], c1 = col[i + 1], c2 = col[i + 2], c3 = col[i + 3];
    const Value s0 = sums[c0] + factor * values[i], s1 = sums[c1] + factor * values[i + 1];
    const Value s2 = sums[c2] + factor * values[i + 2], s3 = sums[c3] + factor * values[i + 3];
    sums[c0] = s0, sums[c1] = s1, sums[c2] = s2, sums[c3] = s3;
  }
  for (; i < count; ++i) sums[col[i]] += factor * values[i];
}

// A row of b as a block sees it.
template <class Value>
struct Row {
  int64_t at, end;  // what is left of it, from the current window on
  int64_t window;   // the window that `count` and `least` are about
  int32_t count, next, row, uses, slot;
  bool spread;
  Value least;
};

// A row of a as a block sees it.
template <class Rank>
struct Query {
  Found<typename Rank::Value> found;
  typename Rank::Key worst;    // of the best k so far, once there are as many
  typename Rank::Value floor;  // what a sum in a later column must reach
  bool all;                    // fewer than k so far: whatever it is
};

// What all blocks of a call share.
struct Sizes {
  int64_t k, wanted, room, window, slots, rows, entries;
  std::vector<int64_t> cuts;  // blocks of rows
};

template <class Rank>
class Block {
 public:
  using Value = typename Rank::Value;
  using Key = typename Rank::Key;
  using Out = typename Rank::Out;

  Block(const TopkKernels<Value>& kernels, const Csr<Value>& a, const Csr<Value>& b, const Sizes& sizes)
      : kernels_(kernels), a_(a), b_(b), sizes_(sizes) {
    const size_t room = static_cast<size_t>(sizes.room + lanes), window = static_cast<size_t>(sizes.window);
    size_t bytes = 0;
    const auto carve = [&](size_t count, size_t size) {
      const size_t at = bytes;
      bytes += (count * size + 63) / 64 * 64;
      return at;
    };
    const size_t rows = static_cast<size_t>(sizes.rows), entries = static_cast<size_t>(sizes.entries);
    const size_t sums = carve(window, sizeof(Value)), marks = carve(window, 1);
    const size_t slots = carve(window * static_cast<size_t>(sizes.slots), sizeof(Value));
    const size_t touched = carve(window / lanes + lanes, 4), order = carve(entries, 8);
    const size_t of_b = carve(entries, sizeof(Row<Value>)), terms = carve(entries, 4), active = carve(entries, 4);
    const size_t queries = carve(rows, sizeof(Query<Rank>)), keys = carve(room, sizeof(Key));
    const size_t values = carve(rows * room, sizeof(Value)), columns = carve(rows * room, 4);
    memory_.emplace(static_cast<int64_t>(bytes));
    char* from = memory_->as<char>();
    sums_ = reinterpret_cast<Value*>(from + sums), marks_ = reinterpret_cast<uint8_t*>(from + marks);
    slots_ = reinterpret_cast<Value*>(from + slots), touched_ = reinterpret_cast<int32_t*>(from + touched);
    order_ = reinterpret_cast<uint64_t*>(from + order), b_rows_ = reinterpret_cast<Row<Value>*>(from + of_b);
    terms_ = reinterpret_cast<int32_t*>(from + terms), active_ = reinterpret_cast<int32_t*>(from + active);
    queries_ = reinterpret_cast<Query<Rank>*>(from + queries), keys_ = reinterpret_cast<Key*>(from + keys);
    std::fill_n(sums_, window, Value(-0.0));
    for (size_t row = 0; row < rows; ++row)
      queries_[row].found = {reinterpret_cast<Value*>(from + values) + row * room,
                             reinterpret_cast<int32_t*>(from + columns) + row * room, 0, sizes.room};
  }

  void run(int64_t first, int64_t last, Out* values, int64_t* indices) {
    first_ = first, first_entry_ = a_.crow[first];
    prepare(a_.crow[last] - first_entry_);
    for (int64_t row = first; row < last; ++row) {
      Query<Rank>& query = queries_[row - first];
      query.found.count = 0;
      query.floor = -std::numeric_limits<Value>::infinity();
      query.all = true;
    }
    for (window_ = next_window(0); window_ >= 0; window_ = next_window(window_ + 1)) {
      base_ = static_cast<int32_t>(window_ * sizes_.window);
      width_ = static_cast<int32_t>(std::min(sizes_.window, b_.columns - base_));
      next_column_ = none;
      for (int64_t row = first; row < last; ++row) add_up(row);
    }
    for (int64_t i = 0; i < b_rows_count_; ++i)
      if (b_rows_[i].at + b_rows_[i].count != b_rows_[i].end)
        throw std::invalid_argument("b's columns must ascend and be in [0, " + std::to_string(b_.columns) + "), row " +
                                    std::to_string(b_rows_[i].row) + " has others");
    for (int64_t row = first; row < last; ++row)
      write(queries_[row - first], values + row * sizes_.k, indices + row * sizes_.k);
  }

 private:
  static constexpr int32_t none = std::numeric_limits<int32_t>::max();  // no column: they are below it

  // Which rows of b the block meets, each of them once.
  void prepare(int64_t entries) {
    for (int64_t i = 0; i < entries; ++i) {
      const int32_t row = a_.col[first_entry_ + i];
      if (row < 0 || row >= b_.rows)
        throw std::invalid_argument("a's columns must be in [0, " + std::to_string(b_.rows) + "), got " +
                                    std::to_string(row));
      order_[i] = uint64_t(row) << 32 | uint64_t(i);
    }
    std::sort(order_, order_ + entries);
    b_rows_count_ = 0;
    next_column_ = none;
    for (int64_t i = 0; i < entries; ++i) {
      const int32_t row = static_cast<int32_t>(order_[i] >> 32);
      if (i == 0 || row != b_rows_[b_rows_count_ - 1].row) {
        const int64_t at = b_.crow[row], end = b_.crow[row + 1];
        const int32_t next = at < end ? b_.col[at] : none;
        next_column_ = std::min(next_column_, next);
        b_rows_[b_rows_count_++] = {at, end, -1, 0, next, row, 0, -1, false, 0};
      }
      ++b_rows_[b_rows_count_ - 1].uses;
      terms_[order_[i] & 0xffffffff] = static_cast<int32_t>(b_rows_count_ - 1);
    }
    give_slots();
  }

  // Slots go to the rows with the most products.
  void give_slots() {
    if (sizes_.slots == 0) return;
    int64_t count = 0;
    for (int64_t i = 0; i < b_rows_count_; ++i) {
      const Row<Value>& row = b_rows_[i];
      if (row.uses < least_uses || (row.end - row.at) * dense_share < b_.columns) continue;
      order_[count++] = uint64_t(std::min<int64_t>(row.uses * (row.end - row.at), none)) << 32 | uint64_t(i);
    }
    const int64_t slots = std::min(count, sizes_.slots);
    if (slots < count) std::nth_element(order_, order_ + slots, order_ + count, std::greater<uint64_t>());
    for (int64_t slot = 0; slot < slots; ++slot) b_rows_[order_[slot] & 0xffffffff].slot = static_cast<int32_t>(slot);
  }

  // The first window from `from` on that has a column, -1 where none has. A column that was passed over belongs to no
  // window any more, so its row will be found unfinished.
  int64_t next_window(int64_t from) const {
    if (next_column_ == none || from * sizes_.window >= b_.columns) return -1;
    const int64_t window = std::max<int64_t>(from, next_column_ / sizes_.window);
    return window * sizes_.window < b_.columns ? window : -1;
  }

  [[gnu::noinline]] void inspect(Row<Value>& row) {
    row.at += row.count;
    row.count = 0;
    row.window = window_;
    row.spread = false;
    if (row.at < row.end && row.next < base_ + int64_t{width_}) {
      row.count = static_cast<int32_t>(
          kernels_.inspect(b_.col + row.at, b_.values + row.at, row.end - row.at, base_, width_, &row.least));
      const int64_t after = row.at + row.count;
      row.next = after < row.end ? b_.col[after] : none;
      if (row.slot >= 0 && row.least > 0 && row.count * dense_share >= width_) spread(row);
    }
    next_column_ = std::min(next_column_, row.next);
  }

  Value* slot_of(const Row<Value>& row) const { return slots_ + row.slot * sizes_.window; }

  void spread(Row<Value>& row) {
    Value* slot = slot_of(row);
    std::fill_n(slot, rounded_up(width_), Value(-0.0));
    for (int64_t i = row.at; i < row.at + row.count; ++i) slot[b_.col[i] - base_] = b_.values[i];
    row.spread = true;
  }

  // The window's part of a row of the product.
  [[gnu::noinline]] void add_up(int64_t row) {
    const int64_t begin = a_.crow[row], end = a_.crow[row + 1];
    constexpr Value smallest = std::numeric_limits<Value>::min(), largest = std::numeric_limits<Value>::max();
    int64_t products = 0, active = 0;
    bool telling = !flushes_;  // a sum's bits tell whether it has products
    for (int64_t i = begin; i < end; ++i) {
      Row<Value>& of_b = b_rows_[terms_[i - first_entry_]];
      if (of_b.window != window_) {
        if (i + 4 < end) {
          const Row<Value>& soon = b_rows_[terms_[i + 4 - first_entry_]];
          if (soon.window != window_)
            __builtin_prefetch(b_.col + soon.at + soon.count), __builtin_prefetch(b_.values + soon.at + soon.count);
        }
        inspect(of_b);
      }
      if (of_b.count == 0) continue;
      const Value factor = std::abs(a_.values[i]);
      telling = telling && factor <= largest && factor * of_b.least >= smallest;
      products += of_b.count;
      active_[active++] = static_cast<int32_t>(i - first_entry_);
    }
    Query<Rank>& query = queries_[row - first_];
    if (products * lanes < width_) {
      add_few(query, active);
      return;
    }
    if (telling)
      add_telling(query, active);
    else
      add_marked(query, active);
  }

  const Row<Value>& active_row(int64_t i) const { return b_rows_[terms_[active_[i]]]; }
  Value active_factor(int64_t i) const { return a_.values[first_entry_ + active_[i]]; }
  // The part of the row that comes next: it is too short for the processor to see it coming.
  void prefetch(int64_t i, int64_t active) const {
    if (i >= active) return;
    const Row<Value>& row = active_row(i);
    if (row.spread && active_factor(i) > 0) return;
    const int64_t end = row.at + std::min<int64_t>(row.count, most_prefetched);
    for (int64_t at = row.at; at < end; at += 64 / int64_t{sizeof(Value)}) {
      __builtin_prefetch(b_.col + at);
      __builtin_prefetch(b_.values + at);
    }
  }

  [[gnu::noinline]] void add_telling(Query<Rank>& query, int64_t active) {
    const int64_t width = rounded_up(width_);
    for (int64_t i = 0; i < active; ++i) {
      prefetch(i + 1, active);
      const Row<Value>& row = active_row(i);
      const Value factor = active_factor(i);
      if (row.spread && factor > 0) {
        kernels_.add(sums_, slot_of(row), width, factor);
        continue;
      }
      add_entries(sums_ - base_, b_.col + row.at, b_.values + row.at, row.count, factor);
    }
    for (int64_t at = 0;
         (at = kernels_.collect(sums_, at, width, base_, query.floor, query.all, &query.found)) < width;)
      cut_down(query);
  }

  [[gnu::noinline]] void add_marked(Query<Rank>& query, int64_t active) {
    const int64_t width = rounded_up(width_);
    for (int64_t i = 0; i < active; ++i) {
      prefetch(i + 1, active);
      const Row<Value>& row = active_row(i);
      const Value factor = active_factor(i);
      for (int64_t j = row.at; j < row.at + row.count; ++j) {
        const int32_t column = b_.col[j] - base_;
        sums_[column] += factor * b_.values[j];
        marks_[column] = 1;
      }
    }
    for (int64_t at = 0;
         (at = kernels_.collect_marked(sums_, marks_, at, width, base_, query.floor, query.all, &query.found)) < width;)
      cut_down(query);
  }

  // Few products: only the columns that they touch are looked at. These do not ascend, so equal sums are told apart here.
  [[gnu::noinline]] void add_few(Query<Rank>& query, int64_t active) {
    int64_t touched = 0;
    for (int64_t i = 0; i < active; ++i) {
      prefetch(i + 1, active);
      const Row<Value>& row = active_row(i);
      const Value factor = active_factor(i);
      for (int64_t j = row.at; j < row.at + row.count; ++j) {
        const int32_t column = b_.col[j] - base_;
        touched_[touched] = column;
        touched += marks_[column] == 0;
        marks_[column] = 1;
        sums_[column] += factor * b_.values[j];
      }
    }
    for (int64_t i = 0; i < touched; ++i) {
      const int32_t column = touched_[i];
      const Value sum = sums_[column] + Value(0);
      sums_[column] = Value(-0.0);
      marks_[column] = 0;
      if (!query.all && !Rank::better(Rank::key(sum, base_ + column), query.worst)) continue;
      if (query.found.count == query.found.room) {
        cut_down(query);
        if (!Rank::better(Rank::key(sum, base_ + column), query.worst)) continue;
      }
      query.found.values[query.found.count] = sum;
      query.found.columns[query.found.count++] = base_ + column;
    }
  }

  void make_keys(const Query<Rank>& query) {
    for (int64_t i = 0; i < query.found.count; ++i) keys_[i] = Rank::key(query.found.values[i], query.found.columns[i]);
  }

  // Keeps the best k, of more.
  void cut_down(Query<Rank>& query) {
    make_keys(query);
    std::nth_element(keys_, keys_ + sizes_.wanted - 1, keys_ + query.found.count, Rank::better);
    query.found.count = sizes_.wanted;
    for (int64_t i = 0; i < sizes_.wanted; ++i) {
      query.found.values[i] = Rank::value(keys_[i]);
      query.found.columns[i] = Rank::column(keys_[i]);
    }
    query.worst = keys_[sizes_.wanted - 1];
    query.all = false;
    const Value least = Rank::value(query.worst);
    // Above NaN is every number, above infinity none: a comparison with NaN is never true.
    query.floor = least != least ? -std::numeric_limits<Value>::infinity() : Rank::above(least);
  }

  void write(const Query<Rank>& query, Out* values, int64_t* indices) {
    const int64_t count = std::min(query.found.count, sizes_.wanted);
    make_keys(query);
    std::partial_sort(keys_, keys_ + count, keys_ + query.found.count, Rank::better);
    for (int64_t i = 0; i < count; ++i) {
      values[i] = Rank::out(keys_[i]);
      indices[i] = Rank::column(keys_[i]);
    }
    std::fill(values + count, values + sizes_.k, Rank::none());
    std::fill(indices + count, indices + sizes_.k, int64_t{-1});
  }

  const TopkKernels<Value>& kernels_;
  const Csr<Value>&a_, &b_;
  const Sizes& sizes_;
  std::optional<Workspace> memory_;  // zeros
  Value *sums_, *slots_;
  uint8_t* marks_;
  int32_t *touched_, *terms_,
      *active_;  // columns; rows of b by entry of the block; entries with products in the window
  uint64_t* order_;
  Row<Value>* b_rows_;
  Query<Rank>* queries_;
  Key* keys_;
  // Where denormals are flushed a sum of others can become -0.
  const bool flushes_ = (_mm_getcsr() & 0x8040) != 0;
  int64_t first_ = 0, first_entry_ = 0, b_rows_count_ = 0, window_ = 0;
  int32_t base_ = 0, width_ = 0, next_column_ = none;
};

}  // namespace
}  // namespace warphash::spgemm
