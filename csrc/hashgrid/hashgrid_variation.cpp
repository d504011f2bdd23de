// SPDX-License-Identifier: Apache-2.0
// Total variation of a table around points: squared differences between a cell's lower vertex and its neighbours. Bound:
// reads of dims + 1 rows a point and level; the gradient reads and adds to as many, by owners of rows as the table's pass.
#include <algorithm>
#include <limits>
#include <vector>

#include "common/parallel.h"
#include "hashgrid/hashgrid_layout.h"
#include "hashgrid/hashgrid_passes.h"
#include "hashgrid/hashgrid_table.h"

namespace warphash::hashgrid {
namespace {

constexpr int64_t share = 1024;  // points of a task, and of a part of the sum

template <class Real>
Real largest_of(const Grid& grid) {
  return static_cast<Real>(grid.largest_coordinate(static_cast<double>(std::numeric_limits<Real>::max())));
}

// The differences of a piece along one axis after the other.
template <class Real>
class Differences {
 public:
  Differences(const Kernels<Real>& kernels, const Input<Real>& input, int level)
      : kernels_(kernels),
        input_(input),
        level_(input.grid->levels[static_cast<size_t>(level)]),
        points_(piece_points(input.grid->dims)),
        low_(static_cast<size_t>(input.features) * static_cast<size_t>(points_)),
        high_(low_.size()) {
    std::fill(one_.weight, one_.weight + points_, Real(1));
  }

  // Rows of the piece's vertices, whatever the interpolation.
  void place(const Real* x, int64_t stride, int count) {
    count_ = count;
    kernels_.place[input_.grid->dims](level_, Interpolation::linear, x, stride, count, false, piece_);
    read(0, low_.data());
  }
  // [feature][points], of the vertex above on this axis and the lower one.
  const Real* along(int axis) {
    read(1 << axis, high_.data());
    for (size_t i = 0; i < high_.size(); ++i) high_[i] -= low_[i];
    return high_.data();
  }
  const uint32_t* rows(int corner) const { return piece_.rows + corner * points_; }

 private:
  void read(int corner, Real* to) {
    std::copy(rows(corner), rows(corner) + points_, one_.rows);
    const char* base = static_cast<const char*>(input_.table) + level_.offset * input_.features * bytes_of(input_.type);
    kernels_.sum[static_cast<int>(input_.type)][row_layout(input_.features)](base, input_.features, one_, one_.weight,
                                                                             1, points_, count_, to, points_);
  }

  const Kernels<Real>& kernels_;
  const Input<Real>& input_;
  const Level& level_;
  const int points_;
  int count_ = 0;
  Piece<Real> piece_{}, one_{};
  std::vector<Real> low_, high_;
};

}  // namespace

template <class Real>
void variation(const Kernels<Real>& kernels, const Input<Real>& input, Real* by_level) {
  const Grid& grid = *input.grid;
  const int dims = grid.dims, levels = grid.level_count(), points = piece_points(dims);
  const int64_t parts = (input.points + share - 1) / share;
  std::vector<double> sums(static_cast<size_t>(parts * levels), 0.0);
  parallel_tasks_if(worth_threads(input), parts * levels, [&](int64_t task) {
    const int64_t first = task / levels * share, count = std::min(share, input.points - first),
                  stride = stride_of(count);
    const Buffer<Real> x(dims * stride);
    std::vector<int64_t> unusable;
    split_points(input.x + first * dims, count, dims, largest_of<Real>(grid), x.data(), stride, unusable);
    Differences<Real> differences(kernels, input, static_cast<int>(task % levels));
    double sum = 0;
    auto next = unusable.begin();
    for (int64_t at = 0; at < count; at += points) {
      const int here = static_cast<int>(std::min<int64_t>(points, count - at));
      std::vector<bool> left_out(static_cast<size_t>(here), false);
      for (; next != unusable.end() && *next < at + here; ++next) left_out[static_cast<size_t>(*next - at)] = true;
      differences.place(x.data() + at, stride, here);
      for (int axis = 0; axis < dims; ++axis) {
        const Real* rise = differences.along(axis);
        for (int f = 0; f < input.features; ++f)
          for (int i = 0; i < here; ++i) {
            const double one =
                left_out[static_cast<size_t>(i)] ? 0.0 : static_cast<double>(rise[int64_t{f} * points + i]);
            sum += one * one;
          }
      }
    }
    sums[static_cast<size_t>(task)] = sum;
  });
  for (int level = 0; level < levels; ++level) {
    double total = 0;
    for (int64_t part = 0; part < parts; ++part) total += sums[static_cast<size_t>(part * levels + level)];
    by_level[level] = static_cast<Real>(total);
  }
}

template <class Real>
void variation_gradient(const Kernels<Real>& kernels, const Input<Real>& input, const Real* by_level, Real* to_table) {
  const Grid& grid = *input.grid;
  const int dims = grid.dims, points = piece_points(dims), features = input.features;
  const std::vector<Range> ranges = ranges_of(grid);
  parallel_tasks_if(worth_threads(input), static_cast<int64_t>(ranges.size()), [&](int64_t task) {
    const Range& range = ranges[static_cast<size_t>(task)];
    const Level& level = grid.levels[static_cast<size_t>(range.level)];
    Real* to = to_table + level.offset * features;
    std::fill(to + int64_t{range.first} * features, to + (int64_t{range.first} + range.count) * features, Real(0));
    const Real scale = 2 * by_level[range.level];
    if (scale == 0) return;
    Differences<Real> differences(kernels, input, range.level);
    const Buffer<Real> x(dims * stride_of(share));
    std::vector<Real> values(static_cast<size_t>(points) * features);
    Piece<Real> ends{};  // the vertex above and the lower one
    std::fill(ends.weight, ends.weight + points, Real(1));
    std::fill(ends.weight + points, ends.weight + 2 * points, Real(-1));
    for (int64_t first = 0; first < input.points; first += share) {
      const int64_t count = std::min(share, input.points - first), stride = stride_of(count);
      std::vector<int64_t> unusable;
      split_points(input.x + first * dims, count, dims, largest_of<Real>(grid), x.data(), stride, unusable);
      auto next = unusable.begin();
      for (int64_t at = 0; at < count; at += points) {
        const int here = static_cast<int>(std::min<int64_t>(points, count - at));
        const auto begin = next;
        while (next != unusable.end() && *next < at + here) ++next;
        differences.place(x.data() + at, stride, here);
        for (int axis = 0; axis < dims; ++axis) {
          const Real* rise = differences.along(axis);
          for (int f = 0; f < features; ++f)
            for (int i = 0; i < here; ++i)
              values[static_cast<size_t>(i) * features + f] = scale * rise[int64_t{f} * points + i];
          for (auto point = begin; point != next; ++point)
            std::fill_n(values.begin() + static_cast<int64_t>(*point - at) * features, features, Real(0));
          std::copy(differences.rows(1 << axis), differences.rows(1 << axis) + points, ends.rows);
          std::copy(differences.rows(0), differences.rows(0) + points, ends.rows + points);
          kernels.scatter[row_layout(features)](ends, ends.weight, 2, points, here, values.data(), features, range, to);
        }
      }
    }
  });
}

#define INSTANTIATE(Real)                                                   \
  template void variation(const Kernels<Real>&, const Input<Real>&, Real*); \
  template void variation_gradient(const Kernels<Real>&, const Input<Real>&, const Real*, Real*)
INSTANTIATE(float);
INSTANTIATE(double);
#undef INSTANTIATE

}  // namespace warphash::hashgrid
