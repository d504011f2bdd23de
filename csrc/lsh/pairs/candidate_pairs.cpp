// SPDX-License-Identifier: Apache-2.0
// Pairs that meet in a bucket. Bound: putting the pairs of all columns in order, 8 bytes each.
//
// The pairs of a column come as its buckets do; they are cut by their first member into pieces of equally many items, each of
// which is sorted and made distinct by itself, so that pieces one after the other are the whole in order.
#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "common/parallel.h"
#include "lsh/pairs/pair_groups.h"

namespace warphash::lsh {
namespace {

// A pair within a piece: its first member's place there, then its second, which is below 2^44 where keys are to fit a memory.
constexpr int place_bits = 44;
constexpr int64_t most_pieces = 1024, least_items = 1 << 11, most_items = 1 << 20;  // of a piece

bool wanted(const Groups& groups, int64_t bucket, int64_t max_bucket) {
  return max_bucket < 0 || groups.size(bucket) <= max_bucket;
}

void check_count(const std::vector<Groups>& columns, int64_t max_bucket, PairMode mode) {
  double total = 0;
  for (const Groups& groups : columns)
    for (int64_t bucket = 0; bucket < groups.count(); ++bucket)
      if (wanted(groups, bucket, max_bucket)) {
        const double size = static_cast<double>(groups.size(bucket));
        total += mode == PairMode::chain ? size - 1 : size * (size - 1) / 2;
      }
  if (total > static_cast<double>(most_pairs))
    throw std::length_error("keys have " + std::to_string(static_cast<int64_t>(std::min(total, 9e18))) +
                            " pairs, more than 2^31 - 1: pass max_bucket, or mode=\"chain\"");
}

// take(first, end) for each member that is a pair's first: with those after it.
template <class Take>
void each_first(const Groups& groups, int64_t bucket, PairMode mode, const Take& take) {
  const int64_t* begin = groups.items.data() + groups.begins[static_cast<size_t>(bucket)];
  const int64_t* end = groups.items.data() + groups.begins[static_cast<size_t>(bucket) + 1];
  for (const int64_t* first = begin; first + 1 < (mode == PairMode::chain ? begin + 2 : end); ++first) take(first, end);
}

// Sorted and distinct: in the order of first members by a count, then each one's few others.
void put_in_order(std::vector<uint64_t>& codes, int64_t items) {
  std::vector<size_t> ends(static_cast<size_t>(items) + 1);
  for (const uint64_t code : codes) ++ends[(code >> place_bits) + 1];
  for (size_t first = 1; first < ends.size(); ++first) ends[first] += ends[first - 1];
  std::vector<uint64_t> ordered(codes.size());
  for (const uint64_t code : codes) ordered[ends[code >> place_bits]++] = code;
  uint64_t* distinct = codes.data();
  for (size_t first = 0, begin = 0; begin < ordered.size(); begin = ends[first++]) {
    uint64_t *from = ordered.data() + begin, *to = ordered.data() + ends[first];
    std::sort(from, to);
    distinct = std::unique_copy(from, to, distinct);
  }
  codes.resize(static_cast<size_t>(distinct - codes.data()));
}

}  // namespace

int64_t PairPieces::count() const {
  int64_t total = 0;
  for (const std::vector<uint64_t>& piece : codes) total += static_cast<int64_t>(piece.size());
  return total;
}

void PairPieces::write(int64_t* pairs) const {
  std::vector<int64_t> begins(1, 0);
  for (const std::vector<uint64_t>& piece : codes) begins.push_back(begins.back() + static_cast<int64_t>(piece.size()));
  parallel_tasks_if(begins.back() > 1 << 14, static_cast<int64_t>(codes.size()), [&](int64_t piece) {
    int64_t* to = pairs + 2 * begins[static_cast<size_t>(piece)];
    for (const uint64_t code : codes[static_cast<size_t>(piece)]) {
      *to++ = piece * items + static_cast<int64_t>(code >> place_bits);
      *to++ = static_cast<int64_t>(code & ((uint64_t{1} << place_bits) - 1));
    }
  });
}

PairPieces candidate_pairs(const Keys& keys, int64_t max_bucket, PairMode mode) {
  const std::vector<Groups> columns = all_groups(keys);
  check_count(columns, max_bucket, mode);
  PairPieces pieces{std::clamp(keys.items / most_pieces, least_items, most_items), {}};
  const int64_t count = (keys.items + pieces.items - 1) / pieces.items;
  pieces.codes.resize(static_cast<size_t>(count));
  // How many of a piece come from each column; then where those begin.
  std::vector<std::vector<int64_t>> places(columns.size(), std::vector<int64_t>(static_cast<size_t>(count)));
  const bool worth_it = keys.items * keys.columns > 1 << 14;
  const auto tasks = [&](int64_t number, const auto& body) {
    parallel_tasks_if(worth_it, number, [&](int64_t task) { body(static_cast<size_t>(task)); });
  };
  const auto each = [&](size_t column, const auto& take) {
    const Groups& groups = columns[column];
    for (int64_t bucket = 0; bucket < groups.count(); ++bucket)
      if (wanted(groups, bucket, max_bucket)) each_first(groups, bucket, mode, take);
  };
  const auto piece_of = [&](int64_t item) { return static_cast<size_t>(item / pieces.items); };
  tasks(static_cast<int64_t>(columns.size()), [&](size_t column) {
    each(column,
         [&](const int64_t* first, const int64_t* end) { places[column][piece_of(*first)] += end - first - 1; });
  });
  tasks(count, [&](size_t piece) {
    int64_t total = 0;
    for (std::vector<int64_t>& column : places) total += std::exchange(column[piece], total);
    pieces.codes[piece].resize(static_cast<size_t>(total));
  });
  tasks(static_cast<int64_t>(columns.size()), [&](size_t column) {
    each(column, [&](const int64_t* first, const int64_t* end) {
      const size_t piece = piece_of(*first);
      int64_t& place = places[column][piece];
      uint64_t* to = pieces.codes[piece].data() + place;
      const uint64_t code = static_cast<uint64_t>(*first - static_cast<int64_t>(piece) * pieces.items) << place_bits;
      for (const int64_t* second = first + 1; second < end; ++second) *to++ = code | static_cast<uint64_t>(*second);
      place += end - first - 1;
    });
  });
  tasks(count, [&](size_t piece) { put_in_order(pieces.codes[piece], pieces.items); });
  return pieces;
}

std::vector<int64_t> bucket_sizes(const Keys& keys) {
  std::vector<int64_t> sizes(1, 0);
  const auto count = [&sizes](int64_t size, int64_t buckets) {
    if (static_cast<int64_t>(sizes.size()) <= size) sizes.resize(static_cast<size_t>(size) + 1);
    sizes[static_cast<size_t>(size)] += buckets;
  };
  for (const Groups& groups : all_groups(keys)) {
    if (groups.singles > 0) count(1, groups.singles);
    for (int64_t bucket = 0; bucket < groups.count(); ++bucket) count(groups.size(bucket), 1);
  }
  return sizes;
}

}  // namespace warphash::lsh
