// SPDX-License-Identifier: Apache-2.0
// Adding to the rows of a table's gradient, of which every thread owns a range: what the passes over the table share.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "common/parallel.h"
#include "hashgrid/hashgrid.h"

namespace warphash::hashgrid {
namespace {

// Part of a level's rows.
struct Range {
  int level;
  uint32_t first, count;
};

template <class Real, int features>
struct Row {
  typedef Real Vector __attribute__((vector_size(sizeof(Real) * features), aligned(sizeof(Real))));
  Vector value;
};
template <class Real>
struct Row<Real, 1> {
  Real value;
};

// Adds weight * gradient to the rows of a piece that lie in the range. values [points][features].
template <class Real, int features, bool whole>
void add_rows(const Piece<Real>& piece, const Real* weights, int corners, int points, int count, const Real* values,
              const Range& range, Real* to) {
  using Vector = decltype(Row<Real, features>::value);
  for (int i = 0; i < count; ++i) {
    Vector value;
    std::memcpy(&value, values + i * features, sizeof value);
    for (int k = 0; k < corners; ++k) {
      const uint32_t row = piece.rows[k * points + i];
      if (!whole && row - range.first >= range.count) continue;
      Real* at = to + static_cast<int64_t>(row) * features;
      Vector sum;
      std::memcpy(&sum, at, sizeof sum);
      sum = sum + value * weights[k * points + i];
      std::memcpy(at, &sum, sizeof sum);
    }
  }
}

template <class Real>
void add_rows_of_any(const Piece<Real>& piece, const Real* weights, int corners, int points, int count,
                     const Real* values, int features, const Range& range, Real* to) {
  for (int i = 0; i < count; ++i) {
    for (int k = 0; k < corners; ++k) {
      const uint32_t row = piece.rows[k * points + i];
      if (row - range.first >= range.count) continue;
      Real* at = to + static_cast<int64_t>(row) * features;
      for (int f = 0; f < features; ++f) at[f] += values[i * features + f] * weights[k * points + i];
    }
  }
}

template <class Real, int features>
void add_rows(const Piece<Real>& piece, const Real* weights, int corners, int points, int count, const Real* values,
              const Range& range, bool whole, Real* to) {
  if (whole)
    add_rows<Real, features, true>(piece, weights, corners, points, count, values, range, to);
  else
    add_rows<Real, features, false>(piece, weights, corners, points, count, values, range, to);
}

// whole: the range is the level.
template <class Real>
void add_rows(const Piece<Real>& piece, const Real* weights, int corners, int points, int count, const Real* values,
              int features, const Range& range, bool whole, Real* to) {
  switch (features) {
    case 1: return add_rows<Real, 1>(piece, weights, corners, points, count, values, range, whole, to);
    case 2: return add_rows<Real, 2>(piece, weights, corners, points, count, values, range, whole, to);
    case 4: return add_rows<Real, 4>(piece, weights, corners, points, count, values, range, whole, to);
    case 8: return add_rows<Real, 8>(piece, weights, corners, points, count, values, range, whole, to);
    default: return add_rows_of_any(piece, weights, corners, points, count, values, features, range, to);
  }
}

// All ranges, the longest work (fine levels) first; so many that every thread has one.
std::vector<Range> ranges_of(const Grid& grid) {
  int parts = 1;
  while (parts * grid.level_count() < thread_count()) parts *= 2;
  std::vector<Range> ranges;
  for (int level = grid.level_count() - 1; level >= 0; --level) {
    const uint64_t rows = grid.levels[level].rows;
    for (int part = 0; part < parts; ++part) {
      const uint32_t first = static_cast<uint32_t>(rows * part / parts);
      const uint32_t end = static_cast<uint32_t>(rows * (part + 1) / parts);
      if (end > first) ranges.push_back({level, first, end - first});
    }
  }
  return ranges;
}

}  // namespace
}  // namespace warphash::hashgrid
