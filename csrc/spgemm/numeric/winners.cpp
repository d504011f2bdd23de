// SPDX-License-Identifier: Apache-2.0
// Which product gives each entry of a min-plus or max-times product: first the values themselves, then, in a second walk,
// the first product that equals its entry's. Bound: both walks. One walk that notes who is best so far guesses wrong at
// every change, which costs more than the second.
#include "spgemm/numeric/numeric.h"
#include "spgemm/numeric/numeric_driver.h"
#include "spgemm/numeric/numeric_rows.h"

namespace warphash::spgemm {
namespace {

// Who gives an entry.
struct Winner {
  uint32_t in_a;  // the place in a's row and one; 0: none yet
  int64_t in_b;
};
template <class Value>
struct WinnerRow {
  Value* best;  // the semiring's zero before and after
  Winner* winners;
  uint8_t* marks;
  bool marked;  // products elsewhere than on the pattern are passed over
};

template <class Value, class Ring>
int64_t winner_rows(const WinnerJob& job, int64_t begin, int64_t end, const WinnerRow<Value>& dense) {
  const Value *a_values = static_cast<const Value*>(job.a_values), *b_values = static_cast<const Value*>(job.b_values);
  Value* best = dense.best;
  const uint8_t* marks = dense.marks;
  const int32_t* b_col = job.b.col;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t from = job.pattern.crow[row], count = job.pattern.crow[row + 1] - from;
    if (count == 0) continue;
    const int32_t* col = job.pattern.col + from;
    if (!pattern_inside(col, count, job.pattern.columns)) return row;
    mark(col, count, dense.marks);
    if (dense.marked) {
      for_hits(
          job.a, job.b, row, col, count, [&](int64_t, int64_t at) { return marks[b_col[at]]; },
          [&](int64_t entry, int64_t at) {
            Value& sum = best[b_col[at]];
            sum = Ring::plus(sum, Ring::times(a_values[entry], b_values[at]));
          },
          b_values);
    } else {
      add_products<Ring>(job.a, job.b, a_values, b_values, row, best);
    }
    const int64_t a_begin = job.a.crow[row];
    for_hits(
        job.a, job.b, row, col, count,
        [&](int64_t entry, int64_t at) {
          const Value product = Ring::times(a_values[entry], b_values[at]);
          // A NaN product is the first one if it wins: its entry is NaN then, and equals none.
          return int64_t{marks[b_col[at]]} & ((product == best[b_col[at]]) | (product != product));
        },
        [&](int64_t entry, int64_t at) {
          Winner& winner = dense.winners[b_col[at]];
          if (winner.in_a == 0) winner = {static_cast<uint32_t>(entry - a_begin) + 1, at};
        },
        b_values);
    if (!dense.marked) clear_products<Ring>(job.a, job.b, row, best);
    for (int64_t i = 0; i < count; ++i) {
      Winner& winner = dense.winners[col[i]];
      job.from_a[from + i] = winner.in_a != 0 ? a_begin + winner.in_a - 1 : -1;
      job.from_b[from + i] = winner.in_a != 0 ? winner.in_b : -1;
      winner.in_a = 0;
      best[col[i]] = Ring::zero();
    }
    unmark(col, count, dense.marks);
  }
  return -1;
}

template <class Value, class Ring>
void winners_of(const WinnerJob& job) {
  FirstRow broken;
  const RowWork work = {job.a.crow, job.pattern.crow, job.a.rows};
  const bool busy = work.all() > job.pattern.columns;
  const bool marked = about_products(job.a, job.b) > much_smaller * job.pattern.entries;
  for_row_blocks(work, [&](auto& next) {
    const DenseRow<Value> best(job.pattern.columns, Ring::zero(), busy);
    const DenseRow<uint8_t> marks(job.pattern.columns, 0, busy);
    const Workspace winners((job.pattern.columns + 1) * int64_t{sizeof(Winner)}, busy);
    const WinnerRow<Value> dense = {best.column_0(), winners.as<Winner>() + 1, marks.column_0(), marked};
    for (int64_t begin, end; next(begin, end);) broken.keep(winner_rows<Value, Ring>(job, begin, end, dense));
  });
  broken.refuse(job.pattern, "the pattern");
}

}  // namespace

void winners(Isa isa, const WinnerJob& given) {
  require(isa);
  if (given.semiring != Semiring::min_plus && given.semiring != Semiring::max_times)
    throw std::invalid_argument("winners are of min_plus and max_times");
  WinnerJob job = given;
  const CheckedOperands operands(isa, job.a, job.b, job.pattern, "the pattern");
  with_ring(sum_type(job.type), job.semiring, [&]<class Stored, class Sum, class Ring>() {
    if constexpr (std::is_same_v<Stored, Sum> && !std::is_same_v<Ring, OrAnd> && !std::is_same_v<Ring, PlusTimes<Sum>>)
      winners_of<Sum, Ring>(job);
    else
      throw std::invalid_argument("winners are of numbers");
  });
}

}  // namespace warphash::spgemm
