// SPDX-License-Identifier: Apache-2.0
// Pairs that meet in a bucket. Bound: sorting the pairs of all columns, 16 bytes each.
//
// The pairs of a column come as its buckets do; they are cut by the high bits of their first member into pieces of about
// equal size, each of which is sorted and made distinct by itself, so that pieces one after the other are the whole in order.
#include <algorithm>
#include <atomic>
#include <new>
#include <stdexcept>
#include <string>

#include "common/parallel.h"
#include "lsh/pairs/pair_groups.h"

namespace warphash::lsh {
namespace {

bool wanted(const Groups& groups, int64_t bucket, int64_t max_bucket) {
  return max_bucket < 0 || groups.size(bucket) <= max_bucket;
}

void check_count(const std::vector<Groups>& columns, int64_t max_bucket, PairMode mode) {
  double total = 0;
  for (const Groups& groups : columns)
    for (int64_t bucket = 0; bucket < groups.count(); ++bucket)
      if (wanted(groups, bucket, max_bucket))
        total += static_cast<double>(groups.size(bucket)) *
                 (mode == PairMode::chain ? 1.0 : (static_cast<double>(groups.size(bucket)) - 1) / 2);
  if (total > static_cast<double>(most_pairs))
    throw std::length_error("keys have " + std::to_string(static_cast<int64_t>(std::min(total, 9e18))) +
                            " pairs, more than 2^31 - 1: pass max_bucket, or mode=\"chain\"");
}

template <class Take>
void each_pair(const Groups& groups, int64_t bucket, PairMode mode, const Take& take) {
  const int64_t* begin = groups.items.data() + groups.begins[static_cast<size_t>(bucket)];
  const int64_t* end = groups.items.data() + groups.begins[static_cast<size_t>(bucket) + 1];
  for (const int64_t* first = begin; first < end; ++first) {
    for (const int64_t* second = first + 1; second < end; ++second) take(*first, *second);
    if (mode == PairMode::chain) break;
  }
}

}  // namespace

std::vector<std::vector<Pair>> candidate_pairs(const Keys& keys, int64_t max_bucket, PairMode mode) {
  const std::vector<Groups> columns = all_groups(keys);
  check_count(columns, max_bucket, mode);
  // Items by pieces; a piece of few pairs more costs little.
  const int64_t pieces = std::clamp<int64_t>(keys.items / 4096, 1, 256);
  const int64_t per_piece = (keys.items + pieces - 1) / pieces;
  std::vector<std::vector<Pair>> found(static_cast<size_t>(pieces));
  std::vector<std::vector<int64_t>> sizes(columns.size(), std::vector<int64_t>(static_cast<size_t>(pieces) + 1));
  std::atomic<bool> no_memory{false};
  const bool worth_it = keys.items * keys.columns > 1 << 14;
  const auto tasks = [&](int64_t count, const auto& body) {
    parallel_tasks_if(worth_it, count, [&](int64_t task) {
      try {
        if (!no_memory) body(static_cast<size_t>(task));
      } catch (const std::bad_alloc&) {
        no_memory = true;
      }
    });
    if (no_memory) throw std::bad_alloc();
  };
  const auto each = [&](const Groups& groups, const auto& take) {
    for (int64_t bucket = 0; bucket < groups.count(); ++bucket)
      if (wanted(groups, bucket, max_bucket)) each_pair(groups, bucket, mode, take);
  };
  tasks(static_cast<int64_t>(columns.size()), [&](size_t column) {
    each(columns[column], [&](int64_t i, int64_t) { ++sizes[column][static_cast<size_t>(i / per_piece)]; });
  });
  tasks(pieces, [&](size_t piece) {
    int64_t total = 0;
    for (std::vector<int64_t>& size : sizes) {
      const int64_t own = size[piece];
      size[piece] = total;
      total += own;
    }
    found[piece].resize(static_cast<size_t>(total));
  });
  tasks(static_cast<int64_t>(columns.size()), [&](size_t column) {
    std::vector<int64_t>& next = sizes[column];
    each(columns[column], [&](int64_t i, int64_t j) {
      const size_t piece = static_cast<size_t>(i / per_piece);
      found[piece][static_cast<size_t>(next[piece]++)] = {i, j};
    });
  });
  tasks(pieces, [&](size_t piece) {
    std::vector<Pair>& pairs = found[piece];
    std::sort(pairs.begin(), pairs.end());
    pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  });
  return found;
}

std::vector<int64_t> bucket_sizes(const Keys& keys) {
  std::vector<int64_t> sizes(1, 0);
  for (const Groups& groups : all_groups(keys)) {
    if (groups.singles > 0 && sizes.size() < 2) sizes.resize(2);
    if (groups.singles > 0) sizes[1] += groups.singles;
    for (int64_t bucket = 0; bucket < groups.count(); ++bucket) {
      const size_t size = static_cast<size_t>(groups.size(bucket));
      if (sizes.size() <= size) sizes.resize(size + 1);
      ++sizes[size];
    }
  }
  return sizes;
}

}  // namespace warphash::lsh
