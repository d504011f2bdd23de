// SPDX-License-Identifier: Apache-2.0
// The stable sort of codes into buckets. Bound: memory; 16 bytes written an item and what the sort moves between.
//
// A scattered write costs a line of memory unless its neighbours follow soon, so nothing is scattered to more places than
// a core's caches have lines for. Lines put together in a buffer and written whole were tried: at up to 2^11 places they
// cost more than they save. Up to 2^11 buckets one counting pass does: `order` is written at one place a bucket,
// `inverse` as the codes are read. Above, the high digit cuts the items into coarse buckets (records of code and index, in
// order), each of which is then counted by its low digit within the cache; `inverse` reads the final places through the
// coarse cursors once more, which again run forward in few streams.
//
// A table is cut into parts for several threads where there are fewer tables than threads: each part counts for itself, and
// the parts' counts, taken in turn, tell where each begins. So the result is the same for any number.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "common/memory.h"
#include "common/parallel.h"
#include "lsh/buckets/buckets.h"

namespace warphash::lsh {
namespace {

constexpr int one_pass_bits = 11, most_digit_bits = 11;
constexpr int64_t least_part = 1 << 15;  // items that are worth a thread
// A record's neighbours in memory: 8 bytes where indices fit 32 bits.
template <class Index>
struct Record {
  Index low, index;
};

// The first code outside of the range, for the error.
class Outside {
 public:
  void found(int64_t code) {
    if (!any_.exchange(true)) code_ = code;
  }
  void check(int64_t buckets) const {
    if (any_)
      throw std::out_of_range("codes must be in [0, " + std::to_string(buckets) + "), got " + std::to_string(code_));
  }
  explicit operator bool() const { return any_; }

 private:
  std::atomic<bool> any_{false};
  int64_t code_ = 0;
};

// One table of a call, with the parts that threads take.
template <class Code, class Index>
class Sort {
 public:
  Sort(int64_t items, int64_t buckets, int64_t parts)
      : items_(items), buckets_(buckets), parts_(parts), bits_(std::bit_width(static_cast<uint64_t>(buckets - 1))) {
    low_bits_ = bits_ <= one_pass_bits ? 0 : std::max(bits_ - most_digit_bits, (bits_ + 1) / 2);
    coarse_ = ((buckets - 1) >> low_bits_) + 1;
    // A few groups of coarse buckets for each thread.
    groups_ = parts_ > 1 ? std::min<int64_t>(coarse_, 8 * parts_) : 1;
    counts_ = AlignedBuffer(static_cast<size_t>(parts_ * coarse_) * sizeof(Index));
    cursors_ = AlignedBuffer(static_cast<size_t>(parts_ * coarse_) * sizeof(Index));
    if (low_bits_ > 0) {
      fine_ = AlignedBuffer((static_cast<size_t>(groups_) << low_bits_) * sizeof(Index));
      records_ = buffer(static_cast<size_t>(items_) * sizeof(Record<Index>));
      places_ = buffer(static_cast<size_t>(items_) * sizeof(Index));
    }
  }

  // Whether all codes were in range; where not, outputs are unfinished.
  void run(const Code* codes, int64_t* order, int64_t* inverse, int64_t* offsets, Outside& outside) {
    const bool split = parts_ > 1;
    parallel_tasks_if(split, parts_, [&](int64_t part) { count(codes, part, outside); });
    if (outside) return;
    accumulate();
    if (low_bits_ == 0) {
      for (int64_t bucket = 0; bucket < buckets_; ++bucket) offsets[bucket] = starts()[bucket];
      offsets[buckets_] = items_;
      parallel_tasks_if(split, parts_, [&](int64_t part) { place(codes, part, order, inverse); });
      return;
    }
    parallel_tasks_if(split, parts_, [&](int64_t part) { cut(codes, part); });
    parallel_tasks_if(split, groups_, [&](int64_t group) {
      Index* fine = fine_.template as<Index>() + (group << low_bits_);
      for (int64_t bucket = coarse_ * group / groups_; bucket < coarse_ * (group + 1) / groups_; ++bucket)
        refine(bucket, fine, order, offsets);
    });
    offsets[buckets_] = items_;
    parallel_tasks_if(split, parts_, [&](int64_t part) { invert(codes, part, inverse); });
  }

 private:
  static AlignedBuffer buffer(size_t bytes) {
    AlignedBuffer out(bytes);
    prefer_large_pages(out.data(), bytes);
    return out;
  }
  int64_t begin(int64_t part) const { return items_ * part / parts_; }
  Index* starts(int64_t part = 0) { return counts_.template as<Index>() + part * coarse_; }
  uint64_t unsigned_code(Code code) const { return static_cast<uint64_t>(static_cast<int64_t>(code)); }

  void count(const Code* codes, int64_t part, Outside& outside) {
    Index* counts = starts(part);
    std::fill_n(counts, coarse_, Index{0});
    const uint64_t buckets = static_cast<uint64_t>(buckets_);
    const int shift = low_bits_;
    for (int64_t i = begin(part), end = begin(part + 1); i < end; ++i) {
      const uint64_t code = unsigned_code(codes[i]);
      if (code >= buckets) return outside.found(static_cast<int64_t>(code));
      ++counts[code >> shift];
    }
  }

  // Counts of parts to the places where each begins.
  void accumulate() {
    Index sum = 0;
    for (int64_t bucket = 0; bucket < coarse_; ++bucket)
      for (int64_t part = 0; part < parts_; ++part) {
        Index& entry = starts(part)[bucket];
        const Index counted = entry;
        entry = sum;
        sum += counted;
      }
  }

  void place(const Code* codes, int64_t part, int64_t* order, int64_t* inverse) {
    Index* cursor = starts(part);
    for (int64_t i = begin(part), end = begin(part + 1); i < end; ++i) {
      const Index place = cursor[unsigned_code(codes[i])]++;
      order[place] = i;
      inverse[i] = place;
    }
  }

  void cut(const Code* codes, int64_t part) {
    const int shift = low_bits_;
    const uint64_t low = (uint64_t{1} << shift) - 1;
    Index* cursor = cursors_.template as<Index>() + part * coarse_;
    std::copy_n(starts(part), coarse_, cursor);
    Record<Index>* records = records_.template as<Record<Index>>();
    for (int64_t i = begin(part), end = begin(part + 1); i < end; ++i) {
      const uint64_t code = unsigned_code(codes[i]);
      records[cursor[code >> shift]++] = {static_cast<Index>(code & low), static_cast<Index>(i)};
    }
  }

  void refine(int64_t bucket, Index* cursor, int64_t* order, int64_t* offsets) {
    const int64_t first = starts()[bucket], last = bucket + 1 < coarse_ ? starts()[bucket + 1] : items_;
    const int64_t first_code = bucket << low_bits_;
    const int64_t codes = std::min(int64_t{1} << low_bits_, buckets_ - first_code);
    std::fill_n(cursor, codes, Index{0});
    const Record<Index>* records = records_.template as<Record<Index>>();
    for (int64_t i = first; i < last; ++i) ++cursor[records[i].low];
    Index sum = static_cast<Index>(first);
    for (int64_t code = 0; code < codes; ++code) {
      const Index counted = cursor[code];
      cursor[code] = sum;
      offsets[first_code + code] = sum;
      sum += counted;
    }
    Index* places = places_.template as<Index>();
    for (int64_t i = first; i < last; ++i) {
      const Index place = cursor[records[i].low]++;
      order[place] = records[i].index;
      places[i] = place;
    }
  }

  void invert(const Code* codes, int64_t part, int64_t* inverse) {
    Index* cursor = starts(part);
    const Index* places = places_.template as<Index>();
    const int shift = low_bits_;
    for (int64_t i = begin(part), end = begin(part + 1); i < end; ++i)
      inverse[i] = places[cursor[unsigned_code(codes[i]) >> shift]++];
  }

  int64_t items_, buckets_, parts_;
  int bits_, low_bits_ = 0;
  int64_t coarse_ = 0, groups_ = 1;
  AlignedBuffer counts_, cursors_, fine_, records_, places_;
};

template <class Code, class Index>
void sort_tables(const Codes& codes, int64_t* order, int64_t* inverse, int64_t* offsets) {
  const int64_t threads = thread_count(), tables = codes.tables, items = codes.items, buckets = codes.buckets;
  // Whole tables keep their workspace in the cache of one core; a table is cut where there are too few to share out.
  const bool whole = tables >= 2 * threads || items < 2 * least_part;
  const int64_t most_parts = std::max<int64_t>(1, items / least_part);
  const int64_t parts = whole ? 1 : std::min<int64_t>(threads, most_parts);
  Outside outside;
  const int64_t workers = whole ? std::min(tables, threads) : 1;
  std::atomic<int64_t> next{0};
  std::atomic<bool> no_memory{false};
  parallel_tasks_if(whole && tables * items > least_part, workers, [&](int64_t) {
    try {
      Sort<Code, Index> sort(items, buckets, parts);
      for (int64_t table; !outside && (table = next.fetch_add(1)) < tables;)
        sort.run(static_cast<const Code*>(codes.data) + table * items, order + table * items, inverse + table * items,
                 offsets + table * (buckets + 1), outside);
    } catch (const std::bad_alloc&) {
      no_memory = true;
    }
  });
  if (no_memory) throw std::bad_alloc();
  outside.check(buckets);
}

template <class Code>
void sort_codes(const Codes& codes, int64_t* order, int64_t* inverse, int64_t* offsets) {
  if (codes.items < int64_t{1} << 32)
    sort_tables<Code, uint32_t>(codes, order, inverse, offsets);
  else
    sort_tables<Code, uint64_t>(codes, order, inverse, offsets);
}

}  // namespace

void bucket_sort(const Codes& codes, int64_t* order, int64_t* inverse, int64_t* offsets) {
  if (codes.items == 0 || codes.tables == 0) {
    std::fill_n(offsets, codes.tables * (codes.buckets + 1), int64_t{0});
    return;
  }
  if (codes.buckets == 0) throw std::out_of_range("codes must be in [0, 0), got some");
  switch (codes.bytes) {
    case 1: return sort_codes<uint8_t>(codes, order, inverse, offsets);
    case 2: return sort_codes<int16_t>(codes, order, inverse, offsets);
    case 4: return sort_codes<int32_t>(codes, order, inverse, offsets);
    default: return sort_codes<int64_t>(codes, order, inverse, offsets);
  }
}

}  // namespace warphash::lsh
