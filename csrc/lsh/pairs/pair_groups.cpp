// SPDX-License-Identifier: Apache-2.0
// Equal keys of a column found by a table of hash slots. Bound: the memory's answer to one random line an item.
//
// Most keys stand alone. So a first pass only sorts out which items share a slot with another one: two bits a slot (seen,
// seen again), small enough for the cache. The few that remain are numbered by key and counted out. A sort of all would
// move each item several times.
#include "lsh/pairs/pair_groups.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <new>

#include "common/memory.h"
#include "common/parallel.h"

namespace warphash::lsh {
namespace {

constexpr int64_t block_items = 64;  // whose keys stay in the first-level cache
constexpr uint64_t golden = 0x9E3779B97F4A7C15u;

// Two bits a slot.
class Slots {
 public:
  explicit Slots(int64_t items)
      : shift_(64 - std::max(10, static_cast<int>(std::bit_width(static_cast<uint64_t>(8 * items))))),
        words_((uint64_t{1} << (64 - shift_)) / 32) {}

  void add(int64_t key) {
    const uint64_t slot = slot_of(key);
    uint64_t& word = words_[slot / 32];
    const int place = 2 * static_cast<int>(slot % 32);
    // 00 -> 01 -> 11, and stays.
    word |= ((word >> place & 1) << 1 | 1) << place;
  }
  bool shared(int64_t key) const {
    const uint64_t slot = slot_of(key);
    return words_[slot / 32] >> (2 * (slot % 32) + 1) & 1;
  }

 private:
  uint64_t slot_of(int64_t key) const { return static_cast<uint64_t>(key) * golden >> shift_; }

  int shift_;
  std::vector<uint64_t> words_;
};

// Numbers of distinct keys, in the order in which they first come.
class Numbering {
 public:
  explicit Numbering(size_t keys)
      : shift_(64 - std::max(4, static_cast<int>(std::bit_width(2 * keys)))), slots_(size_t{1} << (64 - shift_), -1) {}

  int64_t number_of(int64_t key) {
    const uint64_t mask = slots_.size() - 1;
    uint64_t slot = static_cast<uint64_t>(key) * golden >> shift_;
    while (slots_[slot] >= 0 && keys_[static_cast<size_t>(slots_[slot])] != key) slot = (slot + 1) & mask;
    if (slots_[slot] < 0) {
      slots_[slot] = static_cast<int64_t>(keys_.size());
      keys_.push_back(key);
    }
    return slots_[slot];
  }
  size_t count() const { return keys_.size(); }

 private:
  int shift_;
  std::vector<int64_t> slots_, keys_;
};

// keys [items] of one column.
Groups groups_of(const int64_t* keys, int64_t items) {
  Slots slots(items);
  Groups groups;
  for (int64_t item = 0; item < items; ++item)
    if (keys[item] != -1) slots.add(keys[item]), ++groups.singles;
  std::vector<int64_t> kept, numbers;
  for (int64_t item = 0; item < items; ++item)
    if (keys[item] != -1 && slots.shared(keys[item])) kept.push_back(item);
  Numbering numbering(kept.size());
  for (int64_t item : kept) numbers.push_back(numbering.number_of(keys[item]));
  std::vector<int64_t> counts(numbering.count(), 0);
  for (int64_t number : numbers) ++counts[static_cast<size_t>(number)];
  // Counts to the places where buckets begin; keys of one item alone have none.
  int64_t total = 0;
  for (int64_t& count : counts) {
    const int64_t members = count;
    count = members < 2 ? -1 : total;
    if (members < 2) continue;
    total += members;
    groups.begins.push_back(total);
  }
  groups.singles -= total;
  groups.items.resize(static_cast<size_t>(total));
  for (size_t i = 0; i < kept.size(); ++i) {
    int64_t& place = counts[static_cast<size_t>(numbers[i])];
    if (place >= 0) groups.items[static_cast<size_t>(place++)] = kept[i];
  }
  return groups;
}

}  // namespace

std::vector<Groups> all_groups(const Keys& keys) {
  std::vector<Groups> groups(static_cast<size_t>(keys.columns));
  std::atomic<bool> no_memory{false};
  const bool worth_it = keys.items * keys.columns > 1 << 14;
  // Column by column: a key a line of memory would be read twice.
  AlignedBuffer turned(static_cast<size_t>(keys.items * keys.columns) * sizeof(int64_t));
  prefer_large_pages(turned.data(), turned.size());
  int64_t* columns = turned.as<int64_t>();
  parallel_tasks_if(worth_it, (keys.items + block_items - 1) / block_items, [&](int64_t block) {
    const int64_t end = std::min(keys.items, (block + 1) * block_items);
    for (int64_t column = 0; column < keys.columns; ++column)
      for (int64_t item = block * block_items; item < end; ++item)
        columns[column * keys.items + item] = keys.data[item * keys.columns + column];
  });
  parallel_tasks_if(worth_it, keys.columns, [&](int64_t column) {
    try {
      groups[static_cast<size_t>(column)] = groups_of(columns + column * keys.items, keys.items);
    } catch (const std::bad_alloc&) {
      no_memory = true;
    }
  });
  if (no_memory) throw std::bad_alloc();
  return groups;
}

}  // namespace warphash::lsh
