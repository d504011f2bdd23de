// SPDX-License-Identifier: Apache-2.0
// What looks at every pair: the matrix of distances and the histograms. Bound: writing 4 bytes a pair, and one counter
// increment a pair.
#include <algorithm>
#include <cstring>

#include "common/parallel.h"
#include "hamming/hamming_plan.h"
#include "hamming/hamming_search.h"

namespace warphash::hamming {
namespace {

// Calls visit(query, at, distances, count) for every query of [first, last) and every tile of the codes [begin, end);
// `at` is the tile's first code. Workspace: one tile and its distances.
template <class Visit>
void visit_distances(const Kernels& kernels, const Problem& problem, int64_t first, int64_t last, int64_t begin,
                     int64_t end, const Visit& visit) {
  const int words = word_count(problem.bytes), tile_codes = kernels.words.tile_codes(words);
  AlignedBuffer tile(kernels.words.tile_bytes(words)), distances(static_cast<size_t>(tile_codes) * sizeof(uint32_t));
  AlignedBuffer queries = padded_words(problem.queries + first * problem.bytes, last - first, problem.bytes);
  for (int64_t at = begin; at < end; at += tile_codes) {
    const int count = static_cast<int>(std::min<int64_t>(tile_codes, end - at));
    kernels.words.arrange(problem.database + at * problem.bytes, count, static_cast<int>(problem.bytes), tile.data());
    for (int64_t query = first; query < last; ++query) {
      kernels.distances(tile.data(), count, words, queries.as<uint64_t>() + (query - first) * words,
                        distances.as<uint32_t>());
      visit(query, at, distances.as<uint32_t>(), count);
    }
  }
}

}  // namespace

void cdist(const Choice& choice, const Problem& problem, int32_t* out) {
  if (problem.query_count == 0 || problem.database_count == 0) return;
  const Plan plan = make_plan(problem, Metric::distance, 0);
  parallel_tasks(plan.blocks * plan.parts, [&](int64_t task) {
    const int64_t first = task / plan.parts * plan.block, part = task % plan.parts;
    visit_distances(*choice.kernels, problem, first, std::min(first + plan.block, problem.query_count),
                    plan.part_begin(part), plan.part_begin(part + 1),
                    [&](int64_t query, int64_t at, const uint32_t* distances, int count) {
                      std::memcpy(out + query * problem.database_count + at, distances, count * sizeof(int32_t));
                    });
  });
}

void histogram(const Choice& choice, const Problem& problem, int64_t* out) {
  const int64_t bins = 8 * problem.bytes + 1;
  std::fill(out, out + problem.query_count * bins, 0);
  if (problem.query_count == 0 || problem.database_count == 0) return;
  // Parts count for themselves, the first one into the result; sums of integers do not depend on the order. The other
  // parts' counters stay within 64 MiB: where that is short, smaller blocks of queries keep the threads busy.
  Plan plan = make_plan(problem, Metric::distance, 0);
  const int64_t most_parts = 1 + (int64_t{64} << 20) / (problem.query_count * bins * 8);
  if (plan.parts > most_parts) {
    plan.parts = most_parts;
    plan.block = std::max<int64_t>(1, problem.query_count * most_parts / (4 * thread_count()));
    plan.blocks = (problem.query_count + plan.block - 1) / plan.block;
  }
  std::vector<std::vector<int64_t>> counts(plan.parts - 1);
  for (auto& part : counts) part.assign(problem.query_count * bins, 0);
  parallel_tasks(plan.blocks * plan.parts, [&](int64_t task) {
    const int64_t first = task / plan.parts * plan.block, part = task % plan.parts;
    int64_t* own = part == 0 ? out : counts[part - 1].data();
    visit_distances(
        *choice.kernels, problem, first, std::min(first + plan.block, problem.query_count), plan.part_begin(part),
        plan.part_begin(part + 1), [&](int64_t query, int64_t at, const uint32_t* distances, int count) {
          int64_t* row = own + query * bins;
          if (problem.mask == nullptr) {
            for (int i = 0; i < count; ++i) ++row[distances[i]];
            return;
          }
          const uint8_t* mask = problem.mask + (problem.mask_per_query ? query * problem.database_count : 0) + at;
          for (int i = 0; i < count; ++i) row[distances[i]] += mask[i] != 0;
        });
  });
  for (const std::vector<int64_t>& part : counts)
    for (int64_t i = 0; i < problem.query_count * bins; ++i) out[i] += part[i];
}

}  // namespace warphash::hamming
