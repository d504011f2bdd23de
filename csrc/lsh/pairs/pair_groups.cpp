// SPDX-License-Identifier: Apache-2.0
// Equal keys of a column found by a chained hash table. Bound: the cache's answer to one random place an item.
//
// Most keys stand alone. So a first pass only chains the items of a slot and notes those that found one before them; the few
// noted walk their chain to the last item of the same key. What is compared on the way are 32 bits of each key's hash, laid out
// column by column, so that a column and its table fit the cache together; the keys themselves are read where those agree.
// A sort would move each item several times.
#include "lsh/pairs/pair_groups.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <utility>

#include "common/memory.h"
#include "common/parallel.h"

namespace warphash::lsh {
namespace {

constexpr int64_t block_items = 64;  // whose keys stay in the first-level cache
constexpr size_t ahead = 32;         // places asked for before they are read

// 0 where there is no key.
uint32_t print_of(int64_t key) {
  const uint64_t bits = static_cast<uint64_t>(key);
  const uint32_t hash = static_cast<uint32_t>((bits ^ bits >> 32) * 0x9E3779B97F4A7C15u >> 32);
  return key == -1 ? 0 : std::max(hash, 1u);
}

// What a thread needs for one column after the other; Index holds any item + 1.
template <class Index>
class Grouper {
 public:
  explicit Grouper(const Keys& keys)
      : keys_(keys),
        shift_(32 - std::clamp(static_cast<int>(std::bit_width(static_cast<uint64_t>(2 * keys.items))), 6, 31)),
        head_(size_t{1} << (32 - shift_)),
        before_(static_cast<size_t>(keys.items)),
        group_(static_cast<size_t>(keys.items)),
        noted_(static_cast<size_t>(keys.items) + 1) {}

  // prints [items] of the column.
  Groups operator()(const uint32_t* prints, int64_t column) {
    Groups groups;
    const size_t noted = chain(prints, groups.singles);
    std::fill(group_.begin(), group_.end(), Index{0});
    std::vector<int64_t>& begins = groups.begins;  // at first: sizes, one place later
    size_t matched = 0;
    for (size_t i = 0; i < noted; i += ahead) {
      const size_t count = std::min(noted - i, ahead);
      Index found[ahead];
      for (size_t j = 0; j < count; ++j) {
        const Index item = noted_[i + j];
        found[j] = similar(prints, item, before_[item]);
        if (found[j] == 0) continue;
        __builtin_prefetch(key(found[j] - 1, column));
        __builtin_prefetch(key(item, column));
      }
      for (size_t j = 0; j < count; ++j) {
        const Index item = noted_[i + j];
        Index last = found[j];
        while (last != 0 && *key(last - 1, column) != *key(item, column))
          last = similar(prints, item, before_[last - 1]);
        if (last == 0) continue;
        Index& group = group_[last - 1];
        if (group == 0) {
          begins.push_back(1);
          group = static_cast<Index>(begins.size() - 1);
          groups.items.push_back(static_cast<int64_t>(last) - 1);
        }
        group_[item] = group;
        ++begins[group];
        noted_[matched++] = item;
      }
    }
    const std::vector<int64_t> firsts = std::move(groups.items);
    groups.items.resize(firsts.size() + matched);
    groups.singles -= static_cast<int64_t>(groups.items.size());
    std::vector<int64_t> next(firsts.size());
    for (size_t group = 0; group < firsts.size(); ++group) {
      const int64_t begin = begins[group];
      groups.items[static_cast<size_t>(begin)] = firsts[group];
      next[group] = begin + 1;
      begins[group + 1] += begin;
    }
    for (size_t i = 0; i < matched; ++i)
      groups.items[static_cast<size_t>(next[group_[noted_[i]] - 1]++)] = static_cast<int64_t>(noted_[i]);
    return groups;
  }

 private:
  // Chains of all slots, each item pointing to the one before it; those that have one go to noted_. present: items with a key.
  size_t chain(const uint32_t* prints, int64_t& present) {
    std::fill(head_.begin(), head_.end(), Index{0});
    size_t noted = 0;
    for (int64_t item = 0; item < keys_.items; ++item) {
      __builtin_prefetch(&head_[prints[std::min(item + static_cast<int64_t>(ahead), keys_.items - 1)] >> shift_], 1);
      if (prints[item] == 0) continue;
      ++present;
      Index& head = head_[prints[item] >> shift_];
      before_[static_cast<size_t>(item)] = head;
      noted_[noted] = static_cast<Index>(item);
      noted += head != 0;
      head = static_cast<Index>(item + 1);
    }
    return noted;
  }
  // The first of a chain (item + 1; 0 ends it) whose key has the hash of this item's.
  Index similar(const uint32_t* prints, Index item, Index other) const {
    while (other != 0 && prints[other - 1] != prints[item]) other = before_[other - 1];
    return other;
  }
  const int64_t* key(Index item, int64_t column) const {
    return keys_.data + static_cast<int64_t>(item) * keys_.columns + column;
  }

  Keys keys_;
  int shift_;
  std::vector<Index> head_, before_, group_, noted_;
};

template <class Index>
void group_columns(const Keys& keys, const uint32_t* prints, std::atomic<int64_t>& next, std::vector<Groups>& groups) {
  Grouper<Index> grouper(keys);
  for (int64_t column; (column = next++) < keys.columns;)
    groups[static_cast<size_t>(column)] = grouper(prints + column * keys.items, column);
}

}  // namespace

std::vector<Groups> all_groups(const Keys& keys) {
  std::vector<Groups> groups(static_cast<size_t>(keys.columns));
  if (keys.items == 0 || keys.columns == 0) return groups;
  const bool worth_it = keys.items * keys.columns > 1 << 14;
  const size_t bytes = static_cast<size_t>(keys.items * keys.columns) * sizeof(uint32_t);
  const AlignedBuffer buffer(bytes);
  prefer_large_pages(buffer.data(), bytes);
  uint32_t* prints = buffer.as<uint32_t>();
  parallel_tasks_if(worth_it, (keys.items + block_items - 1) / block_items, [&](int64_t block) {
    const int64_t end = std::min(keys.items, (block + 1) * block_items);
    for (int64_t column = 0; column < keys.columns; ++column)
      for (int64_t item = block * block_items; item < end; ++item)
        prints[column * keys.items + item] = print_of(keys.data[item * keys.columns + column]);
  });
  std::atomic<int64_t> next{0};
  parallel_tasks_if(worth_it, worth_it ? std::min<int64_t>(thread_count(), keys.columns) : 1, [&](int64_t) {
    if (keys.items < int64_t{UINT32_MAX})
      group_columns<uint32_t>(keys, prints, next, groups);
    else
      group_columns<uint64_t>(keys, prints, next, groups);
  });
  return groups;
}

}  // namespace warphash::lsh
