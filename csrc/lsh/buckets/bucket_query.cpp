// SPDX-License-Identifier: Apache-2.0
// Look-ups in many tables. Bound: the memory's answer to a few random places a query: two offsets and a run of `order` for
// each table, all of which are asked for some queries ahead.
//
// A bucket's items stand in ascending order, since the sort is stable. So the lists of a query's tables are merged two by
// two, equal heads once.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/parallel.h"
#include "lsh/buckets/buckets.h"

namespace warphash::lsh {
namespace {

constexpr int64_t block_queries = 64, ahead = 4;

struct Range {
  int64_t begin, end;
};

// Merges two ascending lists of distinct numbers; returns how many are written.
int64_t merge(const int64_t* a, int64_t a_count, const int64_t* b, int64_t b_count, int64_t* out) {
  int64_t i = 0, j = 0, count = 0;
  while (i < a_count && j < b_count) {
    const int64_t x = a[i], y = b[j];
    out[count++] = x < y ? x : y;
    i += x <= y;
    j += y <= x;
  }
  std::copy(a + i, a + a_count, out + count);
  count += a_count - i;
  std::copy(b + j, b + b_count, out + count);
  return count + b_count - j;
}

class Lookup {
 public:
  explicit Lookup(const Table& table) : table_(table), ends_(static_cast<size_t>(table.tables) + 1) {}

  // What is wrong, or nothing.
  std::string append(const int64_t* codes, int64_t queries, int64_t query, std::vector<int64_t>& out, int64_t& count) {
    from_.clear();
    ends_[0] = 0;
    for (int64_t t = 0; t < table_.tables; ++t) {
      const int64_t code = codes[t * queries + query];
      if (code < 0 || code >= table_.buckets)
        return "query_codes must be in [0, " + std::to_string(table_.buckets) + "), got " + std::to_string(code);
      const Range range = bucket(t, code);
      if (range.begin < 0 || range.end < range.begin || range.end > table_.items)
        return "table has offsets that do not ascend from 0 to its number of items";
      const int64_t* order = table_.order + t * table_.items;
      from_.insert(from_.end(), order + range.begin, order + range.end);
      ends_[static_cast<size_t>(t) + 1] = static_cast<int64_t>(from_.size());
    }
    to_.resize(from_.size());
    for (int64_t lists = table_.tables; lists > 1; lists = (lists + 1) / 2) {
      int64_t end = 0;
      for (int64_t pair = 0; pair < (lists + 1) / 2; ++pair) {
        const size_t first = static_cast<size_t>(2 * pair);
        const int64_t a = ends_[first], b = ends_[first + 1], c = 2 * pair + 1 < lists ? ends_[first + 2] : b;
        // The list before has ended before `end`, which is never beyond what is read here.
        end += merge(from_.data() + a, b - a, from_.data() + b, c - b, to_.data() + end);
        starts_.push_back(end);
      }
      std::copy(starts_.begin(), starts_.end(), ends_.begin() + 1);
      starts_.clear();
      from_.swap(to_);
    }
    count = ends_[1];
    out.insert(out.end(), from_.begin(), from_.begin() + count);
    return {};
  }

  // Asks for the places that a query will look at: first its offsets, some queries later the runs that they tell.
  void fetch_offsets(const int64_t* codes, int64_t queries, int64_t query) const {
    for (int64_t t = 0; t < table_.tables; ++t) {
      const int64_t code = codes[t * queries + query];
      if (code >= 0 && code < table_.buckets) __builtin_prefetch(table_.offsets + t * (table_.buckets + 1) + code);
    }
  }
  void fetch_items(const int64_t* codes, int64_t queries, int64_t query) const {
    for (int64_t t = 0; t < table_.tables; ++t) {
      const int64_t code = codes[t * queries + query];
      if (code < 0 || code >= table_.buckets) continue;
      const Range range = bucket(t, code);
      if (range.begin < 0 || range.end > table_.items) continue;
      for (int64_t i = range.begin; i < std::min(range.end, range.begin + 32); i += 8)
        __builtin_prefetch(table_.order + t * table_.items + i);
    }
  }

 private:
  Range bucket(int64_t t, int64_t code) const {
    const int64_t* offsets = table_.offsets + t * (table_.buckets + 1) + code;
    return {offsets[0], offsets[1]};
  }

  const Table& table_;
  std::vector<int64_t> from_, to_, ends_, starts_;
};

}  // namespace

std::vector<std::vector<int64_t>> bucket_query(const Table& table, const int64_t* codes, int64_t queries,
                                               int64_t* counts) {
  const int64_t blocks = (queries + block_queries - 1) / block_queries;
  std::vector<std::vector<int64_t>> found(static_cast<size_t>(blocks));
  std::atomic<bool> failed{false};
  std::string wrong;
  if (table.tables == 0) {
    std::fill_n(counts, queries, int64_t{0});
    return found;
  }
  parallel_tasks_if(queries * table.tables > 256, blocks, [&](int64_t block) {
    if (failed) return;
    std::string text;
    try {
      Lookup lookup(table);
      const int64_t end = std::min(queries, (block + 1) * block_queries);
      for (int64_t query = block * block_queries; query < end && text.empty(); ++query) {
        if (query + 2 * ahead < end) lookup.fetch_offsets(codes, queries, query + 2 * ahead);
        if (query + ahead < end) lookup.fetch_items(codes, queries, query + ahead);
        text = lookup.append(codes, queries, query, found[static_cast<size_t>(block)], counts[query]);
      }
    } catch (const std::bad_alloc&) {
      text = "not enough memory for the candidates of query_codes";
    }
    if (!text.empty() && !failed.exchange(true)) wrong = text;
  });
  if (!failed) return found;
  if (wrong.starts_with("query_codes must")) throw std::out_of_range(wrong);
  throw std::invalid_argument(wrong);
}

}  // namespace warphash::lsh
