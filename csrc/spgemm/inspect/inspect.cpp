// SPDX-License-Identifier: Apache-2.0
// What of a pattern is broken: one pass over the pointers, one over the columns in pieces that stay in the cache. Bound:
// reading both.
//
// Order takes no look at each row: the columns' descents are counted over all entries, then those between one row's last
// column and the next one's first. A pattern is in order if the two counts are equal.
#include "spgemm/inspect/inspect.h"

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>

#include "common/parallel.h"

namespace warphash::spgemm {
namespace {

constexpr int64_t piece = 1 << 14, worth_threads = 1 << 16;

template <class Index>
const ColumnKernels<Index>& kernels_for(Isa isa) {
  require(isa);
  switch (isa) {
    case Isa::scalar: return column_kernels_scalar(Index{});
    case Isa::avx2: return column_kernels_avx2(Index{});
    default: return column_kernels_avx512(Index{});
  }
}

// Calls body(begin, end) for pieces of [0, count).
template <class Body>
void for_pieces(int64_t count, Body&& body) {
  parallel_tasks_if(count >= worth_threads, (count + piece - 1) / piece,
                    [&](int64_t task) { body(task * piece, std::min(count, (task + 1) * piece)); });
}

void keep_least(std::atomic<int64_t>& least, int64_t value) {
  int64_t known = least;
  while (value < known && !least.compare_exchange_weak(known, value)) {
  }
}

template <class Index>
int64_t first_broken(const Index* crow, int64_t rows, int64_t entries) {
  if (crow[0] != 0) return 0;
  std::atomic<int64_t> least{rows + 1};
  for_pieces(rows, [&](int64_t begin, int64_t end) {
    int64_t descents = 0;
    for (int64_t i = begin; i < end; ++i) descents += crow[i + 1] < crow[i];
    if (descents == 0) return;
    int64_t i = begin;
    while (crow[i + 1] >= crow[i]) ++i;
    keep_least(least, i + 1);
  });
  if (least <= rows) return least;
  return crow[rows] != entries ? rows : -1;
}

template <class Index>
int64_t first_outside(const ColumnKernels<Index>& kernels, const Index* col, int64_t columns, int64_t entries) {
  std::atomic<int64_t> least{entries};
  for_pieces(entries, [&](int64_t begin, int64_t end) {
    if (begin >= least || kernels.inside(col + begin, end - begin, columns)) return;
    int64_t at = begin;
    while (col[at] >= 0 && col[at] < columns) ++at;
    keep_least(least, at);
  });
  return least < entries ? least.load() : -1;
}

template <class Index>
Inspection inspected(Isa isa, const Index* crow, const Index* col, int64_t rows, int64_t columns, int64_t entries) {
  const ColumnKernels<Index>& kernels = kernels_for<Index>(isa);
  const int64_t broken = first_broken(crow, rows, entries);
  if (broken >= 0) return {broken, -1, 0};
  std::atomic<int64_t> least{entries}, descents{0};
  for_pieces(entries, [&](int64_t begin, int64_t end) {
    if (!kernels.inside(col + begin, end - begin, columns)) {
      int64_t at = begin;
      while (col[at] >= 0 && col[at] < columns) ++at;
      keep_least(least, at);
    }
    const int64_t from = std::max<int64_t>(begin - 1, 0);
    descents += kernels.descents(col + from, end - from);
  });
  for_pieces(rows, [&](int64_t begin, int64_t end) {
    int64_t at_starts = 0;
    for (int64_t row = begin; row < end; ++row) {
      const int64_t start = crow[row];
      if (start > 0 && start < crow[row + 1]) at_starts += col[start] <= col[start - 1];
    }
    descents -= at_starts;
  });
  return {-1, least < entries ? least.load() : -1, descents != 0};
}

}  // namespace

Inspection inspect(Isa isa, const int32_t* crow, const int32_t* col, int64_t rows, int64_t columns, int64_t entries) {
  return inspected(isa, crow, col, rows, columns, entries);
}
Inspection inspect(Isa isa, const int64_t* crow, const int64_t* col, int64_t rows, int64_t columns, int64_t entries) {
  return inspected(isa, crow, col, rows, columns, entries);
}

void check_pointers(const Pattern& pattern, const char* name) {
  const int64_t broken = first_broken(pattern.crow, pattern.rows, pattern.entries);
  if (broken >= 0)
    throw std::invalid_argument(std::string(name) + "'s row pointers must ascend from 0 to the number of entries, " +
                                std::to_string(pattern.entries) + "; pointer " + std::to_string(broken) + " is " +
                                std::to_string(pattern.crow[broken]));
}

void check_bounds(Isa isa, const Pattern& pattern, const char* name) {
  check_pointers(pattern, name);
  const int64_t at = first_outside(kernels_for<int32_t>(isa), pattern.col, pattern.columns, pattern.entries);
  if (at >= 0)
    throw std::out_of_range(std::string(name) + "'s columns must be in [0, " + std::to_string(pattern.columns) +
                            "), got " + std::to_string(pattern.col[at]) + " at entry " + std::to_string(at));
}

}  // namespace warphash::spgemm
