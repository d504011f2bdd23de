// SPDX-License-Identifier: Apache-2.0
// Which product gives each entry of a min-plus or max-times product: the pattern's columns are marked open in a dense row,
// then each product that falls on an open one meets the best so far. Bound: a slot of 16 bytes looked at for each product.
#include "spgemm/inspect/inspect.h"
#include "spgemm/numeric/numeric.h"
#include "spgemm/numeric/numeric_driver.h"
#include "spgemm/numeric/numeric_rows.h"

namespace warphash::spgemm {
namespace {

constexpr int32_t closed = 0, open = 1, taken = 2;  // others: `taken` and the place in a's row

template <class Value>
struct Slot {
  Value best;
  int32_t in_a, in_b;  // places in a's row + taken, and in b's row
};

template <class Value, bool least>
bool wins(Value product, Value best) {
  return least ? wins_min(product, best) : wins_max(product, best);
}

template <class Value, bool least>
int64_t winner_rows(const WinnerJob& job, int64_t begin, int64_t end, Slot<Value>* slots) {
  using Ring = std::conditional_t<least, MinPlus<Value>, MaxTimes<Value>>;
  const Value *a_values = static_cast<const Value*>(job.a_values), *b_values = static_cast<const Value*>(job.b_values);
  for (int64_t row = begin; row < end; ++row) {
    const int64_t from = job.pattern.crow[row], count = job.pattern.crow[row + 1] - from;
    if (count == 0) continue;
    const int32_t* col = job.pattern.col + from;
    if (!pattern_inside(col, count, job.pattern.columns)) return row;
    for (int64_t i = 0; i < count; ++i) slots[col[i]].in_a = open;
    const int64_t a_begin = job.a.crow[row], a_end = job.a.crow[row + 1];
    for (int64_t entry = a_begin; entry < a_end; ++entry) {
      prefetch_row(job.a, job.b, b_values, entry, a_end);
      const int64_t b_begin = job.b.crow[job.a.col[entry]], b_end = job.b.crow[job.a.col[entry] + 1];
      for (int64_t at = b_begin; at < b_end; ++at) {
        Slot<Value>& slot = slots[job.b.col[at]];
        if (slot.in_a == closed) continue;
        const Value product = Ring::times(a_values[entry], b_values[at]);
        if (slot.in_a == open || wins<Value, least>(product, slot.best))
          slot = {product, static_cast<int32_t>(entry - a_begin) + taken, static_cast<int32_t>(at - b_begin)};
      }
    }
    for (int64_t i = 0; i < count; ++i) {
      Slot<Value>& slot = slots[col[i]];
      const bool some = col[i] >= 0 && slot.in_a >= taken;
      const int64_t in_a = a_begin + slot.in_a - taken;
      job.from_a[from + i] = some ? in_a : -1;
      job.from_b[from + i] = some ? job.b.crow[job.a.col[in_a]] + slot.in_b : -1;
      slot.in_a = closed;
    }
  }
  return -1;
}

template <class Value>
void winners_of(const WinnerJob& job) {
  FirstRow broken;
  for_row_blocks({job.a.crow, job.pattern.crow, job.a.rows}, [&](auto& next) {
    const Workspace memory((job.pattern.columns + 1) * int64_t{sizeof(Slot<Value>)}, true);
    Slot<Value>* slots = memory.as<Slot<Value>>() + 1;
    for (int64_t begin, end; next(begin, end);)
      broken.keep(job.semiring == Semiring::min_plus ? winner_rows<Value, true>(job, begin, end, slots)
                                                     : winner_rows<Value, false>(job, begin, end, slots));
  });
  broken.refuse(job.pattern, "the pattern", -1);
}

}  // namespace

void winners(Isa isa, const WinnerJob& job) {
  require(isa);
  if (job.semiring != Semiring::min_plus && job.semiring != Semiring::max_times)
    throw std::invalid_argument("winners are of min_plus and max_times");
  check_bounds(isa, job.a, "a");
  check_bounds(isa, job.b, "b");
  check_pointers(job.pattern, "the pattern");
  with_type(sum_type(job.type), [&]<class Stored, class Sum>() {
    if constexpr (std::is_same_v<Stored, Sum> && !std::is_same_v<Sum, uint8_t>)
      winners_of<Sum>(job);
    else
      throw std::invalid_argument("winners are of numbers");
  });
}

}  // namespace warphash::spgemm
