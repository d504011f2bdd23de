// SPDX-License-Identifier: Apache-2.0
// Multi-index hashing on the CPU.
//
// Bound: cache misses, three a candidate (offsets, ids, code row), with next to no arithmetic. So a step does not follow
// one probe to its end: it takes the probes in batches and prefetches what the following loop over the batch reads.
// No visited set is kept. Whether a code was already met at an earlier step follows from its distances in the other
// substrings, and only the few codes that would enter the result need that test: workspace is the batch and the result.
#include "hamming/multi_index.h"

#include <algorithm>
#include <cstring>

#include "common/isa.h"
#include "common/parallel.h"

namespace warphash::hamming {
namespace {

constexpr int probe_batch = 64;
constexpr int candidate_batch = 256;
constexpr double probe_cost = 2;

uint32_t read_bits(const uint8_t* code, int bytes, Substring substring) {
  const int byte = substring.first / 8;
  uint64_t word = 0;
  std::memcpy(&word, code + byte, static_cast<size_t>(std::min(8, bytes - byte)));
  return static_cast<uint32_t>(word >> (substring.first % 8) & ((uint64_t{1} << substring.width) - 1));
}

double binomial(int n, int k) {
  double value = 1;
  for (int i = 0; i < k; ++i) value = value * (n - i) / (i + 1);
  return k <= n ? value : 0;
}

// Collects candidates and hands those closer than the limit to Result, which says what the limit is.
template <class Result>
class Prober {
 public:
  Prober(const MultiIndex& index, const uint8_t* query, Result& result)
      : index_(index),
        query_(query),
        result_(result),
        gather_(chosen_isa() >= Isa::avx2 ? gather_distances_avx2 : gather_distances_scalar) {}

  // Compares the codes that are in no table.
  void compare_rest() {
    level_ = 0;
    substring_ = 0;
    for (int64_t id = index_.indexed; id < index_.total; ++id) add(static_cast<int32_t>(id));
    flush();
  }

  // All buckets of substring s whose value is `level` flips away from the query's.
  void probe(int s, int level) {
    const Substring substring = substring_of(index_.bits, index_.substrings, s);
    if (level > substring.width) return;
    level_ = level;
    substring_ = s;
    const uint32_t value = read_bits(query_, index_.bytes, substring);
    const uint64_t end = uint64_t{1} << substring.width;
    uint64_t flips = (uint64_t{1} << level) - 1;
    uint32_t values[probe_batch];
    for (bool more = true; more;) {
      int count = 0;
      while (count < probe_batch && more) {
        values[count++] = value ^ static_cast<uint32_t>(flips);
        more = flips != 0;
        if (more) {  // the next larger number with as many bits set
          const uint64_t lowest = flips & (~flips + 1), carried = flips + lowest;
          flips = carried | ((flips ^ carried) / lowest >> 2);
          more = flips < end;
        }
      }
      probe_values(values, count);
    }
    flush();
  }

  double cost() const { return cost_; }
  // Whether a table led out of itself or of the codes; nothing was read there.
  bool broken() const { return broken_; }

 private:
  void probe_values(const uint32_t* values, int count) {
    const int32_t* offsets = index_.offsets + substring_ * table_entries(index_.bits, index_.substrings);
    const int32_t* ids = index_.ids + substring_ * index_.indexed;
    int32_t begins[probe_batch], ends[probe_batch];
    for (int i = 0; i < count; ++i) __builtin_prefetch(offsets + values[i]);
    for (int i = 0; i < count; ++i) {
      begins[i] = offsets[values[i]];
      ends[i] = offsets[values[i] + 1];
      if (begins[i] < 0 || begins[i] > ends[i] || ends[i] > index_.indexed) {
        broken_ = true;
        begins[i] = ends[i] = 0;
      }
      __builtin_prefetch(ids + begins[i]);
    }
    for (int i = 0; i < count; ++i)
      for (int32_t at = begins[i]; at < ends[i]; ++at) add(ids[at]);
    cost_ += probe_cost * count;
  }

  void add(int32_t id) {
    if (id < 0 || id >= index_.total) {
      broken_ = true;
      return;
    }
    __builtin_prefetch(index_.codes + static_cast<size_t>(id) * static_cast<size_t>(index_.bytes));
    candidates_[count_++] = id;
    if (count_ == candidate_batch) flush();
  }

  void flush() {
    uint32_t distances[candidate_batch];
    gather_(index_.codes, index_.bytes, query_, candidates_, count_, distances);
    for (int i = 0; i < count_; ++i) {
      const Entry hit = uint64_t{distances[i]} << 32 | static_cast<uint32_t>(candidates_[i]);
      if (hit < result_.limit() && is_first(candidates_[i])) result_.take(hit);
    }
    cost_ += count_;
    count_ = 0;
  }

  // A code that is closer in another substring, or as close in an earlier one, was met there already.
  bool is_first(int32_t id) const {
    if (id >= index_.indexed) return true;
    const uint8_t* code = index_.codes + static_cast<size_t>(id) * static_cast<size_t>(index_.bytes);
    for (int s = 0; s < index_.substrings; ++s) {
      if (s == substring_) continue;
      const Substring substring = substring_of(index_.bits, index_.substrings, s);
      const int distance =
          __builtin_popcount(read_bits(code, index_.bytes, substring) ^ read_bits(query_, index_.bytes, substring));
      if (distance < level_ || (distance == level_ && s < substring_)) return false;
    }
    return true;
  }

  const MultiIndex& index_;
  const uint8_t* query_;
  Result& result_;
  GatherDistances gather_;
  int level_ = 0, substring_ = 0, count_ = 0;
  double cost_ = 0;
  bool broken_ = false;
  int32_t candidates_[candidate_batch];
};

// What the buckets of one step hold, were codes spread evenly.
double expected_cost(const MultiIndex& index, int s, int level) {
  const Substring substring = substring_of(index.bits, index.substrings, s);
  const double probes = binomial(substring.width, level);
  return probes *
         (probe_cost + static_cast<double>(index.indexed) / static_cast<double>(uint64_t{1} << substring.width));
}

// The k best as a heap whose top is the worst.
class Best {
 public:
  Best(std::vector<Entry>& hits, int64_t k) : hits_(hits), k_(static_cast<size_t>(k)) {}
  Entry limit() const { return hits_.size() < k_ ? ~Entry{0} : hits_.front(); }
  void take(Entry hit) {
    if (hits_.size() == k_) {
      std::pop_heap(hits_.begin(), hits_.end());
      hits_.back() = hit;
    } else {
      hits_.push_back(hit);
    }
    std::push_heap(hits_.begin(), hits_.end());
  }

 private:
  std::vector<Entry>& hits_;
  size_t k_;
};

class Ball {
 public:
  Ball(std::vector<Entry>& hits, int radius) : hits_(hits), limit_((static_cast<uint64_t>(radius) + 1) << 32) {}
  Entry limit() const { return limit_; }
  void take(Entry hit) { hits_.push_back(hit); }

 private:
  std::vector<Entry>& hits_;
  Entry limit_;
};

// Counting sort by the value, which leaves ids ascending in a bucket.
void build_substring(const MultiIndex& index, int s, int32_t* offsets, int32_t* ids) {
  const Substring substring = substring_of(index.bits, index.substrings, s);
  const size_t buckets = static_cast<size_t>(table_entries(index.bits, index.substrings)) - 1;
  const auto value_of = [&](int64_t id) {
    return read_bits(index.codes + static_cast<size_t>(id) * static_cast<size_t>(index.bytes), index.bytes, substring);
  };
  std::fill(offsets, offsets + buckets + 1, 0);
  for (int64_t id = 0; id < index.total; ++id) ++offsets[value_of(id) + 1];
  for (size_t v = 0; v < buckets; ++v) offsets[v + 1] += offsets[v];
  // offsets[v] moves to the end of bucket v, that is to where offsets[v + 1] belongs.
  for (int64_t id = 0; id < index.total; ++id) ids[offsets[value_of(id)]++] = static_cast<int32_t>(id);
  std::memmove(offsets + 1, offsets, buckets * sizeof(int32_t));
  offsets[0] = 0;
}

}  // namespace

Substring substring_of(int bits, int substrings, int s) {
  const int width = bits / substrings, wider = bits % substrings;
  return {s * width + std::min(s, wider), width + (s < wider ? 1 : 0)};
}

int64_t table_entries(int bits, int substrings) { return (int64_t{1} << substring_of(bits, substrings, 0).width) + 1; }

void multi_index_build(const MultiIndex& index, int32_t* offsets, int32_t* ids) {
  parallel_tasks(index.substrings, [&](int64_t s) {
    build_substring(index, static_cast<int>(s), offsets + s * table_entries(index.bits, index.substrings),
                    ids + s * index.total);
  });
}

Outcome multi_index_topk(const MultiIndex& index, const uint8_t* query, int64_t k, double budget,
                         std::vector<Entry>& hits) {
  hits.clear();
  if (k == 0) return Outcome::complete;
  Best best(hits, k);
  Prober<Best> prober(index, query, best);
  prober.compare_rest();
  for (int level = 0; level <= index.bits / index.substrings + 1; ++level)
    for (int s = 0; s < index.substrings; ++s) {
      if (prober.cost() + expected_cost(index, s, level) > budget) return Outcome::gave_up;
      prober.probe(s, level);
      if (prober.broken()) return Outcome::broken;
      const uint64_t covered = static_cast<uint64_t>(int64_t{level} * index.substrings + s);
      if (static_cast<int64_t>(hits.size()) == k && hits.front() >> 32 <= covered) {
        std::sort_heap(hits.begin(), hits.end());
        return Outcome::complete;
      }
    }
  std::sort_heap(hits.begin(), hits.end());  // every bucket was probed
  // Tables that leave codes out can end here with too few.
  return static_cast<int64_t>(hits.size()) == std::min(k, index.total) ? Outcome::complete : Outcome::broken;
}

Outcome multi_index_range(const MultiIndex& index, const uint8_t* query, int radius, double budget,
                          std::vector<Entry>& hits) {
  hits.clear();
  radius = std::min(radius, index.bits);
  const int level = radius / index.substrings, last = radius % index.substrings;
  // What all steps need is known before the first, so a search that is too dear costs nothing.
  double expected = static_cast<double>(index.total - index.indexed);
  for (int s = 0; s < index.substrings; ++s)
    for (int a = 0; a <= (s <= last ? level : level - 1); ++a) expected += expected_cost(index, s, a);
  if (expected > budget) return Outcome::gave_up;
  Ball ball(hits, radius);
  Prober<Ball> prober(index, query, ball);
  prober.compare_rest();
  for (int a = 0; a <= level; ++a)
    for (int s = 0; s < index.substrings && (a < level || s <= last); ++s) {
      if (prober.cost() > budget) return Outcome::gave_up;
      prober.probe(s, a);
      if (prober.broken()) return Outcome::broken;
    }
  std::sort(hits.begin(), hits.end());
  return Outcome::complete;
}

}  // namespace warphash::hamming
