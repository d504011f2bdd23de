// SPDX-License-Identifier: Apache-2.0
// What surrounds the rows of a product: checks, blocks of rows with about as many products each, threads. A worker takes
// the next block as it becomes free and keeps its scratch memory over all of them; no result depends on who did what.
//
// At once, a block whose place is known, since those before it are done, is written there; another one is written to the
// worker's own memory, which stays in its cache, and copied as soon as its place is known.
#include "spgemm/product/product.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <string>

#include "common/parallel.h"
#include "spgemm/inspect/inspect.h"
#include "spgemm/product/product_places.h"
#include "spgemm/product/product_rows.h"
#include "spgemm/spgemm_blocks.h"

namespace warphash::spgemm {
namespace {

constexpr int64_t least_work = 1 << 15;  // of a block: products, and a few for each row and entry
constexpr int64_t blocks_a_worker = 16;
constexpr int64_t work_at_once = 1 << 16;                    // so that a block's entries stay in a second cache
constexpr int64_t most_sampled = 512, least_step = 16;       // rows
constexpr int64_t most_held = 16;                            // of the product's parts
constexpr int64_t worth_words = 1 << 16;                     // products
constexpr int64_t bytes_an_entry = 8, output_to_words = 11;  // what words may take beside the output

struct Kernels {
  CountRows count;
  FillRows fill;
};
Kernels kernels_of(Isa isa) {
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

// Runs body(scratch, block, first row, last row) on all blocks.
template <class Body>
void over_blocks(const std::vector<int64_t>& cuts, Body body) {
  const int64_t blocks = static_cast<int64_t>(cuts.size()) - 1;
  const int64_t workers = std::min<int64_t>(blocks, thread_count());
  std::atomic<int64_t> next{0};
  parallel_tasks_if(workers > 1, workers, [&](int64_t) {
    Scratch scratch;
    for (int64_t block; (block = next.fetch_add(1)) < blocks;) body(scratch, block, cuts[block], cuts[block + 1]);
  });
}

}  // namespace

Product::Product(Isa isa, const ProductOperands& operands, int64_t* crow)
    : isa_(isa), operands_(operands), crow_(crow) {
  require(isa);
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
  for (int64_t i = 0; i < a.rows; ++i) {
    const int64_t most = std::min(crow[i + 1], b.columns);
    products += crow[i + 1], most_ += most, most_of_a_row_ = std::max(most_of_a_row_, most);
  }
  if (products >= b.entries)
    check_rows(b, "b");
  else
    for_pieces(a.entries, entries_a_piece, [&](int64_t first, int64_t last) {
      for (int64_t k = first; k < last; ++k) check_row(b, a.col[k], "b");
    });
  if (products >= worth_words && products >= 2 * b.entries) words_.make(b);
  if (!words_.empty())
    operands_.words = WordsOfRows{words_.begin(), words_.words(), words_.alike(), words_.have_most()};
}

int64_t Product::work_of(int64_t row) const {
  const int64_t* crow = operands_.a.crow;
  return crow_[row + 1] + 4 * (crow[row + 1] - crow[row]) + 4;
}
int64_t Product::work() const {
  int64_t all = 0;
  for (int64_t i = 0; i < operands_.a.rows; ++i) all += work_of(i);
  return all;
}
void Product::cut_blocks(int64_t share) {
  cuts_ = {0};
  int64_t sum = 0;
  for (int64_t i = 0; i < operands_.a.rows; ++i) {
    sum += work_of(i);
    if (sum >= share || i + 1 == operands_.a.rows) cuts_.push_back(i + 1), sum = 0;
  }
}
void Product::sum_counts() {
  crow_[0] = 0;
  for (int64_t i = 0; i < operands_.a.rows; ++i) crow_[i + 1] += crow_[i];
}

bool Product::holds_little() const { return (thread_count() - 1) * most_of_a_row_ <= most_ / most_held; }

void Product::count() {
  const Kernels kernels = kernels_of(isa_);
  cut_blocks(std::max(least_work, work() / (blocks_a_worker * thread_count())));
  over_blocks(cuts_, [&](Scratch& scratch, int64_t, int64_t first, int64_t last) {
    kernels.count(operands_, scratch, first, last, crow_ + 1);
  });
  sum_counts();
}

void Product::fill(const ProductValues& values, const ProductOutput& output) {
  const Kernels kernels = kernels_of(isa_);
  // While entries are counted the output is not there yet; from now on words would stand beside it.
  if (words_.bytes() > entries() * bytes_an_entry / output_to_words) words_.drop(), operands_.words = {};
  over_blocks(cuts_, [&](Scratch& scratch, int64_t, int64_t first, int64_t last) {
    kernels.fill({operands_, values, scratch, first, last, crow_, output, 0, 0, nullptr});
  });
}

// From rows here and there.
int64_t Product::estimated_entries() {
  const Kernels kernels = kernels_of(isa_);
  const int64_t rows = operands_.a.rows, step = std::max(rows / most_sampled, least_step);
  Scratch scratch;
  int64_t most = 0, found = 0;
  for (int64_t i = std::min(step, rows) / 2; i < rows; i += step) {
    const int64_t products = crow_[i + 1];
    kernels.count(operands_, scratch, i, i + 1, crow_ + 1);
    found += crow_[i + 1], most += std::min(products, operands_.b.columns);
    crow_[i + 1] = products;
  }
  return most == 0 ? 0 : static_cast<int64_t>(static_cast<double>(most_) * found / most);
}

void Product::make(const ProductValues& values, const ProductOutput& output) {
  const Kernels kernels = kernels_of(isa_);
  if (!words_.empty() && words_.bytes() > estimated_entries() * bytes_an_entry / output_to_words)
    words_.drop(), operands_.words = {};
  cut_blocks(std::clamp(work() / (blocks_a_worker * thread_count()), least_work, work_at_once));
  Places places(static_cast<int64_t>(cuts_.size()) - 1);
  const int64_t end = most_ + beyond;
  const int64_t col_bytes = output.wide ? 8 : 4, value_bytes = values.a == nullptr ? 0 : bytes_of(values.type);
  const auto entries_of = [&](int64_t first, int64_t last) {
    int64_t entries = 0;
    for (int64_t i = first; i < last; ++i) entries += crow_[i + 1];
    return entries;
  };
  over_blocks(cuts_, [&](Scratch& scratch, int64_t block, int64_t first, int64_t last) {
    if (places.failed()) return;
    const Places::Failure failure(places);
    int64_t begin;
    if (places.known(block, begin)) {
      kernels.fill({operands_, values, scratch, first, last, nullptr, output, begin, end, crow_ + 1});
      places.done(block, entries_of(first, last));
      return;
    }
    int64_t most = 0;
    for (int64_t i = first; i < last; ++i) most += std::min(crow_[i + 1], operands_.b.columns);
    scratch.block_columns.reserve(static_cast<size_t>((most + beyond) * col_bytes));
    scratch.block_values.reserve(static_cast<size_t>((most + beyond) * value_bytes));
    const ProductOutput own{scratch.block_columns.data(), output.wide, scratch.block_values.data(), output.type};
    kernels.fill({operands_, values, scratch, first, last, nullptr, own, 0, most + beyond, crow_ + 1});
    const int64_t entries = entries_of(first, last);
    places.done(block, entries);
    if (!places.wait(block, begin)) return;
    std::memcpy(static_cast<char*>(output.col) + begin * col_bytes, own.col, static_cast<size_t>(entries * col_bytes));
    if (value_bytes > 0)
      std::memcpy(static_cast<char*>(output.values) + begin * value_bytes, own.values,
                  static_cast<size_t>(entries * value_bytes));
  });
  sum_counts();
}

}  // namespace warphash::spgemm
