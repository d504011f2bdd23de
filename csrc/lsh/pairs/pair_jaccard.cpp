// SPDX-License-Identifier: Apache-2.0
// True Jaccard of pairs of sets by a merge of their sorted tokens, several at a time; where one set is much larger, by a
// search for each token of the smaller one. Bound: reading the sets.
#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "common/parallel.h"
#include "lsh/pairs/common_tokens.h"
#include "lsh/pairs/pairs.h"

namespace warphash::lsh {
namespace {

constexpr int64_t pairs_a_task = 64, much_larger = 128;

auto merge_for(Isa isa) {
  require(isa);
  switch (isa) {
    case Isa::scalar: return common_tokens_scalar;
    case Isa::avx2: return common_tokens_avx2;
    default: return common_tokens_avx512;
  }
}

int64_t common_by_search(const int64_t* few, int64_t few_count, const int64_t* many, int64_t many_count) {
  int64_t common = 0;
  const int64_t *from = many, *end = many + many_count;
  for (int64_t i = 0; i < few_count; ++i) {
    from = std::lower_bound(from, end, few[i]);
    if (from == end) break;
    common += *from == few[i];
  }
  return common;
}

}  // namespace

void pair_jaccard(Isa isa, const SortedSets& sets, const int64_t* pairs, int64_t count, double* similarity) {
  const auto common_by_merge = merge_for(isa);
  if (sets.offsets[0] != 0 || sets.offsets[sets.sets] != sets.token_count ||
      !std::is_sorted(sets.offsets, sets.offsets + sets.sets + 1))
    throw std::invalid_argument("offsets must ascend from 0 to the number of tokens, " +
                                std::to_string(sets.token_count));
  const int64_t tasks = (count + pairs_a_task - 1) / pairs_a_task;
  parallel_tasks_if(tasks > 1, tasks, [&](int64_t task) {
    const int64_t end = std::min(count, (task + 1) * pairs_a_task);
    for (int64_t pair = task * pairs_a_task; pair < end; ++pair) {
      const int64_t i = pairs[2 * pair], j = pairs[2 * pair + 1];
      for (const int64_t item : {i, j})
        if (item < 0 || item >= sets.sets)
          throw std::out_of_range("pairs must have members in [0, " + std::to_string(sets.sets) + "), got " +
                                  std::to_string(item));
      const int64_t *a = sets.tokens + sets.offsets[i], *b = sets.tokens + sets.offsets[j];
      int64_t a_count = sets.offsets[i + 1] - sets.offsets[i], b_count = sets.offsets[j + 1] - sets.offsets[j];
      if (a_count > b_count) std::swap(a, b), std::swap(a_count, b_count);
      const int64_t common = b_count > much_larger * a_count ? common_by_search(a, a_count, b, b_count)
                                                             : common_by_merge(a, a_count, b, b_count);
      const int64_t all = a_count + b_count - common;
      similarity[pair] = all == 0 ? 0.0 : static_cast<double>(common) / static_cast<double>(all);
    }
  });
}

}  // namespace warphash::lsh
