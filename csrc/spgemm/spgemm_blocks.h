// SPDX-License-Identifier: Apache-2.0
// Rows of a product cut into pieces and blocks, taken by workers as they become free. Torch-free.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "common/parallel.h"
#include "spgemm/spgemm.h"

namespace warphash::spgemm {

// Work before row i, monotone in i: the entries of a and of the pattern, and the rows themselves.
struct RowWork {
  const int64_t *a_crow, *crow;
  int64_t rows;

  int64_t before(int64_t row) const { return a_crow[row] + crow[row] + row; }
  int64_t all() const { return before(rows); }
  // The first row with at least `work` before it.
  int64_t row_at(int64_t work) const {
    int64_t low = 0, high = rows;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (before(middle) < work)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
};

// Calls body(begin, end) for pieces of [0, count).
template <class Body>
void for_pieces(int64_t count, int64_t piece, Body&& body) {
  const int64_t pieces = (count + piece - 1) / piece;
  parallel_tasks_if(pieces > 1, pieces, [&](int64_t p) { body(p * piece, std::min(count, (p + 1) * piece)); });
}

// Calls body(row) for all rows, of about 2^16 entries at a time.
constexpr int64_t entries_a_piece = 1 << 16;
template <class Body>
void for_rows(const Pattern& pattern, Body&& body) {
  const int64_t rows = std::max<int64_t>(entries_a_piece / (1 + pattern.entries / (pattern.rows + 1)), 1);
  for_pieces(pattern.rows, rows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) body(row);
  });
}

// Calls body(next) once a worker; next(begin, end) hands out blocks of rows until it returns false.
template <class Body>
void for_row_blocks(const RowWork& work, Body&& body) {
  constexpr int64_t least = 1 << 13, blocks_a_worker = 32;
  const int64_t all = work.all(), threads = thread_count();
  const int64_t blocks = std::clamp<int64_t>(all / least, 1, threads > 1 ? threads * blocks_a_worker : 1);
  std::atomic<int64_t> next_block{0};
  const auto next = [&](int64_t& begin, int64_t& end) {
    const int64_t block = next_block.fetch_add(1);
    if (block >= blocks) return false;
    const double share = static_cast<double>(all) / static_cast<double>(blocks);
    begin = block == 0 ? 0 : work.row_at(static_cast<int64_t>(share * static_cast<double>(block)));
    end = block + 1 == blocks ? work.rows : work.row_at(static_cast<int64_t>(share * static_cast<double>(block + 1)));
    return true;
  };
  const int64_t workers = std::min(threads, blocks);
  parallel_tasks_if(workers > 1, workers, [&](int64_t) { body(next); });
}

}  // namespace warphash::spgemm
