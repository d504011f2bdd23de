// SPDX-License-Identifier: Apache-2.0
// The k largest entries of each row of a sparse product: how rows are cut into blocks, and blocks handed to threads. What a
// block does, and what bounds it, stands in topk_block.h.
#include "spgemm/topk/topk.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "common/parallel.h"
#include "spgemm/inspect/inspect.h"
#include "spgemm/topk/topk_block.h"

namespace warphash::spgemm {
namespace {

constexpr int64_t narrow_window = 4096, wide_window = 1 << 17;
constexpr int64_t most_rows = 1024, most_entries = 1 << 15, found_bytes = 7 << 18, slot_bytes = 5 << 18;
constexpr int64_t worth_threads = 1 << 16;

template <class Value>
const TopkKernels<Value>& kernels_for(Isa isa) {
  require(isa);
  switch (isa) {
    case Isa::scalar: return topk_kernels_scalar(Value());
    case Isa::avx2: return topk_kernels_avx2(Value());
    default: return topk_kernels_avx512(Value());
  }
}

template <class Value>
Sizes sizes_of(const Csr<Value>& a, const Csr<Value>& b, int64_t k, int64_t& products) {
  Sizes sizes = {};
  sizes.k = k;
  sizes.wanted = std::min(k, b.columns);
  const int64_t slack = std::max<int64_t>(sizes.wanted, 64);
  sizes.room = std::min(sizes.wanted + slack, b.columns + lanes);
  std::vector<int64_t> before(static_cast<size_t>(a.rows) + 1);
  for (int64_t row = 0; row < a.rows; ++row) {
    int64_t of_row = 0;
    for (int64_t i = a.crow[row]; i < a.crow[row + 1]; ++i)
      if (const int32_t j = a.col[i]; j >= 0 && j < b.rows) of_row += b.crow[j + 1] - b.crow[j];
    before[static_cast<size_t>(row) + 1] = before[static_cast<size_t>(row)] + of_row;
  }
  products = before.back();
  const bool narrow = products / std::max<int64_t>(a.rows, 1) * lanes >= b.columns;
  sizes.window = std::min(rounded_up(b.columns), narrow ? narrow_window : wide_window);
  const int64_t a_query = sizes.room * static_cast<int64_t>(sizeof(Value) + 4);
  const int64_t rows = std::clamp<int64_t>(found_bytes / a_query, 1, most_rows);
  const int64_t share = products / (thread_count() == 1 ? 1 : 8 * thread_count());
  sizes.cuts = {0};
  for (int64_t row = 0; row < a.rows;) {
    const int64_t first = row++;
    const auto fits = [&](int64_t to) {
      return to - first <= rows && a.crow[to] - a.crow[first] <= most_entries &&
             before[static_cast<size_t>(to)] - before[static_cast<size_t>(first)] <= share;
    };
    while (row < a.rows && fits(row + 1)) ++row;
    sizes.cuts.push_back(row);
    sizes.rows = std::max(sizes.rows, row - first);
    sizes.entries = std::max(sizes.entries, a.crow[row] - a.crow[first]);
  }
  if (narrow && sizes.rows >= least_uses)
    sizes.slots = std::min<int64_t>(slot_bytes / (sizes.window * static_cast<int64_t>(sizeof(Value))),
                                    sizes.entries / least_uses);
  return sizes;
}

template <class Rank>
void run(Isa isa, const Csr<typename Rank::Value>& a, const Csr<typename Rank::Value>& b, int64_t k, void* values,
         int64_t* indices) {
  const auto& kernels = kernels_for<typename Rank::Value>(isa);
  check_pointers(a, "a");
  check_pointers(b, "b");
  if (k == 0 || a.rows == 0) return;
  auto* out = static_cast<typename Rank::Out*>(values);
  if (b.columns == 0) {
    std::fill_n(out, a.rows * k, Rank::none());
    std::fill_n(indices, a.rows * k, int64_t{-1});
    return;
  }
  int64_t products = 0;
  const Sizes sizes = sizes_of(a, b, k, products);
  const int64_t blocks = static_cast<int64_t>(sizes.cuts.size()) - 1;
  const int64_t workers = products < worth_threads ? 1 : std::min<int64_t>(thread_count(), blocks);
  std::atomic<int64_t> next{0};
  parallel_tasks_if(workers > 1, workers, [&](int64_t) {
    Block<Rank> block(kernels, a, b, sizes);
    for (int64_t i; (i = next.fetch_add(1)) < blocks;)
      block.run(sizes.cuts[static_cast<size_t>(i)], sizes.cuts[static_cast<size_t>(i) + 1], out, indices);
  });
}

}  // namespace

void topk(Isa isa, const Csr<float>& a, const Csr<float>& b, int64_t k, Rounding rounding, void* values,
          int64_t* indices) {
  switch (rounding) {
    case Rounding::none: return run<RankFloat>(isa, a, b, k, values, indices);
    case Rounding::float16: return run<RankFloat16>(isa, a, b, k, values, indices);
    case Rounding::bfloat16: return run<RankBfloat16>(isa, a, b, k, values, indices);
  }
}
void topk(Isa isa, const Csr<double>& a, const Csr<double>& b, int64_t k, void* values, int64_t* indices) {
  run<RankDouble>(isa, a, b, k, values, indices);
}

}  // namespace warphash::spgemm
