// SPDX-License-Identifier: Apache-2.0
// Bound: reading and writing single rows of the gradient; a level of 2^19 rows of two floats is 4 MiB.
//
// One thread owns a level, or with more threads than levels a range of its rows, and takes the points in order: no atomics,
// no private copies, the same sums for any number of threads. Two threads adding to one small table would be four times
// slower than one. Rows and weights of a piece come from the vector stage, and its rows are asked for ahead of their use.
#include "hashgrid/hashgrid_table.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "common/parallel.h"
#include "hashgrid/hashgrid_layout.h"

namespace warphash::hashgrid {
namespace {

constexpr int64_t block_bytes = int64_t{32} << 20;  // of the turned gradient that all threads share
constexpr int64_t share = 1024;                     // points that one thread turns at a time
constexpr int64_t cached_bytes = 256 << 10;         // a larger level is asked for ahead

// Points of a block, as planes.
template <class Real>
struct Block {
  int64_t count, stride;
  const Real* x;
  const Real* v;
  const Real* gradient;
};

template <class Real>
void add_range(const Kernels<Real>& kernels, const Input<Real>& input, const Block<Real>& block, const Range& range,
               Real* to_table) {
  const Grid& grid = *input.grid;
  const Level& level = grid.levels[range.level];
  const int features = input.features, points = piece_points(grid.dims), corners = grid.corners();
  const bool twice = block.v != nullptr;
  const bool ask = static_cast<int64_t>(range.count) * features * static_cast<int64_t>(sizeof(Real)) > cached_bytes;
  const Real* gradient = block.gradient + static_cast<int64_t>(range.level) * features * block.stride;
  Real* to = to_table + level.offset * features;
  Piece<Real> piece;
  std::vector<Real> values(static_cast<size_t>(points) * features);
  for (int64_t at = 0; at < block.count; at += points) {
    const int here = static_cast<int>(std::min<int64_t>(points, block.count - at));
    kernels.place[grid.dims](level, grid.interpolation, block.x + at, block.stride, here, twice, piece);
    if (ask && range.whole)
      for (int k = 0; k < corners; ++k)
        for (int i = 0; i < here; ++i)
          __builtin_prefetch(to + static_cast<int64_t>(piece.rows[k * points + i]) * features, 1);
    if (twice) kernels.lean[grid.dims](block.v + at, block.stride, here, piece);
    const Real* weights = twice ? piece.slant : piece.weight;
    const Real scale = input.weights == nullptr ? Real(1) : input.weights[range.level];
    for (int f = 0; f < features; ++f)
      for (int i = 0; i < here; ++i)
        values[static_cast<size_t>(i) * features + f] = gradient[f * block.stride + at + i] * scale;
    kernels.scatter[row_layout(features)](piece, weights, corners, points, here, values.data(), features, range, to);
  }
}

}  // namespace

std::vector<Range> ranges_of(const Grid& grid) {
  int parts = 1;
  while (parts * grid.level_count() < thread_count()) parts *= 2;
  std::vector<Range> ranges;
  for (int level = grid.level_count() - 1; level >= 0; --level) {
    const uint64_t rows = grid.levels[level].rows;
    for (int part = 0; part < parts; ++part) {
      const uint32_t first = static_cast<uint32_t>(rows * part / parts);
      const uint32_t end = static_cast<uint32_t>(rows * (part + 1) / parts);
      if (end > first) ranges.push_back({level, first, end - first, parts == 1});
    }
  }
  return ranges;
}

template <class Real>
void table_pass(const Kernels<Real>& kernels, const Input<Real>& input, Real* to_table) {
  const Grid& grid = *input.grid;
  const int dims = grid.dims, components = grid.level_count() * input.features;
  const Real largest =
      static_cast<Real>(grid.largest_coordinate(static_cast<double>(std::numeric_limits<Real>::max())));
  const int64_t fitting =
      std::max(share, block_bytes / (components * static_cast<int64_t>(sizeof(Real))) / share * share);
  const int64_t points = std::min(fitting, input.points), stride = stride_of(points);
  const TableType plain = sizeof(Real) == 8 ? TableType::f64 : TableType::f32;
  const bool twice = input.v != nullptr;
  // The nearest vertex does not move with x.
  const bool nothing = points == 0 || (twice && grid.interpolation == Interpolation::nearest);
  const Buffer<Real> x(nothing ? 0 : dims * stride), v(nothing || !twice ? 0 : dims * stride),
      gradient(nothing ? 0 : components * stride);
  const std::vector<Range> ranges = ranges_of(grid);
  for (int64_t first = 0; first == 0 || first < input.points; first += points) {
    const int64_t count = nothing ? 0 : std::min(points, input.points - first);
    parallel_tasks_if(worth_threads(input), (count + share - 1) / share, [&](int64_t task) {
      const int64_t begin = task * share, here = std::min(share, count - begin);
      std::vector<int64_t> unusable;
      split_points(input.x + (first + begin) * dims, here, dims, largest, x.data() + begin, stride, unusable);
      if (twice) split_rows(kernels, plain, input.v + (first + begin) * dims, here, dims, v.data() + begin, stride);
      const char* rows = static_cast<const char*>(input.gradient) + (first + begin) * components * bytes_of(input.type);
      split_rows(kernels, input.type, rows, here, components, gradient.data() + begin, stride);
      for (int64_t point : unusable) {
        for (int c = 0; c < components; ++c) gradient.data()[c * stride + begin + point] = 0;
        for (int axis = 0; twice && axis < dims; ++axis) v.data()[axis * stride + begin + point] = 0;
      }
    });
    const Block<Real> block{count, stride, x.data(), twice ? v.data() : nullptr, gradient.data()};
    parallel_tasks_if(worth_threads(input), static_cast<int64_t>(ranges.size()), [&](int64_t task) {
      const Range& range = ranges[static_cast<size_t>(task)];
      if (first == 0) {
        Real* to = to_table + (grid.levels[range.level].offset + range.first) * input.features;
        std::fill(to, to + static_cast<int64_t>(range.count) * input.features, Real(0));
      }
      if (count > 0 && (input.weights == nullptr || input.weights[range.level] != 0))
        add_range(kernels, input, block, range, to_table);
    });
    if (nothing) break;
  }
}

template void table_pass(const Kernels<float>&, const Input<float>&, float*);
template void table_pass(const Kernels<double>&, const Input<double>&, double*);

}  // namespace warphash::hashgrid
