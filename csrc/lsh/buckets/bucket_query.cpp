// SPDX-License-Identifier: Apache-2.0
// Look-ups in many tables. Bound: the memory's answer to a few random places a query: two offsets and a run of `order` for
// each table. A block's offsets are read first of all, its runs are asked for some queries ahead.
//
// A bucket's items stand in ascending order, since the sort is stable. So the lists of a query's tables are merged two by
// two, equal heads once: in vectors (merge_runs.h) or, without such instructions or where numbers need more than 31 bits, here.
#include <algorithm>
#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/memory.h"
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

struct List {
  int64_t begin, count;
};

// Merges lists of `from`, each pair to the place in `to` where its first one stood in `from`. Two pairs at once, so that one
// does not wait for the other's loads.
List merge(const int64_t* from, List a, List b, int64_t* to) {
  return {a.begin, merge(from + a.begin, a.count, from + b.begin, b.count, to + a.begin)};
}
void merge_both(const int64_t* from, const List* lists, int64_t* to, List* merged) {
  const List a = lists[0], b = lists[1], c = lists[2], d = lists[3];
  const int64_t *x = from + a.begin, *y = from + b.begin, *z = from + c.begin, *w = from + d.begin;
  const int64_t *x_end = x + a.count, *y_end = y + b.count, *z_end = z + c.count, *w_end = w + d.count;
  int64_t *first = to + a.begin, *second = to + c.begin;
  while (x < x_end && y < y_end && z < z_end && w < w_end) {
    const int64_t p = *x, q = *y, r = *z, s = *w;
    *first++ = p < q ? p : q;
    *second++ = r < s ? r : s;
    x += p <= q, y += q <= p, z += r <= s, w += s <= r;
  }
  first += merge(x, x_end - x, y, y_end - y, first);
  second += merge(z, z_end - z, w, w_end - w, second);
  merged[0] = {a.begin, first - (to + a.begin)};
  merged[1] = {c.begin, second - (to + c.begin)};
}

using MergeRuns = int64_t (*)(Run* runs, int64_t count, int32_t* from, int32_t* to, int64_t* out);

// None where numbers are merged one by one, or one list stands alone.
MergeRuns vector_merge(Isa isa, int64_t tables) {
  require(isa);
  if (tables == 1) return nullptr;
  switch (isa) {
    case Isa::scalar: return nullptr;
    case Isa::avx2: return merge_runs_avx2;
    default: return merge_runs_avx512;
  }
}

class Lookup {
 public:
  Lookup(const Table& table, MergeRuns merge_runs)
      : table_(table), merge_runs_(merge_runs), runs_(static_cast<size_t>(table.tables)), lists_(runs_.size()) {}

  void append(const int64_t* codes, int64_t queries, int64_t query, std::vector<int64_t>& out, int64_t& count) {
    int64_t total = 0, room = run_multiple;
    for (int64_t t = 0; t < table_.tables; ++t) {
      const int64_t code = codes[t * queries + query];
      if (code < 0 || code >= table_.buckets)
        throw std::out_of_range("query_codes must be in [0, " + std::to_string(table_.buckets) + "), got " +
                                std::to_string(code));
      const Range range = bucket(t, code);
      if (range.begin < 0 || range.end < range.begin || range.end > table_.items)
        throw std::invalid_argument("table has offsets that do not ascend from 0 to its number of items");
      const int64_t items = range.end - range.begin;
      runs_[static_cast<size_t>(t)] = {table_.order + t * table_.items + range.begin, items, room - run_multiple};
      total += items;
      room += (items + run_multiple - 1) / run_multiple * run_multiple;
    }
    const size_t before = out.size();
    if (merge_runs_ == nullptr || !merge_in_vectors(total, room, out)) merge_one_by_one(total, out);
    count = static_cast<int64_t>(out.size() - before);
  }

  // Room for the items of queries [begin, end), and the offsets in the cache.
  void reserve(const int64_t* codes, int64_t queries, int64_t begin, int64_t end, std::vector<int64_t>& out) const {
    int64_t most = 0;
    for (int64_t query = begin; query < end; ++query) {
      int64_t total = 0;
      for (int64_t t = 0; t < table_.tables; ++t) {
        const int64_t code = codes[t * queries + query];
        if (code < 0 || code >= table_.buckets) continue;
        const Range range = bucket(t, code);
        if (range.begin >= 0 && range.begin <= range.end && range.end <= table_.items) total += range.end - range.begin;
      }
      most += std::min(total, table_.items);
    }
    out.reserve(static_cast<size_t>(most));
  }

  // Asks for the runs that a query will look at.
  void fetch_items(const int64_t* codes, int64_t queries, int64_t query) const {
    for (int64_t t = 0; t < table_.tables; ++t) {
      const int64_t code = codes[t * queries + query];
      if (code < 0 || code >= table_.buckets) continue;
      const Range range = bucket(t, code);
      if (range.begin < 0 || range.end > table_.items) continue;
      const int64_t* items = table_.order + t * table_.items;
      const uintptr_t end = reinterpret_cast<uintptr_t>(items + std::min(range.end, range.begin + 32));
      for (uintptr_t line = reinterpret_cast<uintptr_t>(items + range.begin) / 64 * 64; line < end; line += 64)
        __builtin_prefetch(reinterpret_cast<const void*>(line));
    }
  }

 private:
  Range bucket(int64_t t, int64_t code) const {
    const int64_t* offsets = table_.offsets + t * (table_.buckets + 1) + code;
    return {offsets[0], offsets[1]};
  }

  // False where the numbers are too large for it.
  bool merge_in_vectors(int64_t total, int64_t room, std::vector<int64_t>& out) {
    const size_t room_bytes = static_cast<size_t>(room) * sizeof(int32_t);
    if (narrow_from_.size() < room_bytes)
      narrow_from_ = AlignedBuffer(room_bytes * 3 / 2), narrow_to_ = AlignedBuffer(room_bytes * 3 / 2);
    from_.resize(std::max(from_.size(), static_cast<size_t>(total + run_multiple)));
    const int64_t count =
        merge_runs_(runs_.data(), table_.tables, narrow_from_.as<int32_t>(), narrow_to_.as<int32_t>(), from_.data());
    if (count < 0) return false;
    out.insert(out.end(), from_.begin(), from_.begin() + count);
    return true;
  }

  void merge_one_by_one(int64_t total, std::vector<int64_t>& out) {
    from_.resize(std::max(from_.size(), static_cast<size_t>(total)));
    to_.resize(from_.size());
    int64_t place = 0;
    for (size_t t = 0; t < runs_.size(); ++t) {
      lists_[t] = {place, runs_[t].count};
      place = std::copy_n(runs_[t].numbers, runs_[t].count, from_.begin() + place) - from_.begin();
    }
    for (size_t lists = lists_.size(); lists > 1; lists = (lists + 1) / 2) {
      size_t pair = 0;
      for (; 2 * pair + 3 < lists; pair += 2) merge_both(from_.data(), &lists_[2 * pair], to_.data(), &lists_[pair]);
      for (; 2 * pair + 1 < lists; ++pair)
        lists_[pair] = merge(from_.data(), lists_[2 * pair], lists_[2 * pair + 1], to_.data());
      if (2 * pair < lists)
        lists_[pair] = merge(from_.data(), lists_[2 * pair], {lists_[2 * pair].begin, 0}, to_.data());
      from_.swap(to_);
    }
    out.insert(out.end(), from_.begin(), from_.begin() + lists_[0].count);
  }

  const Table& table_;
  MergeRuns merge_runs_;
  AlignedBuffer narrow_from_, narrow_to_;
  std::vector<int64_t> from_, to_;
  std::vector<Run> runs_;
  std::vector<List> lists_;
};

}  // namespace

std::vector<std::vector<int64_t>> bucket_query(Isa isa, const Table& table, const int64_t* codes, int64_t queries,
                                               int64_t* counts) {
  const MergeRuns merge_runs = vector_merge(isa, table.tables);
  const int64_t blocks = (queries + block_queries - 1) / block_queries;
  std::vector<std::vector<int64_t>> found(static_cast<size_t>(blocks));
  if (table.tables == 0) {
    std::fill_n(counts, queries, int64_t{0});
    return found;
  }
  try {
    parallel_tasks_if(queries * table.tables > 256, blocks, [&](int64_t block) {
      Lookup lookup(table, merge_runs);
      const int64_t end = std::min(queries, (block + 1) * block_queries);
      lookup.reserve(codes, queries, block * block_queries, end, found[static_cast<size_t>(block)]);
      for (int64_t query = block * block_queries; query < end; ++query) {
        if (query + ahead < end) lookup.fetch_items(codes, queries, query + ahead);
        lookup.append(codes, queries, query, found[static_cast<size_t>(block)], counts[query]);
      }
    });
  } catch (const std::bad_alloc&) {
    throw std::invalid_argument("not enough memory for the candidates of query_codes");
  }
  return found;
}

}  // namespace warphash::lsh
