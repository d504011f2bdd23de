// SPDX-License-Identifier: Apache-2.0
// The stable sort of codes into buckets. Bound: memory; 16 bytes written an item, into pages that the system clears first,
// and what the sort moves between. With few buckets, clearing takes more than a third of the time.
//
// What a scattered write costs is what caches and TLB miss of it. Up to 2^10 buckets items are counted and go to their places
// in `order` at once. Above, indices of 32 bits are scattered into a workspace for one table, 4 MiB where it has a million
// items, and `order` is written from there in one run. `inverse` is written as the codes are read. (Stores past the caches
// gain nothing on new pages; lines put together in buffers cost more than they save.) Above 2^20 buckets the cursors no longer
// fit the caches: the high digit cuts the items into coarse buckets (records of code and index, in order), each of which is
// then counted by its low digit; `inverse` reads the final places through the coarse cursors once more, which again run
// forward in few streams.
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

constexpr int64_t most_direct = 1 << 10;  // buckets whose items go to `order` at once
constexpr int one_pass_bits = 20;
constexpr int64_t least_part = 1 << 15;                         // items that are worth a thread
constexpr int64_t core_bytes = 1 << 20, chip_bytes = 16 << 20;  // what caches hold, about
constexpr int64_t ahead = 24;                                   // items from asking for a place to writing there

// A record's neighbours in memory: 8 bytes where indices fit 32 bits.
template <class Index>
struct Record {
  Index low, index;
};

// One table of a call, with the parts that threads take.
template <class Code, class Index>
class Sort {
 public:
  Sort(int64_t items, int64_t buckets, int64_t parts) : items_(items), buckets_(buckets), parts_(parts) {
    const int bits = std::bit_width(static_cast<uint64_t>(buckets - 1));
    low_bits_ = bits <= one_pass_bits ? 0 : bits - std::clamp(bits - 14, 8, 10);
    coarse_ = ((buckets - 1) >> low_bits_) + 1;
    counts_ = AlignedBuffer(static_cast<size_t>(parts_ * coarse_) * sizeof(Index));
    if (buckets_ <= most_direct) return;
    places_ = buffer(static_cast<size_t>(items_) * sizeof(Index));
    if (low_bits_ == 0) return;
    // A few groups of coarse buckets for each thread.
    groups_ = parts_ > 1 ? std::min<int64_t>(coarse_, 8 * parts_) : 1;
    cursors_ = AlignedBuffer(static_cast<size_t>(parts_ * coarse_) * sizeof(Index));
    fine_ = AlignedBuffer((static_cast<size_t>(groups_) << low_bits_) * sizeof(Index));
    records_ = buffer(static_cast<size_t>(items_) * sizeof(Record<Index>));
  }

  // How many parts of a table have cursors that are small beside its items.
  static int64_t most_parts(int64_t items, int64_t buckets) {
    const int64_t cursors = buckets <= int64_t{1} << one_pass_bits ? buckets : 1 << 10;
    return std::max<int64_t>(1, std::min(items / least_part, items / std::max<int64_t>(1, cursors / 4)));
  }

  void run(const Code* codes, int64_t* order, int64_t* inverse, int64_t* offsets) {
    const bool split = parts_ > 1;
    parallel_tasks_if(split, parts_, [&](int64_t part) { count(codes, part); });
    accumulate();
    offsets[buckets_] = items_;
    if (low_bits_ == 0) {
      std::copy_n(starts(), buckets_, offsets);
      if (buckets_ <= most_direct) {
        parallel_tasks_if(split, parts_, [&](int64_t part) { place(codes, part, order, inverse); });
        return;
      }
      parallel_tasks_if(split, parts_, [&](int64_t part) { place(codes, part, places(), inverse); });
      parallel_tasks_if(split, parts_, [&](int64_t part) { widen(part, order); });
      return;
    }
    parallel_tasks_if(split, parts_, [&](int64_t part) { cut(codes, part); });
    parallel_tasks_if(split, groups_, [&](int64_t group) {
      Index* fine = fine_.template as<Index>() + (group << low_bits_);
      for (int64_t bucket = coarse_ * group / groups_; bucket < coarse_ * (group + 1) / groups_; ++bucket)
        refine(bucket, fine, order, offsets);
    });
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
  Index* places() { return places_.template as<Index>(); }
  static uint64_t unsigned_code(Code code) { return static_cast<uint64_t>(static_cast<int64_t>(code)); }

  void count(const Code* codes, int64_t part) {
    Index* counts = starts(part);
    std::fill_n(counts, coarse_, Index{0});
    const uint64_t buckets = static_cast<uint64_t>(buckets_);
    const int shift = low_bits_;
    for (int64_t i = begin(part), end = begin(part + 1); i < end; ++i) {
      const uint64_t code = unsigned_code(codes[i]);
      if (code >= buckets)
        throw std::out_of_range("codes must be in [0, " + std::to_string(buckets) + "), got " +
                                std::to_string(static_cast<int64_t>(code)));
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

  // ---- One pass ----
  template <class Item>
  void place(const Code* codes, int64_t part, Item* items, int64_t* inverse) {
    Index* cursor = starts(part);
    const int64_t bytes = items_ * int64_t{sizeof(Item)}, end = begin(part + 1);
    const bool asks = bytes > chip_bytes || (bytes > core_bytes && coarse_ > 1 << 11);
    int64_t i = begin(part);
    const auto put = [&] {
      const Index place = cursor[unsigned_code(codes[i])]++;
      items[place] = static_cast<Item>(i);
      inverse[i] = static_cast<int64_t>(place);
    };
    if (asks)
      for (; i < end - ahead; ++i) {
        __builtin_prefetch(items + cursor[unsigned_code(codes[i + ahead])], 1);
        put();
      }
    for (; i < end; ++i) put();
  }

  void widen(int64_t part, int64_t* order) {
    const Index* items = places();
    for (int64_t i = begin(part), end = begin(part + 1); i < end; ++i) order[i] = static_cast<int64_t>(items[i]);
  }

  // ---- Two digits ----
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
      offsets[first_code + code] = static_cast<int64_t>(sum);
      sum += counted;
    }
    for (int64_t i = first; i < last; ++i) {
      const Index place = cursor[records[i].low]++;
      order[place] = static_cast<int64_t>(records[i].index);
      places()[i] = place;
    }
  }

  void invert(const Code* codes, int64_t part, int64_t* inverse) {
    Index* cursor = starts(part);
    const Index* final_places = places();
    const int shift = low_bits_;
    for (int64_t i = begin(part), end = begin(part + 1); i < end; ++i)
      inverse[i] = static_cast<int64_t>(final_places[cursor[unsigned_code(codes[i]) >> shift]++]);
  }

  int64_t items_, buckets_, parts_;
  int low_bits_ = 0;  // 0: one pass
  int64_t coarse_ = 0, groups_ = 1;
  AlignedBuffer counts_, cursors_, fine_, records_;
  AlignedBuffer places_;  // one pass: items by place; two digits: places by record
};

template <class Code, class Index>
void sort_tables(const Codes& codes, int64_t* order, int64_t* inverse, int64_t* offsets) {
  const int64_t threads = thread_count(), tables = codes.tables, items = codes.items, buckets = codes.buckets;
  // Whole tables keep their workspace in the cache of one core; a table is cut where there are too few to share out.
  const bool whole = tables >= 2 * threads || items < 2 * least_part;
  const int64_t parts = whole ? 1 : std::min(threads, Sort<Code, Index>::most_parts(items, buckets));
  const int64_t workers = whole ? std::min(tables, threads) : 1;
  std::atomic<int64_t> next{0};
  parallel_tasks_if(whole && tables * items > least_part, workers, [&](int64_t) {
    Sort<Code, Index> sort(items, buckets, parts);
    for (int64_t table; (table = next.fetch_add(1)) < tables;)
      sort.run(static_cast<const Code*>(codes.data) + table * items, order + table * items, inverse + table * items,
               offsets + table * (buckets + 1));
  });
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
