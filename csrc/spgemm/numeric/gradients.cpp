// SPDX-License-Identifier: Apache-2.0
// Gradients of a product's operands on their own patterns: a row of G is laid out densely, then each row of b that meets it
// is walked once, for both gradients. Bound: a gradient loaded from the cache for each product.
//
// b's gradient gathers from many rows of a. Blocks of rows have sums of their own, as long as the part of b that they meet,
// and these are added in the blocks' order. The number of blocks depends on the operands alone: so many that the sums of
// all of them are a small part of the work. Where there are more threads, each block is done by several, which share b's
// rows out among them: no sum changes thereby, only the row of G is laid out by each.
#include <algorithm>
#include <memory>
#include <type_traits>
#include <vector>

#include "spgemm/numeric/gradient_blocks.h"
#include "spgemm/numeric/numeric.h"
#include "spgemm/numeric/numeric_driver.h"

namespace warphash::spgemm {
namespace {

GradientRows kernel_for(Isa isa, ValueType type) {
  require(isa);
  if (!is_float(type)) throw std::invalid_argument("gradients are of float values");
  switch (isa) {
    case Isa::scalar: return gradient_rows_scalar(type);
    case Isa::avx2: return gradient_rows_avx2(type);
    default: return gradient_rows_avx512(type);
  }
}

// Rows of a, the part of b's entries that they meet, and its sums.
template <class Sum>
struct Block {
  int64_t begin, end, from = 0, to = 0;
  std::unique_ptr<Workspace> own = nullptr;  // none: the first block, or no entries to sum
  Sum* sums = nullptr;                       // of entry 0, though only [from, to) exist
};

template <class Sum>
std::vector<Block<Sum>> blocks_of(const GradientJob& job, const RowWork& work) {
  const int64_t products = about_products(job.a, job.b);
  const int64_t room = 2 * (job.a.entries + job.b.entries + job.pattern.entries);
  int64_t count = 1;
  if (products >= worth_blocks)
    count = std::clamp<int64_t>(std::min(products / products_a_sum, room) / job.b.entries, 1, most_gradient_blocks);
  std::vector<Block<Sum>> blocks;
  for (int64_t block = 0; block < count; ++block)
    blocks.push_back({block == 0 ? 0 : blocks.back().end,
                      block + 1 == count ? work.rows : work.row_at(work.all() / count * (block + 1))});
  for (int64_t block = 1; block < count; ++block) {
    Block<Sum>& own = blocks[block];
    const int32_t *col = job.a.col, *end = col + job.a.crow[own.end];
    int32_t least = std::numeric_limits<int32_t>::max(), most = -1;
    for (const int32_t* at = col + job.a.crow[own.begin]; at < end; ++at)
      least = std::min(least, *at), most = std::max(most, *at);
    if (most < 0) continue;
    own.from = job.b.crow[least], own.to = job.b.crow[most + 1];
  }
  return blocks;
}

// Rows of b cut into slices of about equal entries.
std::vector<int64_t> slices_of(const Pattern& b, int64_t count) {
  std::vector<int64_t> starts = {0};
  for (int64_t slice = 1; slice < count; ++slice)
    starts.push_back(std::lower_bound(b.crow, b.crow + b.rows, b.entries / count * slice) - b.crow);
  starts.push_back(b.rows);
  return starts;
}

template <class Stored, class Sum>
void gradients_of(const GradientJob& job, GradientRows rows) {
  const RowWork work = {job.a.crow, job.pattern.crow, job.a.rows};
  const bool busy = work.all() > job.pattern.columns;
  FirstRow broken;
  if (job.of_b == nullptr) {
    for_row_blocks(work, [&](auto& next) {
      const DenseRow<Sum> gradient(job.pattern.columns, 0, busy);
      for (GradientPiece piece = {0, 0, 0, job.b.rows}; next(piece.begin, piece.end);)
        broken.keep(rows(job, piece, gradient.column_0(), nullptr));
    });
    return broken.refuse(job.pattern, "the pattern");
  }
  std::vector<Block<Sum>> blocks = blocks_of<Sum>(job, work);
  constexpr bool in_place = std::is_same_v<Stored, Sum>;
  const Workspace widened(in_place ? 0 : job.b.entries * int64_t{sizeof(Sum)}, true);
  Sum* sums = in_place ? static_cast<Sum*>(job.of_b) : widened.as<Sum>();
  if (in_place) std::fill_n(sums, job.b.entries, Sum(0));
  for (Block<Sum>& block : blocks) block.sums = sums;
  for (size_t block = 1; block < blocks.size(); ++block) {
    Block<Sum>& own = blocks[block];
    if (own.from == own.to) continue;  // its entries of a have gradients all the same
    own.own = std::make_unique<Workspace>((own.to - own.from) * int64_t{sizeof(Sum)}, true);
    own.sums = own.own->template as<Sum>() - own.from;
  }

  const int64_t count = static_cast<int64_t>(blocks.size()), threads = thread_count();
  const int64_t cuts = count > 1 ? std::clamp<int64_t>((threads + count - 1) / count, 1, 8) : 1;
  const std::vector<int64_t> slices = slices_of(job.b, cuts);
  const int64_t workers = std::min(threads, count * cuts);
  std::atomic<int64_t> next{0};
  parallel_tasks_if(workers > 1, workers, [&](int64_t) {
    const DenseRow<Sum> gradient(job.pattern.columns, 0, busy);
    for (int64_t task; (task = next.fetch_add(1)) < count * cuts;) {
      const Block<Sum>& block = blocks[task / cuts];
      const int64_t slice = task % cuts;
      broken.keep(
          rows(job, {block.begin, block.end, slices[slice], slices[slice + 1]}, gradient.column_0(), block.sums));
    }
  });
  broken.refuse(job.pattern, "the pattern");
  if (in_place && count == 1) return;

  constexpr int64_t piece = 1 << 13;
  parallel_tasks_if(job.b.entries > 4 * piece, (job.b.entries + piece - 1) / piece, [&](int64_t task) {
    const int64_t begin = task * piece, end = std::min(job.b.entries, begin + piece);
    for (size_t block = 1; block < blocks.size(); ++block) {
      const Block<Sum>& own = blocks[block];
      for (int64_t at = std::max(begin, own.from); at < std::min(end, own.to); ++at) sums[at] += own.sums[at];
    }
    if constexpr (!in_place)
      for (int64_t at = begin; at < end; ++at) static_cast<Stored*>(job.of_b)[at] = rounded<Stored>(sums[at]);
  });
}

}  // namespace

void gradients(Isa isa, const GradientJob& given) {
  const GradientRows rows = kernel_for(isa, given.type);
  GradientJob job = given;
  const CheckedOperands operands(isa, job.a, job.b, job.pattern, "the pattern");
  if (job.a.entries == 0) job.of_a = nullptr;
  if (job.b.entries == 0) job.of_b = nullptr;
  if (job.of_a == nullptr && job.of_b == nullptr) return;
  with_type(job.type, [&]<class Stored, class Sum>() {
    if constexpr (std::is_floating_point_v<Sum>) gradients_of<Stored, Sum>(job, rows);
  });
}

}  // namespace warphash::spgemm
