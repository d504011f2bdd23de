// SPDX-License-Identifier: Apache-2.0
// Work is cut into tasks of a block of queries x a part of the database. Blocks are large, because a tile is laid out
// once a block; the database is cut too, because a single query must keep all cores busy.
#include "hamming/hamming_search.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <queue>
#include <stdexcept>
#include <string>

#include "common/parallel.h"
#include "hamming/hamming_keys.h"
#include "hamming/hamming_plan.h"
#include "hamming/hamming_select.h"

namespace warphash::hamming {
namespace {

constexpr int64_t sample_step = 32;  // one tile in so many
constexpr int64_t sampled_from =
    256;  // the smallest k for which a sample pays in the worst order and costs little else

// The queries of one block as the kernels want them.
struct Prepared {
  AlignedBuffer words, operands;
  std::vector<uint32_t> sizes;
};

Prepared prepare(const Family& family, Metric metric, const Problem& problem, int64_t first, int count) {
  Prepared prepared;
  const int words = word_count(problem.bytes);
  if (metric == Metric::score) {
    prepared.words = AlignedBuffer(static_cast<size_t>(count) * words * 64 * sizeof(float));
    float* rows = prepared.words.as<float>();
    std::memset(rows, 0, prepared.words.size());
    for (int i = 0; i < count; ++i)
      std::memcpy(rows + static_cast<size_t>(i) * words * 64, problem.weights + (first + i) * 8 * problem.bytes,
                  static_cast<size_t>(8 * problem.bytes) * sizeof(float));
  } else {
    prepared.words = padded_words(problem.queries + first * problem.bytes, count, problem.bytes);
  }
  prepared.operands = AlignedBuffer(family.layout->prepared_bytes(count, words));
  family.layout->prepare(prepared.words.as<uint64_t>(), count, words, prepared.operands.data());
  if (metric == Metric::jaccard) {
    prepared.sizes.resize(count);
    for (int i = 0; i < count; ++i)
      for (int word = 0; word < words; ++word)
        prepared.sizes[i] += __builtin_popcountll(prepared.words.as<uint64_t>()[static_cast<size_t>(i) * words + word]);
  }
  return prepared;
}

// The state that a layout's scans need in their thread (Layout::begin), for as long as this lives.
class ScanState {
 public:
  explicit ScanState(const Layout& layout) : layout_(layout) {
    if (layout_.begin != nullptr) layout_.begin();
  }
  ~ScanState() {
    if (layout_.end != nullptr) layout_.end();
  }
  ScanState(const ScanState&) = delete;
  ScanState& operator=(const ScanState&) = delete;

 private:
  const Layout& layout_;
};

// Scans the codes [begin, end) for a block of queries. Positions given to the selection count from begin; with a shared
// mask they count the admitted codes.
class PartScan {
 public:
  PartScan(const Family& family, const Problem& problem, int64_t begin, int64_t end)
      : family_(family),
        problem_(problem),
        begin_(begin),
        end_(end),
        words_(word_count(problem.bytes)),
        state_(*family.layout) {}

  // A shared mask: only the admitted codes are looked at.
  bool thinned() const { return problem_.mask != nullptr && !problem_.mask_per_query; }

  void run(const Prepared& prepared, int queries, Selection& selection) {
    if (thinned()) return run_thinned(prepared, queries, selection);
    const uint8_t* rows = problem_.database + begin_ * problem_.bytes;
    if (family_.scan_rows != nullptr && queries <= family_.row_queries) {
      for (int query = 0; query < queries; ++query)
        family_.scan_rows(rows, end_ - begin_, static_cast<int>(problem_.bytes), 0,
                          prepared.words.as<uint64_t>() + static_cast<size_t>(query) * words_, query,
                          &selection.limits[query], selection.sink());
      return;
    }
    const int tile_codes = family_.layout->tile_codes(words_);
    make_tile();
    for (int64_t at = 0; at < end_ - begin_; at += tile_codes) scan_tile_at(at, prepared, queries, selection);
  }

  // Scans one tile in sample_step, in an order unlike that of the codes: steps of the golden section.
  void run_sample(const Prepared& prepared, int queries, Selection& selection) {
    const int tile_codes = family_.layout->tile_codes(words_);
    const int64_t tiles = (end_ - begin_) / tile_codes / sample_step;
    int64_t step = std::max<int64_t>(1, tiles * 618 / 1000);
    while (std::gcd(step, tiles) > 1) ++step;
    make_tile();
    for (int64_t i = 0, tile = 0; i < tiles; ++i, tile = (tile + step) % tiles)
      scan_tile_at(((tile + 1) * sample_step - 1) * tile_codes, prepared, queries, selection);
  }

 private:
  void scan_tile_at(int64_t at, const Prepared& prepared, int queries, Selection& selection) {
    scan_tile(problem_.database + (begin_ + at) * problem_.bytes,
              static_cast<int>(std::min<int64_t>(family_.layout->tile_codes(words_), end_ - begin_ - at)), at, prepared,
              queries, selection);
  }

  void make_tile() {
    tile_ = AlignedBuffer(family_.layout->tile_bytes(words_));
    sizes_ = AlignedBuffer(static_cast<size_t>(family_.layout->tile_codes(words_)) * sizeof(uint32_t));
  }

  void scan_tile(const uint8_t* rows, int count, int64_t first, const Prepared& prepared, int queries,
                 Selection& selection) {
    family_.layout->arrange(rows, count, static_cast<int>(problem_.bytes), tile_.data());
    if (!prepared.sizes.empty()) family_.sizes(tile_.data(), count, words_, sizes_.as<uint32_t>());
    family_.scan({tile_.data(), count, words_, first, prepared.operands.data(), queries, selection.limits.data(),
                  sizes_.as<uint32_t>(), prepared.sizes.data(), selection.sink()});
  }

  // Only the admitted codes are laid out, so a narrow filter makes the search faster.
  void run_thinned(const Prepared& prepared, int queries, Selection& selection) {
    const int tile_codes = family_.layout->tile_codes(words_);
    const size_t bytes = static_cast<size_t>(problem_.bytes);
    make_tile();
    std::vector<uint8_t> rows(tile_codes * bytes);
    std::vector<uint32_t> names(tile_codes);
    selection.admission.names = names.data();
    int filled = 0;
    auto flush = [&] {
      if (filled > 0) scan_tile(rows.data(), filled, 0, prepared, queries, selection);
      filled = 0;
    };
    for (int64_t index = begin_; index < end_; ++index) {
      if (!problem_.mask[index]) continue;
      std::memcpy(rows.data() + filled * bytes, problem_.database + index * problem_.bytes, bytes);
      names[filled++] = static_cast<uint32_t>(index - begin_);
      if (filled == tile_codes) flush();
    }
    flush();
  }

  const Family& family_;
  const Problem& problem_;
  int64_t begin_, end_;
  int words_;
  ScanState state_;
  AlignedBuffer tile_, sizes_;
};

// What the k-th of these sorted entries leaves to look at. Codes of the k-th key itself stay admitted: one of a smaller
// index may come from elsewhere.
uint32_t bound_of(const std::vector<uint64_t>& entries, int64_t k) {
  if (static_cast<int64_t>(entries.size()) < k) return no_limit;
  return static_cast<uint32_t>(std::min<uint64_t>((entries[k - 1] >> 32) + 1, no_limit));
}

// A database sorted by falling distance would have every code inserted. The k-th key of a sample bounds the k-th of all,
// so that only about k * sample_step codes can be; in random order the sample's insertions are saved later.
void bound_by_sample(PartScan& scan, const Prepared& prepared, int queries, int64_t k, Selection& sample,
                     Selection& selection) {
  scan.run_sample(prepared, queries, sample);
  std::vector<uint64_t> entries;
  for (int query = 0; query < queries; ++query) {
    sample.finish(query, entries);
    selection.bound(query, bound_of(entries, k));
  }
}

using MakeSelection = std::function<std::unique_ptr<Selection>(int queries)>;
// entries [part][query] of one block
using Lists = std::vector<std::vector<std::vector<uint64_t>>>;

// The k-th key that finished parts of the database have found for each query bounds what later parts need look at.
class SharedBounds {
 public:
  SharedBounds(int64_t queries, int64_t k) : k_(k), bounds_(k > 0 ? queries : 0) {
    for (auto& bound : bounds_) bound = no_limit;
  }
  void apply(int64_t first, int queries, Selection& selection) const {
    if (k_ == 0) return;
    for (int query = 0; query < queries; ++query)
      selection.bound(query, bounds_[first + query].load(std::memory_order_relaxed));
  }
  void publish(int64_t query, const std::vector<uint64_t>& entries) {
    if (k_ == 0) return;
    const uint32_t bound = bound_of(entries, k_);
    uint32_t known = bounds_[query].load(std::memory_order_relaxed);
    while (bound < known && !bounds_[query].compare_exchange_weak(known, bound, std::memory_order_relaxed)) {
    }
  }

 private:
  int64_t k_;
  std::vector<std::atomic<uint32_t>> bounds_;
};

// Runs all tasks; merge(block, lists) is called once a block, when its last part is done. k: 0 if all that passes counts.
void search(const Choice& choice, Metric metric, const Problem& problem, const Plan& plan, int64_t k,
            const MakeSelection& make, const std::function<void(int64_t first, int count, const Lists&)>& merge) {
  std::vector<Lists> lists(plan.blocks, Lists(plan.parts));
  std::vector<std::atomic<int64_t>> open(plan.blocks);
  for (auto& count : open) count = plan.parts;
  SharedBounds bounds(problem.query_count, k);
  parallel_tasks(plan.blocks * plan.parts, [&](int64_t task) {
    const int64_t block = task / plan.parts, part = task % plan.parts, first = block * plan.block;
    const int queries = static_cast<int>(std::min(plan.block, problem.query_count - first));
    const int64_t begin = plan.part_begin(part), end = plan.part_begin(part + 1);
    const Family family = family_for(choice, metric, queries);
    auto make_selection = [&] {
      std::unique_ptr<Selection> made = make(queries);
      if (!problem.mask_per_query) return made;
      made->admission.rows = problem.mask + first * problem.database_count + begin;
      made->admission.row_stride = problem.database_count;
      return made;
    };
    std::unique_ptr<Selection> selection = make_selection();
    const Prepared prepared = prepare(family, metric, problem, first, queries);
    PartScan scan(family, problem, begin, end);
    // A part that starts among the first has nothing to be bounded by.
    bounds.apply(first, queries, *selection);
    if (k >= sampled_from && part < thread_count() && !scan.thinned() && end - begin >= 2 * sample_step * k)
      bound_by_sample(scan, prepared, queries, k, *make_selection(), *selection);
    scan.run(prepared, queries, *selection);
    lists[block][part].resize(queries);
    for (int query = 0; query < queries; ++query) {
      selection->finish(query, lists[block][part][query]);
      bounds.publish(first + query, lists[block][part][query]);
    }
    selection.reset();
    if (open[block].fetch_sub(1) > 1) return;
    merge(first, queries, lists[block]);
    lists[block] = {};
  });
}

// The first k of the merged lists of one query.
void merge_row(const Lists& lists, const Plan& plan, int query, int64_t k, std::vector<Hit>& hits) {
  hits.clear();
  if (lists.size() == 1) {
    const std::vector<uint64_t>& list = lists[0][query];
    for (size_t i = 0; i < list.size() && static_cast<int64_t>(i) < k; ++i)
      hits.push_back({static_cast<uint32_t>(list[i] >> 32), static_cast<int64_t>(list[i] & 0xffffffffu)});
    return;
  }
  // Ties between parts go to the earlier one: its indices are smaller.
  struct Head {
    uint32_t key;
    size_t part, place;
    bool operator>(const Head& other) const { return key != other.key ? key > other.key : part > other.part; }
  };
  std::priority_queue<Head, std::vector<Head>, std::greater<>> heads;
  auto push = [&](size_t part, size_t place) {
    if (place < lists[part][query].size())
      heads.push({static_cast<uint32_t>(lists[part][query][place] >> 32), part, place});
  };
  for (size_t part = 0; part < lists.size(); ++part) push(part, 0);
  while (!heads.empty() && static_cast<int64_t>(hits.size()) < k) {
    Head head = heads.top();
    heads.pop();
    hits.push_back({head.key, plan.part_begin(head.part) +
                                  static_cast<int64_t>(lists[head.part][query][head.place] & 0xffffffffu)});
    push(head.part, head.place + 1);
  }
}

}  // namespace

void topk(const Choice& choice, Metric metric, const Problem& problem, int64_t k,
          void (*row)(void* context, int64_t query, const Hit* hits, int64_t count), void* context) {
  k = std::min(k, problem.database_count);
  if (k <= 0 || problem.query_count == 0) {
    for (int64_t query = 0; query < problem.query_count; ++query) row(context, query, nullptr, 0);
    return;
  }
  constexpr int64_t sorted_limit = 16;  // above it, counting and buffering insert faster than a sorted list
  const uint32_t keys = static_cast<uint32_t>(8 * problem.bytes + 1);
  auto make = [&](int queries) -> std::unique_ptr<Selection> {
    if (k <= sorted_limit) return std::make_unique<SortedSelection>(queries, k);
    if (metric == Metric::distance) return std::make_unique<CountingSelection>(queries, k, keys);
    return std::make_unique<BufferedSelection>(queries, k);
  };
  Plan plan = make_plan(problem, metric, k);
  search(choice, metric, problem, plan, k, make, [&](int64_t first, int count, const Lists& lists) {
    std::vector<Hit> hits;
    for (int query = 0; query < count; ++query) {
      merge_row(lists, plan, query, k, hits);
      row(context, first + query, hits.data(), static_cast<int64_t>(hits.size()));
    }
  });
}

void range_search(const Choice& choice, const Problem& problem, uint32_t radius, std::vector<std::vector<Hit>>& hits) {
  hits.assign(problem.query_count, {});
  if (problem.query_count == 0 || problem.database_count == 0) return;
  uint32_t limit = std::min<uint32_t>(radius, static_cast<uint32_t>(8 * problem.bytes)) + 1;
  Plan plan = make_plan(problem, Metric::distance, 0);
  auto make = [&](int queries) { return std::make_unique<RangeSelection>(queries, limit); };
  search(choice, Metric::distance, problem, plan, 0, make, [&](int64_t first, int count, const Lists& lists) {
    for (int query = 0; query < count; ++query)
      merge_row(lists, plan, query, problem.database_count, hits[first + query]);
  });
}

}  // namespace warphash::hamming
