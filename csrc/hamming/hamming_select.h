// SPDX-License-Identifier: Apache-2.0
// What becomes of the codes that pass a scan: the k best of each query of a block, or all within a radius.
// Torch-free. Entries are key << 32 | index within the part of the database, so that order of entries is order of results.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "hamming/hamming.h"
#include "hamming/hamming_keys.h"

namespace warphash::hamming {

// Which codes of a part may be returned, and what they are called.
struct Admission {
  const uint8_t* rows = nullptr;    // per-query mask from the block's first query and the part's first code on
  int64_t row_stride = 0;           // codes from one query's row to the next
  const uint32_t* names = nullptr;  // position -> index within the part, where a shared mask has thinned the codes

  uint32_t admit(int query, int64_t first, uint32_t passed) const {
    if (rows == nullptr) return passed;
    const uint8_t* row = rows + query * row_stride + first;
    uint32_t admitted = 0;
    for (uint32_t rest = passed; rest != 0; rest &= rest - 1) {
      int lane = __builtin_ctz(rest);
      admitted |= static_cast<uint32_t>(row[lane] != 0) << lane;
    }
    return admitted;
  }
  uint32_t name(int64_t position) const { return names ? names[position] : static_cast<uint32_t>(position); }
};

// A selection serves a block of queries over one part of the database.
class Selection {
 public:
  Admission admission;
  std::vector<uint32_t> limits;  // [queries]

  explicit Selection(int queries, uint32_t limit) : limits(queries, limit), bounds_(queries, limit) {}
  virtual ~Selection() = default;
  virtual Sink sink() = 0;
  // Before the scan: no entry of this query at or above `bound` can be among the results.
  void bound(int query, uint32_t bound) { limits[query] = bounds_[query] = std::min(bounds_[query], bound); }
  // The entries of a query, sorted.
  virtual void finish(int query, std::vector<uint64_t>& entries) = 0;

 protected:
  // The limit as long as fewer than k entries are known.
  uint32_t bound_of(int query) const { return bounds_[query]; }
  template <class Kind>
  static uint32_t offer(void* state, int query, int64_t first, const uint32_t* keys, uint32_t passed) {
    Kind& self = *static_cast<Kind*>(state);
    uint32_t limit = self.limits[query];
    for (uint32_t rest = self.admission.admit(query, first, passed); rest != 0; rest &= rest - 1) {
      int lane = __builtin_ctz(rest);
      if (keys[lane] < limit) limit = self.insert(query, keys[lane], self.admission.name(first + lane));
    }
    return self.limits[query] = limit;
  }
  static uint64_t entry(uint32_t key, uint32_t index) { return static_cast<uint64_t>(key) << 32 | index; }

 private:
  std::vector<uint32_t> bounds_;
};

// Small k: a sorted list. Indices arrive in ascending order, so a new entry goes behind those of its key.
class SortedSelection final : public Selection {
 public:
  SortedSelection(int queries, int64_t k)
      : Selection(queries, no_limit), k_(k), counts_(queries, 0), entries_(queries * k) {}
  Sink sink() override { return {offer<SortedSelection>, this}; }
  uint32_t insert(int query, uint32_t key, uint32_t index) {
    uint64_t* list = entries_.data() + query * k_;
    int64_t place = counts_[query] < k_ ? counts_[query]++ : k_ - 1;
    for (; place > 0 && list[place - 1] >> 32 > key; --place) list[place] = list[place - 1];
    list[place] = entry(key, index);
    return counts_[query] < k_ ? bound_of(query) : static_cast<uint32_t>(list[k_ - 1] >> 32);
  }
  void finish(int query, std::vector<uint64_t>& entries) override {
    entries.assign(entries_.begin() + query * k_, entries_.begin() + query * k_ + counts_[query]);
  }

 private:
  int64_t k_;
  std::vector<int64_t> counts_;
  std::vector<uint64_t> entries_;
};

// Large k over keys of a small range: the number of entries of each key tells the k-th key exactly at every step, so an
// insertion costs a few operations whatever the order of the database; entries that fell out are swept once in k times.
class CountingSelection final : public Selection {
 public:
  CountingSelection(int queries, int64_t k, uint32_t keys)
      : Selection(queries, no_limit),
        k_(k),
        keys_(keys),
        counts_(static_cast<size_t>(queries) * keys),
        rows_(queries),
        entries_(new uint64_t[static_cast<size_t>(queries) * 2 * k]) {}
  Sink sink() override { return {offer<CountingSelection>, this}; }
  uint32_t insert(int query, uint32_t key, uint32_t index) {
    Row& row = rows_[query];
    uint32_t* counts = counts_.data() + static_cast<size_t>(query) * keys_;
    if (row.size == 2 * k_) sweep(query);
    entries_[static_cast<size_t>(query) * 2 * k_ + row.size++] = entry(key, index);
    ++counts[key];
    if (row.within < k_) {
      row.greatest = std::max(row.greatest, key);
      if (++row.within < k_) return bound_of(query);
    } else {
      ++row.within;
    }
    while (row.within - counts[row.greatest] >= k_) {
      row.within -= counts[row.greatest];
      do --row.greatest;
      while (counts[row.greatest] == 0);
    }
    return row.greatest;
  }
  void finish(int query, std::vector<uint64_t>& entries) override {
    sweep(query);
    const uint64_t* from = entries_.get() + static_cast<size_t>(query) * 2 * k_;
    const int64_t size = rows_[query].size;
    std::vector<uint32_t> places(keys_ + 1, 0);
    for (int64_t i = 0; i < size; ++i) ++places[(from[i] >> 32) + 1];
    for (uint32_t key = 0; key < keys_; ++key) places[key + 1] += places[key];
    entries.resize(size);
    for (int64_t i = 0; i < size; ++i) entries[places[from[i] >> 32]++] = from[i];
  }

 private:
  struct Row {
    int64_t size = 0;       // entries held, in ascending order of index
    int64_t within = 0;     // entries ever taken with keys up to the k-th one
    uint32_t greatest = 0;  // the k-th key, once there are k
  };
  void sweep(int query) {
    Row& row = rows_[query];
    if (row.within < k_) return;
    uint64_t* entries = entries_.get() + static_cast<size_t>(query) * 2 * k_;
    int64_t ties = k_, kept = 0;
    for (int64_t i = 0; i < row.size; ++i) ties -= entries[i] >> 32 < row.greatest;
    // Without a branch: which entries stay cannot be predicted.
    for (int64_t i = 0; i < row.size; ++i) {
      const uint64_t e = entries[i];
      const bool tie = e >> 32 == row.greatest;
      entries[kept] = e;
      kept += static_cast<int64_t>(e >> 32 < row.greatest) | static_cast<int64_t>(tie & (ties > 0));
      ties -= tie;
    }
    row.size = kept;
  }
  int64_t k_;
  uint32_t keys_;
  std::vector<uint32_t> counts_;
  std::vector<Row> rows_;
  std::unique_ptr<uint64_t[]> entries_;
};

// Large k over any keys: twice k entries, halved by selection when full.
class BufferedSelection final : public Selection {
 public:
  BufferedSelection(int queries, int64_t k) : Selection(queries, no_limit), k_(k), rows_(queries) {}
  Sink sink() override { return {offer<BufferedSelection>, this}; }
  uint32_t insert(int query, uint32_t key, uint32_t index) {
    std::vector<uint64_t>& row = rows_[query];
    row.push_back(entry(key, index));
    if (static_cast<int64_t>(row.size()) < 2 * k_) return limits[query];
    std::nth_element(row.begin(), row.begin() + (k_ - 1), row.end());
    row.resize(k_);
    return static_cast<uint32_t>(row[k_ - 1] >> 32);
  }
  void finish(int query, std::vector<uint64_t>& entries) override {
    entries = std::move(rows_[query]);
    std::sort(entries.begin(), entries.end());
    if (static_cast<int64_t>(entries.size()) > k_) entries.resize(k_);
  }

 private:
  int64_t k_;
  std::vector<std::vector<uint64_t>> rows_;
};

// Everything below a fixed limit.
class RangeSelection final : public Selection {
 public:
  RangeSelection(int queries, uint32_t limit) : Selection(queries, limit), rows_(queries) {}
  Sink sink() override { return {offer<RangeSelection>, this}; }
  uint32_t insert(int query, uint32_t key, uint32_t index) {
    rows_[query].push_back(entry(key, index));
    return limits[query];
  }
  void finish(int query, std::vector<uint64_t>& entries) override {
    entries = std::move(rows_[query]);
    std::sort(entries.begin(), entries.end());
  }

 private:
  std::vector<std::vector<uint64_t>> rows_;
};

}  // namespace warphash::hamming
