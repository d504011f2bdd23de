// SPDX-License-Identifier: Apache-2.0
#include "hamming/hamming_plan.h"

#include <cstring>
#include <stdexcept>

#include "common/isa.h"
#include "common/parallel.h"

namespace warphash::hamming {
namespace {

// Reading a tile and laying it out costs as much as comparing it with 2 to 10 queries; for a block of so many it is little.
constexpr int64_t amortised_queries = 256;
// Rows as they lie beat tiles for one query (1.1 to 1.6 times, Zen 5); for two, tiles win by as much.
constexpr int row_queries = 1;
// AMX widens bits to bytes first; below this many queries VPOPCNTDQ should be as fast.
// From counted cycles (two blocks of the kernel's 32 queries): to be measured on a machine that has AMX.
constexpr int amx_queries = 64;

}  // namespace

Choice kernels_for(Isa isa) {
  require(isa);
  switch (isa) {
    case Isa::scalar: return {&kernels_scalar(), nullptr};
    case Isa::avx2: return {&kernels_avx2(), nullptr};
    case Isa::avx512: return {&kernels_avx512(), nullptr};
    case Isa::amx: return {&kernels_avx512(), amx_permitted() ? &kernels_amx() : nullptr};
  }
  throw std::runtime_error("unknown instruction set");
}

Choice best_kernels() { return kernels_for(chosen_isa()); }

Family family_for(const Choice& choice, Metric metric, int queries) {
  const Kernels& kernels = *choice.kernels;
  switch (metric) {
    case Metric::jaccard: return {&kernels.words, kernels.scan_jaccard, kernels.sizes, nullptr, 0};
    case Metric::score: return {&kernels.nibbles, kernels.scan_score, nullptr, nullptr, 0};
    case Metric::distance: break;
  }
  if (choice.amx != nullptr && queries >= amx_queries)
    return {&choice.amx->bytes, choice.amx->scan_distance, nullptr, nullptr, 0};
  return {&kernels.words, kernels.scan_distance, kernels.sizes, kernels.scan_rows, row_queries};
}

AlignedBuffer padded_words(const uint8_t* rows, int64_t count, int64_t bytes) {
  const size_t stride = static_cast<size_t>(word_count(bytes)) * 8;
  AlignedBuffer words(static_cast<size_t>(count) * stride);
  if (stride == static_cast<size_t>(bytes)) {
    if (count > 0) std::memcpy(words.data(), rows, static_cast<size_t>(count) * stride);
    return words;
  }
  std::memset(words.data(), 0, words.size());
  for (int64_t i = 0; i < count; ++i) std::memcpy(words.as<uint8_t>() + i * stride, rows + i * bytes, bytes);
  return words;
}

Plan make_plan(const Problem& problem, Metric metric, int64_t k) {
  const int64_t threads = thread_count(), queries = problem.query_count, codes = problem.database_count;
  auto ceil_div = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  // Entries and counters of a block stay within 64 MiB, the tables of float queries (1 KiB a word) within
  // 1 MiB, or are those of four queries.
  int64_t cap = std::clamp<int64_t>((int64_t{64} << 20) / (16 * std::max<int64_t>(k, 1) + 32 * problem.bytes), 1, 1024);
  if (metric == Metric::score) cap = std::min<int64_t>(cap, std::max<int64_t>(4, 1024 / word_count(problem.bytes)));
  Plan plan;
  plan.codes = codes;
  plan.block = std::clamp(ceil_div(queries, 2 * threads), std::min(amortised_queries, cap), cap);
  plan.block = std::min(plan.block, queries);
  plan.blocks = ceil_div(queries, plan.block);
  // A part costs k entries and their merging, so it must hold many times k codes.
  const int64_t smallest_part = std::max<int64_t>(8192, 16 * k);
  int64_t wanted = threads == 1 ? 1 : ceil_div(4 * threads, plan.blocks);
  plan.parts = std::clamp<int64_t>(wanted, 1, std::max<int64_t>(1, codes / smallest_part));
  plan.parts = std::max(plan.parts, ceil_div(codes, int64_t{1} << 31));
  return plan;
}

}  // namespace warphash::hamming
