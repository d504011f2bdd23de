// SPDX-License-Identifier: Apache-2.0
// Chains of fused multiply-adds in tiles of registers, for the vector types of an ISA file.
//
// A tile holds the sums of some rows with all columns of a panel; each step of the dimensions loads the panel's line once
// and broadcasts one value of each row. Bound: the multiply-add units, since lines come from the first or second cache
// and a comparison of the sums gives the bits, so that no sum is stored. With one vector of columns the reading of rows
// from memory is the bound.
// A vector type V has: Real, Vec, lanes, zero(), load(at), store(at, v), spread(value), multiply_add(a, b, c), signs(v);
// where p-stable codes are made with it, also add, divide and store_floors(to, v): floors as int32, saturated, NaN to the
// least.
// Internal linkage, since ISA files include it.
#pragma once

#include <cstdint>
#include <cstring>

#include "lsh/projections/projections.h"

namespace warphash::lsh {
namespace {

template <class V, int vectors, int rows>
struct Tile {
  using Real = typename V::Real;
  typename V::Vec sums[rows][vectors];

  // Rows past `count` are the last one again.
  inline void run(const ChainBlock<Real>& block, int first, int count, int panel_columns) {
    const Real* x[rows];
#pragma GCC unroll 8
    for (int row = 0; row < rows; ++row)
      x[row] = block.rows + (first + (row < count ? row : count - 1)) * block.row_stride;
    const Real* resumed = block.sums + static_cast<int64_t>(first) * panel_columns;
#pragma GCC unroll 8
    for (int row = 0; row < rows; ++row)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v)
        sums[row][v] = block.resumed && row < count ? V::load(resumed + row * panel_columns + v * V::lanes) : V::zero();
    const Real* line = block.panel;
    const int64_t stride = block.panel_stride, dim = block.dim;
    constexpr int64_t ahead = 64 / sizeof(Real);
    const Real* next = x[0] + rows * block.row_stride;
    int64_t j = 0;
    for (; j + ahead <= dim; j += ahead) {
      // The next tile in the order of memory, so that the processor's own prefetching follows; a wish past the last row
      // harms nothing.
#pragma GCC unroll 8
      for (int row = 0; row < rows; ++row) __builtin_prefetch(next + rows * j + row * ahead);
#pragma GCC unroll 4
      for (int64_t step = j; step < j + ahead; ++step, line += stride) add(x, step, line);
    }
#pragma GCC unroll 1
    for (; j < dim; ++j, line += stride) add(x, j, line);
  }

 private:
  inline void add(const Real* const (&x)[rows], int64_t j, const Real* line) {
    typename V::Vec planes[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) planes[v] = V::load(line + v * V::lanes);
#pragma GCC unroll 8
    for (int row = 0; row < rows; ++row) {
      const typename V::Vec value = V::spread(x[row][j]);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sums[row][v] = V::multiply_add(value, planes[v], sums[row][v]);
    }
  }
};

// What is done with a tile's sums.
template <int panel_columns>
struct ToBits {
  uint8_t* bits;
  int64_t stride;
  template <class V, int vectors, int rows>
  inline void take(const Tile<V, vectors, rows>& tile, int first, int count) const {
#pragma GCC unroll 8
    for (int row = 0; row < rows; ++row) {
      if (row >= count) return;
      uint64_t word = 0;
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) word |= static_cast<uint64_t>(V::signs(tile.sums[row][v])) << (v * V::lanes);
      std::memcpy(bits + (first + row) * stride, &word, panel_columns / 8);
    }
  }
};
template <class Real, int panel_columns>
struct ToSums {
  Real* sums;
  template <class V, int vectors, int rows>
  inline void take(const Tile<V, vectors, rows>& tile, int first, int count) const {
#pragma GCC unroll 8
    for (int row = 0; row < rows; ++row) {
      if (row >= count) return;
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v)
        V::store(sums + static_cast<int64_t>(first + row) * panel_columns + v * V::lanes, tile.sums[row][v]);
    }
  }
};

template <class V, int vectors, int rows, int panel_columns, class Out>
inline void run_tile(const ChainBlock<typename V::Real>& block, int first, int count, const Out& out) {
  Tile<V, vectors, rows> tile;
  tile.run(block, first, count, panel_columns);
  out.take(tile, first, count);
}

template <class V, int vectors, int rows, int panel_columns, class Out>
void run_tiles(const ChainBlock<typename V::Real>& block, const Out& out) {
  int first = 0;
  for (; first + rows <= block.count; first += rows) run_tile<V, vectors, rows, panel_columns>(block, first, rows, out);
  const int rest = block.count - first;
  if (rest > 2) return run_tile<V, vectors, rows, panel_columns>(block, first, rest, out);
  if (rest == 2) return run_tile<V, vectors, 2, panel_columns>(block, first, 2, out);
  if (rest == 1) return run_tile<V, vectors, 1, panel_columns>(block, first, 1, out);
}

template <class V>
void quantise(const typename V::Real* sums, const typename V::Real* offsets, typename V::Real width, int count,
              int32_t* codes) {
  using Real = typename V::Real;
  const typename V::Vec divisor = V::spread(width);
  const auto place = [&](const Real* sum, const Real* offset) {
    return V::divide(V::add(V::load(sum), V::load(offset)), divisor);
  };
  int i = 0;
  for (; i + V::lanes <= count; i += V::lanes) V::store_floors(codes + i, place(sums + i, offsets + i));
  if (i == count) return;
  Real rest[2][V::lanes] = {};
  int32_t floors[V::lanes];
  for (int lane = 0; lane < count - i; ++lane) rest[0][lane] = sums[i + lane], rest[1][lane] = offsets[i + lane];
  V::store_floors(floors, place(rest[0], rest[1]));
  for (int lane = 0; lane < count - i; ++lane) codes[i + lane] = floors[lane];
}

}  // namespace
}  // namespace warphash::lsh
