// SPDX-License-Identifier: Apache-2.0
// One row of the product, whatever the instruction set: which accumulator it takes and how its entries are made. `Lanes`
// is the instruction set's part. Bound: for long rows, one product a step, a load and a store of its sum; for short rows
// that scatter, a cache miss for each row of B; for all, first writes to the pages of the output.
//
// A window of columns has sums that stand ready at the semiring's zero, and flags that are only ever stored to, never read
// and changed: bits would wait for each other on the columns that all rows have. One coarse flag for 64 columns lets the
// row's entries be found in the order of columns without a look at all of them. A row whose columns span more than a window
// is taken window by window, or, where it is too short for that, its products are sorted. Entries are summed in the
// order of A's columns on all ways, so they have the same bits on all.
#pragma once

#include <cstdint>

#include "spgemm/product/product_short_rows.h"

namespace warphash::spgemm {
namespace {

constexpr int64_t most_window = int64_t{1} << 18;   // columns
constexpr int64_t window_bytes = int64_t{1} << 19;  // of sums: about half of the second cache

constexpr int64_t whole_from = 4;                  // products for 64 columns from which on coarse flags do not pay
constexpr int64_t sparse_from = 16;                // columns a product from which on sorting is faster than a window
constexpr int64_t most_sorted = int64_t{1} << 31;  // products of a row

template <class Lanes, class A>
class Rows {
  using Value = typename A::Value;

 public:
  explicit Rows(RowInputs<A>& inputs) : in_(inputs), short_(inputs), window_(window_columns(inputs.b.columns)) {}

  // The most entries that one commit of a sink has.
  int64_t piece() const { return window_; }

  // The number of entries of row i, written into the sink where there is one.
  template <bool counting>
  int64_t row(int64_t i, Sink<A>* sink) {
    const int64_t begin = in_.a.crow[i], end = in_.a.crow[i + 1];
    int64_t products = 0, rows = 0, only = begin;
    int32_t low = INT32_MAX, high = -1;
    for (int64_t k = begin; k < end; ++k) {
      const int64_t from = in_.b.crow[in_.a.col[k]], to = in_.b.crow[in_.a.col[k] + 1];
      if (from == to) continue;
      if constexpr (!counting && A::valued) __builtin_prefetch(in_.b_values + from);
      products += to - from, ++rows, only = k;
      if (in_.b.col[from] < low) low = in_.b.col[from];
      if (in_.b.col[to - 1] > high) high = in_.b.col[to - 1];
    }
    if (rows == 0) return 0;
    in_.open_exclusion(i);
    if (rows == 1) return short_.template one_row<counting>(only, sink);
    const int64_t base = low / group * group, span = high + 1 - base;
    const int64_t windows = (span + window_ - 1) / window_;
    if constexpr (Lanes::few > 0)
      if (products <= Lanes::few && span <= Lanes::few_span && span > sparse_from * products)
        return short_.template by_few<counting>(begin, end, products, static_cast<int32_t>(base), sink);
    if (products <= most_sorted && products < (windows - 1) * (end - begin) / 2)
      return short_.template by_sorting<counting>(begin, end, products, sink);
    reserve_window();
    whole_ = products * group >= whole_from * span;
    if (windows == 1) {
      if (in_.words.begin == nullptr)
        for (int64_t k = begin; k < end; ++k)
          add<counting>(k, in_.b.crow[in_.a.col[k]], in_.b.crow[in_.a.col[k] + 1], base);
      else
        for (int64_t k = begin; k < end;) k = add_row<counting>(k, end, base);
      return take<counting>(base, span, sink);
    }
    return window_by_window<counting>(begin, end, base, high + int64_t{1}, windows, sink);
  }

 private:
  static int64_t window_columns(int64_t columns) {
    int64_t most = A::valued ? window_bytes / static_cast<int64_t>(sizeof(Value)) : most_window;
    if (most > most_window) most = most_window;
    // A window begins at a multiple of 64 at or before the row's first column.
    const int64_t all = (columns + group - 1) / group * group;
    return all < most ? all : most;
  }

  void reserve_window() {
    const int64_t groups = window_ / group;
    if (!in_.scratch.flags.reserve(static_cast<size_t>(window_)) && sums_ready_) return;
    in_.scratch.coarse.reserve(static_cast<size_t>((groups + 63) / 64 * 64));
    in_.scratch.bits.reserve(static_cast<size_t>(window_ / 8));
    flags_ = in_.scratch.flags.data(), coarse_ = in_.scratch.coarse.data();
    bits_ = reinterpret_cast<uint16_t*>(in_.scratch.bits.data());
    if constexpr (A::valued) {
      const bool fresh = in_.scratch.sums.reserve(static_cast<size_t>(window_) * sizeof(Value));
      sums_ = reinterpret_cast<Value*>(in_.scratch.sums.data());
      if (fresh && A::zero() != Value(0))
        for (int64_t c = 0; c < window_; ++c) sums_[c] = A::zero();
    }
    sums_ready_ = true;
  }

  // ---- windows ----------------------------------------------------------------------------------------------------
  // Products of A's entry k with entries [from, to) of B, all within the window that begins at column base.
  template <bool counting>
  void add(int64_t k, int64_t from, int64_t to, int64_t base) {
    any_flags_ = true;
    if (whole_)
      add_entries<counting, true, false>(k, from, to, base);
    else
      add_entries<counting, true, true>(k, from, to, base);
  }
  // Their sums and, where `flagged`, their flags.
  template <bool counting, bool flagged, bool coarsely>
  void add_entries(int64_t k, int64_t from, int64_t to, int64_t base) {
    const int32_t* col = in_.b.col;
    uint8_t *flags = flags_ - base, *coarse = coarse_ - base / group;
    int64_t q = from;
    if constexpr (counting || !A::valued) {
      for (; q + 4 <= to; q += 4) mark4<flagged, coarsely>(flags, coarse, col + q);
      for (; q < to; ++q) mark<flagged, coarsely>(flags, coarse, col[q]);
    } else {
      const Value a = in_.a_values[k];
      const Value* b = in_.b_values;
      Value* sums = sums_ - base;
      // Columns of one row differ, so four sums at a time do not wait for each other.
      for (; q + 4 <= to; q += 4) {
        const uint32_t c0 = col[q], c1 = col[q + 1], c2 = col[q + 2], c3 = col[q + 3];
        const Value s0 = A::plus(sums[c0], A::times(a, b[q])), s1 = A::plus(sums[c1], A::times(a, b[q + 1]));
        const Value s2 = A::plus(sums[c2], A::times(a, b[q + 2])), s3 = A::plus(sums[c3], A::times(a, b[q + 3]));
        sums[c0] = s0, sums[c1] = s1, sums[c2] = s2, sums[c3] = s3;
        mark4<flagged, coarsely>(flags, coarse, col + q);
      }
      for (; q < to; ++q) {
        const uint32_t c = col[q];
        sums[c] = A::plus(sums[c], A::times(a, b[q]));
        mark<flagged, coarsely>(flags, coarse, c);
      }
    }
  }
  template <bool flagged, bool coarsely>
  [[gnu::always_inline]] static void mark(uint8_t* flags, uint8_t* coarse, uint32_t column) {
    if constexpr (flagged) flags[column] = 1;
    if constexpr (coarsely) coarse[column / group] = 1;
  }
  template <bool flagged, bool coarsely>
  [[gnu::always_inline]] static void mark4(uint8_t* flags, uint8_t* coarse, const int32_t* col) {
    const uint32_t c0 = col[0], c1 = col[1], c2 = col[2], c3 = col[3];
    if constexpr (flagged) flags[c0] = 1, flags[c1] = 1, flags[c2] = 1, flags[c3] = 1;
    if constexpr (coarsely)
      coarse[c0 / group] = 1, coarse[c1 / group] = 1, coarse[c2 / group] = 1, coarse[c3 / group] = 1;
  }

  // The same of whole rows that may have words, from entry k of A on; several at once where their words are of the same
  // columns. Tells the next entry.
  template <bool counting>
  int64_t add_row(int64_t k, int64_t end, int64_t base) {
    const int64_t row = in_.a.col[k], from = in_.b.crow[row], to = in_.b.crow[row + 1];
    const int64_t word = in_.words.begin[row], words = in_.words.begin[row + 1] - word;
    if (words == 0) {
      add<counting>(k, from, to, base);
      return k + 1;
    }
    int64_t rows = 1;
    while (rows < Lanes::together && k + rows < end && in_.a.col[k + rows] == row + rows && in_.words.alike[row + rows])
      ++rows;
    if (rows == 1) {
      add_words<counting>(k, from, to, word, words, base);
      return k + 1;
    }
    any_bits_ = true;
    if (whole_)
      add_alike<counting, false>(k, row, rows, in_.words.words + word, words, base);
    else
      add_alike<counting, true>(k, row, rows, in_.words.words + word, words, base);
    return k + rows;
  }
  template <bool counting, bool coarsely>
  void add_alike(int64_t k, int64_t row, int64_t rows, const Word* words, int64_t count, int64_t base) {
    uint16_t* bits = bits_ - base / 16;
    uint8_t* coarse = coarse_ - base / group;
    if constexpr (!counting && A::valued)
      if constexpr (Lanes::template adds_words<A>())
        if (adds_words() && in_.b.entries >= in_.b.crow[row + rows] + 16) {
          const Value* b[Lanes::together];
          for (int64_t r = 0; r < rows; ++r) b[r] = in_.b_values + in_.b.crow[row + r];
          return Lanes::template add_alike<A, coarsely>(in_.a_values + k, b, rows, words, count, bits, coarse,
                                                        sums_ - base);
        }
    for (const Word *word = words, *end = words + count; word < end; ++word) {
      uint32_t mask = word->mask;
      for (int64_t r = 1; r < rows; ++r) mask |= word[r * count].mask;
      bits[word->column / 16] |= static_cast<uint16_t>(mask);
      if constexpr (coarsely) coarse[word->column / group] = 1;
    }
    if constexpr (!counting && A::valued)
      for (int64_t r = 0; r < rows; ++r)
        add_entries<counting, false, false>(k + r, in_.b.crow[row + r], in_.b.crow[row + r + 1], base);
  }

  // Whether vectors add values by words, which may also only tell the columns.
  bool adds_words() const { return Lanes::template adds_few_words<A>() || in_.words.have_most; }

  // Words of one row or of its part in the window.
  template <bool counting>
  void add_words(int64_t k, int64_t from, int64_t to, int64_t word, int64_t words, int64_t base) {
    any_bits_ = true;
    if (whole_)
      add_words_of<counting, false>(k, from, to, in_.words.words + word, words, base);
    else
      add_words_of<counting, true>(k, from, to, in_.words.words + word, words, base);
  }
  template <bool counting, bool coarsely>
  void add_words_of(int64_t k, int64_t from, int64_t to, const Word* words, int64_t count, int64_t base) {
    uint16_t* bits = bits_ - base / 16;
    uint8_t* coarse = coarse_ - base / group;
    if constexpr (!counting && A::valued)
      if constexpr (Lanes::template adds_words<A>())
        if (adds_words())
          return Lanes::template add_words<A, coarsely>(in_.a_values[k], in_.b_values + from,
                                                        in_.b_values + in_.b.entries, words, count, to - from, bits,
                                                        coarse, sums_ - base);
    for (const Word *word = words, *end = words + count; word < end; ++word) {
      bits[word->column / 16] |= static_cast<uint16_t>(word->mask);
      if constexpr (coarsely) coarse[word->column / group] = 1;
    }
    if constexpr (!counting && A::valued) add_entries<counting, false, false>(k, from, to, base);
  }

  uint64_t take_bits(int64_t g) {
    uint64_t mask;
    __builtin_memcpy(&mask, bits_ + 4 * g, 8);
    __builtin_memset(bits_ + 4 * g, 0, 8);
    return mask;
  }

  // Entries of the window, whose flags and sums are as before afterwards.
  template <bool counting>
  int64_t take(int64_t base, int64_t columns, Sink<A>* sink) {
    exclude_from_window<counting>(base, base + columns);
    const int64_t groups = (columns + group - 1) / group;
    int64_t count = 0;
    const auto take_group = [&](int64_t g) {
      uint64_t mask = any_flags_ ? Lanes::take_flags(flags_ + g * group) : 0;
      if (any_bits_) mask |= take_bits(g);
      if constexpr (!counting) {
        const int32_t column = static_cast<int32_t>(base + g * group);
        if constexpr (A::valued)
          Lanes::template write<A>(mask, column, sums_ + g * group, sink->columns + count, sink->values + count,
                                   sink->room - count);
        else
          Lanes::write_columns(mask, column, sink->columns + count, sink->room - count);
      }
      count += __builtin_popcountll(mask);
    };
    if (whole_)
      for (int64_t g = 0; g < groups; ++g) take_group(g);
    else
      for (int64_t first = 0; first < groups; first += 64)
        for (uint64_t some = Lanes::take_flags(coarse_ + first); some != 0; some &= some - 1)
          take_group(first + __builtin_ctzll(some));
    any_flags_ = any_bits_ = false;
    if constexpr (!counting) sink->commit(count);
    return count;
  }

  template <bool counting>
  int64_t window_by_window(int64_t begin, int64_t end, int64_t base, int64_t limit, int64_t windows, Sink<A>* sink) {
    const int64_t rows = end - begin;
    in_.scratch.cursors.reserve(static_cast<size_t>(2 * rows) * sizeof(int64_t));
    int64_t* cursors = reinterpret_cast<int64_t*>(in_.scratch.cursors.data());
    int64_t* word_cursors = cursors + rows;
    for (int64_t k = begin; k < end; ++k) {
      cursors[k - begin] = in_.b.crow[in_.a.col[k]];
      word_cursors[k - begin] = in_.words.begin == nullptr ? 0 : in_.words.begin[in_.a.col[k]];
    }
    // Windows of about one size.
    const int64_t width = ((limit - base + windows - 1) / windows + group - 1) / group * group;
    int64_t count = 0;
    for (; base < limit; base += width) {
      const int64_t stop = base + width < limit ? base + width : limit;
      for (int64_t k = begin; k < end; ++k) {
        const int64_t from = cursors[k - begin], word = word_cursors[k - begin];
        const int64_t word_end = in_.words.begin == nullptr ? 0 : in_.words.begin[in_.a.col[k] + 1];
        if (word < word_end || (in_.words.begin != nullptr && in_.words.begin[in_.a.col[k]] < word_end)) {
          int64_t w = word, q = from;
          for (; w < word_end && in_.words.words[w].column < stop; ++w)
            q += __builtin_popcount(in_.words.words[w].mask);
          add_words<counting>(k, from, q, word, w - word, base);
          cursors[k - begin] = q, word_cursors[k - begin] = w;
        } else {
          const int64_t to = in_.b.crow[in_.a.col[k] + 1];
          int64_t q = from;
          while (q + 8 <= to && in_.b.col[q + 7] < stop) q += 8;
          while (q < to && in_.b.col[q] < stop) ++q;
          add<counting>(k, from, q, base);
          cursors[k - begin] = q;
        }
      }
      count += take<counting>(base, stop - base, sink);
    }
    return count;
  }

  template <bool counting>
  void exclude_from_window(int64_t base, int64_t stop) {
    for (; in_.excludes() && in_.exclude.col[in_.excluded] < stop; ++in_.excluded) {
      const int64_t c = in_.exclude.col[in_.excluded] - base;
      if (c < 0) continue;
      flags_[c] = 0, bits_[c / 16] &= static_cast<uint16_t>(~(1u << c % 16));
      if constexpr (!counting && A::valued) sums_[c] = A::zero();
    }
  }

  RowInputs<A>& in_;
  ShortRows<Lanes, A> short_;
  int64_t window_;
  bool sums_ready_ = false;
  uint8_t *flags_ = nullptr, *coarse_ = nullptr;
  uint16_t* bits_ = nullptr;                   // of 16 columns each
  bool any_flags_ = false, any_bits_ = false;  // in the window
  bool whole_ = false;  // the row has so many products that all of the window is looked at: no coarse flags
  Value* sums_ = nullptr;
};

}  // namespace
}  // namespace warphash::spgemm
