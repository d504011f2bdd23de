// SPDX-License-Identifier: Apache-2.0
// Which product gives each entry of a min-plus or max-times product: the pattern's columns are marked in a row of bytes,
// then each product that falls on a marked one meets the best so far. Bound: a byte looked at for each product, and a slot
// of 16 bytes for each that falls on the pattern.
#include "spgemm/numeric/numeric.h"
#include "spgemm/numeric/numeric_driver.h"
#include "spgemm/numeric/numeric_rows.h"

namespace warphash::spgemm {
namespace {

constexpr uint32_t none = 0;

template <class Value>
struct Slot {
  Value best;
  uint32_t in_a;  // the place in a's row and one; none before the first product
  int64_t in_b;
};

template <class Value, bool least>
bool wins(Value product, Value best) {
  return least ? wins_min(product, best) : wins_max(product, best);
}

template <class Value, bool least>
int64_t winner_rows(const WinnerJob& job, int64_t begin, int64_t end, Slot<Value>* slots, uint8_t* marks) {
  using Ring = std::conditional_t<least, MinPlus<Value>, MaxTimes<Value>>;
  const Value *a_values = static_cast<const Value*>(job.a_values), *b_values = static_cast<const Value*>(job.b_values);
  for (int64_t row = begin; row < end; ++row) {
    const int64_t from = job.pattern.crow[row], count = job.pattern.crow[row + 1] - from;
    if (count == 0) continue;
    const int32_t* col = job.pattern.col + from;
    if (!pattern_inside(col, count, job.pattern.columns)) return row;
    const int64_t a_begin = job.a.crow[row];
    mark(col, count, marks);
    for_hits(
        job.a, job.b, row, col, count, marks,
        [&](int64_t entry, int64_t at) {
          Slot<Value>& slot = slots[job.b.col[at]];
          const Value product = Ring::times(a_values[entry], b_values[at]);
          if (slot.in_a == none || wins<Value, least>(product, slot.best))
            slot = {product, static_cast<uint32_t>(entry - a_begin) + 1, at};
        },
        b_values);
    unmark(col, count, marks);
    for (int64_t i = 0; i < count; ++i) {
      Slot<Value>& slot = slots[col[i]];
      const bool some = slot.in_a != none;
      job.from_a[from + i] = some ? a_begin + slot.in_a - 1 : -1;
      job.from_b[from + i] = some ? slot.in_b : -1;
      slot.in_a = none;
    }
  }
  return -1;
}

template <class Value>
void winners_of(const WinnerJob& job) {
  FirstRow broken;
  const RowWork work = {job.a.crow, job.pattern.crow, job.a.rows};
  for_row_blocks(work, [&](auto& next) {
    const Workspace memory((job.pattern.columns + 1) * int64_t{sizeof(Slot<Value>)}, work.all() > job.pattern.columns);
    const DenseRow<uint8_t> marks(job.pattern.columns, 0, false);
    Slot<Value>* slots = memory.as<Slot<Value>>() + 1;
    for (int64_t begin, end; next(begin, end);)
      broken.keep(job.semiring == Semiring::min_plus
                      ? winner_rows<Value, true>(job, begin, end, slots, marks.column_0())
                      : winner_rows<Value, false>(job, begin, end, slots, marks.column_0()));
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
  with_type(sum_type(job.type), [&]<class Stored, class Sum>() {
    if constexpr (std::is_same_v<Stored, Sum> && !std::is_same_v<Sum, uint8_t>)
      winners_of<Sum>(job);
    else
      throw std::invalid_argument("winners are of numbers");
  });
}

}  // namespace warphash::spgemm
