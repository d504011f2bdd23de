// SPDX-License-Identifier: Apache-2.0
// What surrounds the rows of a product: checks, blocks of rows with about as many products each, threads. A worker takes
// the next block as it becomes free and keeps its scratch memory over all of them; no result depends on who did what.
#include "spgemm/product/product.h"

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>

#include "common/parallel.h"
#include "spgemm/inspect/inspect.h"
#include "spgemm/product/product_rows.h"
#include "spgemm/spgemm_blocks.h"

namespace warphash::spgemm {
namespace {

constexpr int64_t least_work = 1 << 15;  // of a block: products, and a few for each row and entry
constexpr int64_t blocks_a_worker = 16;
constexpr int64_t worth_words = 1 << 16;                     // products
constexpr int64_t bytes_an_entry = 8, output_to_words = 11;  // what words may take beside the output

struct Kernels {
  CountRows count;
  FillRows fill;
};
Kernels kernels_of(Isa isa) {
  require(isa);
  switch (isa) {
    case Isa::scalar: return {count_rows_scalar, fill_rows_scalar};
    case Isa::avx2: return {count_rows_avx2, fill_rows_avx2};
    default: return {count_rows_avx512, fill_rows_avx512};
  }
}

[[noreturn]] void refuse_column(const char* name, int64_t column, int64_t columns) {
  throw std::out_of_range(std::string(name) + "'s columns must be in [0, " + std::to_string(columns) + "), got " +
                          std::to_string(column));
}

// Columns of one row: kernels read b's first and last one as the ends of what lies between, and leave out as many entries
// where they write as where they count only if what they leave out ascends.
void check_row(const Pattern& pattern, int64_t row, const char* name) {
  const int32_t* col = pattern.col;
  const int64_t from = pattern.crow[row], to = pattern.crow[row + 1];
  bool disordered = false;
  for (int64_t q = from + 1; q < to; ++q) disordered |= col[q - 1] >= col[q];
  if (from < to && (col[from] < 0 || col[to - 1] >= pattern.columns))
    refuse_column(name, col[from] < 0 ? col[from] : col[to - 1], pattern.columns);
  if (disordered) throw std::invalid_argument(std::string(name) + "'s columns must ascend strictly in each row");
}

void check_rows(const Pattern& pattern, const char* name) {
  for_rows(pattern, [&](int64_t row) { check_row(pattern, row, name); });
}

// Runs body(scratch, first row, last row) on all blocks.
template <class Body>
void over_blocks(const std::vector<int64_t>& cuts, Body body) {
  const int64_t blocks = static_cast<int64_t>(cuts.size()) - 1;
  const int64_t workers = std::min<int64_t>(blocks, thread_count());
  std::atomic<int64_t> next{0};
  parallel_tasks_if(workers > 1, workers, [&](int64_t) {
    Scratch scratch;
    for (int64_t block; (block = next.fetch_add(1)) < blocks;) body(scratch, cuts[block], cuts[block + 1]);
  });
}

}  // namespace

Product::Product(Isa isa, const ProductOperands& operands, int64_t* crow)
    : isa_(isa), operands_(operands), crow_(crow) {
  const Kernels kernels = kernels_of(isa);
  const Pattern &a = operands.a, &b = operands.b, &exclude = operands.exclude;
  if (a.columns != b.rows) throw std::invalid_argument("a must have as many columns as b has rows");
  check_pointers(a, "a");
  check_pointers(b, "b");
  if (exclude.crow != nullptr) {
    if (exclude.rows != a.rows || exclude.columns != b.columns)
      throw std::invalid_argument("the excluded pattern must have the shape of the product");
    check_pointers(exclude, "the excluded pattern");
    check_rows(exclude, "the excluded pattern");
  }
  // Products of each row, for the time being in the place of counts. Where B has more entries than there are products,
  // only those of its rows that are asked for are checked.
  for_rows(a, [&](int64_t i) {
    int64_t products = 0;
    for (int64_t k = a.crow[i]; k < a.crow[i + 1]; ++k) {
      const int64_t row = a.col[k];
      if (row < 0 || row >= b.rows) refuse_column("a", row, b.rows);
      products += b.crow[row + 1] - b.crow[row];
    }
    crow[i + 1] = products;
  });
  int64_t products = 0;
  for (int64_t i = 0; i < a.rows; ++i) products += crow[i + 1];
  if (products >= b.entries)
    check_rows(b, "b");
  else
    for_pieces(a.entries, entries_a_piece, [&](int64_t first, int64_t last) {
      for (int64_t k = first; k < last; ++k) check_row(b, a.col[k], "b");
    });

  if (products >= worth_words && products >= 2 * b.entries) words_.make(b);
  if (!words_.empty()) operands_.words = WordsOfRows{words_.begin(), words_.words(), words_.alike()};
  cut_blocks();
  over_blocks(cuts_, [&](Scratch& scratch, int64_t first, int64_t last) {
    kernels.count(operands_, scratch, first, last, crow_ + 1);
  });
  crow[0] = 0;
  for (int64_t i = 0; i < a.rows; ++i) crow[i + 1] += crow[i];
}

void Product::cut_blocks() {
  const Pattern& a = operands_.a;
  const auto work = [&](int64_t i) { return crow_[i + 1] + 4 * (a.crow[i + 1] - a.crow[i]) + 4; };
  int64_t all = 0;
  for (int64_t i = 0; i < a.rows; ++i) all += work(i);
  const int64_t share = std::max(least_work, all / (blocks_a_worker * thread_count()));
  cuts_.push_back(0);
  int64_t sum = 0;
  for (int64_t i = 0; i < a.rows; ++i) {
    sum += work(i);
    if (sum >= share || i + 1 == a.rows) cuts_.push_back(i + 1), sum = 0;
  }
}

void Product::fill(const ProductValues& values, const ProductOutput& output) {
  const Kernels kernels = kernels_of(isa_);
  // While entries are counted the output is not there yet; from now on words would stand beside it.
  if (words_.bytes() > entries() * bytes_an_entry / output_to_words) words_.drop(), operands_.words = {};
  over_blocks(cuts_, [&](Scratch& scratch, int64_t first, int64_t last) {
    kernels.fill({operands_, values, scratch, first, last, crow_, output});
  });
}

}  // namespace warphash::spgemm
