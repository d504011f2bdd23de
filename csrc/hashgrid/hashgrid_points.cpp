// SPDX-License-Identifier: Apache-2.0
// The points' pass. Bound: reads of rows from whichever cache holds one level.
//
// A chunk's results are staged level after level, as planes, and turned into rows at the end: writing a level's few features
// to rows at once would move a whole line for each. The chunk is large, so that a level's rows, once in the cache, serve
// many points.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/parallel.h"
#include "hashgrid/hashgrid_layout.h"
#include "hashgrid/hashgrid_passes.h"
#include "hashgrid/hashgrid_table.h"

namespace warphash::hashgrid {
namespace {

// Sums over points are made in parts of this size, whatever the chunks are, so that they round alike.
constexpr int64_t quantum = 1024;
constexpr int64_t least_staged = int64_t{1} << 20, most_staged = int64_t{16} << 20;  // bytes of a thread

enum class Task { encode, first, second };

// What a call wants of the pass; null is not wanted.
template <class Real>
struct Output {
  void* rows = nullptr;  // [points, levels * features]: the encoding, or the derivative to the gradient
  Real* to_x = nullptr;
  double* parts = nullptr;  // [quanta][levels] of the derivative to the weights
};

template <class Real>
class Chunk {
 public:
  Chunk(const Kernels<Real>& kernels, const Input<Real>& input, Task task, const Output<Real>& output, int64_t points)
      : kernels_(kernels),
        input_(input),
        grid_(*input.grid),
        task_(task),
        output_(output),
        components_(grid_.level_count() * input.features),
        stride_(stride_of(points)),
        type_(static_cast<int>(input.type)),
        layout_(row_layout(input.features)),
        largest_(static_cast<Real>(grid_.largest_coordinate(static_cast<double>(std::numeric_limits<Real>::max())))),
        x_(grid_.dims * stride_) {
    if (task == Task::second) v_ = Buffer<Real>(grid_.dims * stride_);
    if (task != Task::encode) gradient_ = Buffer<Real>(components_ * stride_);
    if (output.rows != nullptr) stage();
    if (output.to_x != nullptr || output.parts != nullptr) {
      to_x_ = Buffer<Real>(grid_.dims * stride_);
      for (int axis = 0; axis < grid_.dims; ++axis) planes_of_x_.push_back(to_x_.data() + axis * stride_);
      ignored_ = Buffer<Real>(grid_.dims * stride_of(most_axis_entries));
    }
  }

  void run(int64_t first, int64_t count) {
    const int dims = grid_.dims;
    unusable_.clear();
    split_points(input_.x + first * dims, count, dims, largest_, x_.data(), stride_, unusable_);
    if (v_.data() != nullptr) {
      split_rows(kernels_, plain, input_.v + first * dims, count, dims, v_.data(), stride_);
      for (int64_t point : unusable_) set(v_.data(), dims, point, Real(0));
    }
    if (gradient_.data() != nullptr) {
      split_rows(kernels_, input_.type, row_of(input_.gradient, first), count, components_, gradient_.data(), stride_);
      for (int64_t point : unusable_) set(gradient_.data(), components_, point, Real(0));
    }
    if (to_x_.data() != nullptr) std::fill(to_x_.data(), to_x_.data() + dims * stride_, Real(0));
    bool any_active = false;
    for (int level = 0; level < grid_.level_count(); ++level) any_active |= run_level(level, first, count);
    if (any_active && output_.to_x != nullptr)
      for (int64_t point : unusable_) set(to_x_.data(), dims, point, nan);
    if (output_.to_x != nullptr)
      join_rows(kernels_, plain, planes_of_x_.data(), count, dims, output_.to_x + first * dims);
    if (output_.rows != nullptr)
      join_rows(kernels_, input_.type, planes_.data(), count, components_,
                const_cast<char*>(row_of(output_.rows, first)));
  }

 private:
  static constexpr TableType plain = sizeof(Real) == 8 ? TableType::f64 : TableType::f32;
  static constexpr Real nan = std::numeric_limits<Real>::quiet_NaN();

  const char* row_of(const void* rows, int64_t first) const {
    return static_cast<const char*>(rows) + first * components_ * bytes_of(input_.type);
  }
  void set(Real* planes, int components, int64_t point, Real value) const {
    for (int c = 0; c < components; ++c) planes[c * stride_ + point] = value;
  }

  bool is_active(int level) const { return input_.weights == nullptr || input_.weights[level] != 0; }
  // Planes for the results of active levels; those of the others are zeros, for which there are none.
  void stage() {
    int64_t staged = 0;
    for (int c = 0; c < components_; ++c) staged += is_active(c / input_.features);
    staged_ = Buffer<Real>(staged * stride_);
    Real* next = staged_.data();
    for (int c = 0; c < components_; ++c) {
      const bool active = is_active(c / input_.features);
      planes_.push_back(active ? next : nullptr);
      if (active) next += stride_;
    }
  }

  // Whether the level is active: not of weight zero.
  bool run_level(int number, int64_t first, int64_t count) {
    const bool active = is_active(number);
    Real* staged = planes_.empty() ? nullptr : planes_[static_cast<size_t>(number * input_.features)];
    const bool flat = grid_.interpolation == Interpolation::nearest && task_ == Task::second;
    if (staged != nullptr && flat) std::fill(staged, staged + input_.features * stride_, Real(0));
    // A level of weight zero is worked through for its own weight's derivative alone.
    if ((active || output_.parts != nullptr) && !flat) run_pieces(number, first, count, active, staged);
    if (staged != nullptr)
      for (int64_t point : unusable_) set(staged, input_.features, point, nan);
    return active;
  }

  void run_pieces(int number, int64_t first, int64_t count, bool active, Real* staged) {
    const Level& level = grid_.levels[number];
    const int dims = grid_.dims, points = piece_points(dims), corners = grid_.corners(), features = input_.features;
    const char* rows = static_cast<const char*>(input_.table) + level.offset * features * bytes_of(input_.type);
    const Real weight = input_.weights == nullptr ? Real(1) : input_.weights[number];
    const Real* gradient = gradient_.data() + (task_ == Task::encode ? 0 : number * features * stride_);
    const bool contracted = to_x_.data() != nullptr, curved = grid_.interpolation != Interpolation::nearest;
    if (count * corners >= 2 * lines_of(level, features, input_.type))
      read_ahead(rows, 64 * lines_of(level, features, input_.type));
    for (int64_t at = 0; at < count; at += points) {
      const int here = static_cast<int>(std::min<int64_t>(points, count - at));
      kernels_.place[dims](level, grid_.interpolation, x_.data() + at, stride_, here, task_ != Task::encode, piece_);
      if (task_ == Task::encode) {
        kernels_.sum[type_][layout_](rows, features, piece_, piece_.weight, corners, points, here, staged + at,
                                     stride_);
      } else if (task_ == Task::first) {
        kernels_.dot[type_][layout_](rows, features, piece_, corners, points, here, gradient + at, stride_);
      } else {
        kernels_.lean[dims](v_.data() + at, stride_, here, piece_);
        if (staged != nullptr && contracted)
          kernels_.both[type_][layout_](rows, features, piece_, corners, points, here, gradient + at, staged + at,
                                        stride_);
        else if (staged != nullptr)
          kernels_.sum[type_][layout_](rows, features, piece_, piece_.slant, corners, points, here, staged + at,
                                       stride_);
        else
          kernels_.dot[type_][layout_](rows, features, piece_, corners, points, here, gradient + at, stride_);
      }
      if (staged != nullptr && input_.weights != nullptr)
        for (int f = 0; f < features; ++f)
          for (int i = 0; i < here; ++i) staged[f * stride_ + at + i] *= weight;
      if (!contracted) continue;
      const Real* values = value_;
      if (!curved) {
        values = piece_.product;
      } else {
        // A level that only its own weight's derivative is asked of adds nothing to x.
        Real* to_x = active ? to_x_.data() + at : ignored_.data();
        const int64_t stride = active ? stride_ : stride_of(most_axis_entries);
        if (!active) std::fill(to_x, to_x + dims * stride, Real(0));
        if (task_ == Task::first)
          kernels_.contract[dims](piece_, here, weight, value_, to_x, stride);
        else
          kernels_.contract_twice[dims](piece_, grid_.interpolation, v_.data() + at, here, weight, value_, to_x,
                                        stride_, stride);
      }
      if (output_.parts != nullptr) add_values(values, here, number, first + at);
    }
  }

  void add_values(const Real* values, int count, int number, int64_t point) {
    double sums[8] = {};
    for (int i = 0; i < count; ++i) sums[i % 8] += static_cast<double>(values[i]);
    double total = 0;
    for (double sum : sums) total += sum;
    output_.parts[point / quantum * grid_.level_count() + number] += total;
  }

  const Kernels<Real>& kernels_;
  const Input<Real>& input_;
  const Grid& grid_;
  const Task task_;
  const Output<Real>& output_;
  const int components_;
  const int64_t stride_;
  const int type_, layout_;
  const Real largest_;
  Buffer<Real> x_, v_, gradient_, staged_, to_x_, ignored_;
  std::vector<Real*> planes_, planes_of_x_;
  std::vector<int64_t> unusable_;
  Piece<Real> piece_;
  alignas(64) Real value_[most_axis_entries];
};

// Points of a chunk: few, so that what is staged stays in a cache, but enough to read each line of the largest level often.
template <class Real>
int64_t chunk_points(const Input<Real>& input, int64_t equal_share) {
  int64_t lines = 0;
  for (const Level& level : input.grid->levels) lines = std::max(lines, lines_of(level, input.features, input.type));
  const int64_t point_bytes = int64_t{input.features} * input.grid->level_count() * static_cast<int64_t>(sizeof(Real));
  const int64_t wanted = std::clamp(2 * lines, least_staged / point_bytes, most_staged / point_bytes);
  return std::max<int64_t>(1, (std::min(wanted, equal_share) + quantum - 1) / quantum) * quantum;
}

template <class Real>
void points_pass(const Kernels<Real>& kernels, const Input<Real>& input, Task task, const Output<Real>& output) {
  if (input.points == 0) return;
  const int64_t threads = thread_count();
  const int64_t chunk = chunk_points(input, (input.points + threads - 1) / threads);
  const int64_t chunks = (input.points + chunk - 1) / chunk;
  std::atomic<int64_t> next{0};
  parallel_tasks(std::min(threads, chunks), [&](int64_t) {
    int64_t number = next.fetch_add(1);
    if (number >= chunks) return;
    Chunk<Real> work(kernels, input, task, output, std::min(chunk, input.points));
    for (; number < chunks; number = next.fetch_add(1))
      work.run(number * chunk, std::min(chunk, input.points - number * chunk));
  });
}

// Runs the pass where it has something to do, and adds up what it left in parts.
template <class Real>
void derivatives_of_points(const Kernels<Real>& kernels, const Input<Real>& input, Task task, Output<Real> output,
                           Real* to_weights) {
  std::vector<double> parts;
  const int levels = input.grid->level_count();
  const int64_t quanta = (input.points + quantum - 1) / quantum;
  if (to_weights != nullptr) {
    parts.assign(static_cast<size_t>(quanta * levels), 0.0);
    output.parts = parts.data();
  }
  if (output.rows != nullptr || output.to_x != nullptr || output.parts != nullptr)
    points_pass(kernels, input, task, output);
  if (to_weights == nullptr) return;
  for (int level = 0; level < levels; ++level) {
    double total = 0;
    for (int64_t part = 0; part < quanta; ++part) total += parts[static_cast<size_t>(part * levels + level)];
    to_weights[level] = static_cast<Real>(total);
  }
}

}  // namespace

template <class Real>
void encode(const Kernels<Real>& kernels, const Input<Real>& input, void* encoded) {
  Output<Real> output;
  output.rows = encoded;
  points_pass(kernels, input, Task::encode, output);
}

template <class Real>
void differentiate(const Kernels<Real>& kernels, const Input<Real>& input, Real* to_x, Real* to_table,
                   Real* to_weights) {
  Output<Real> output;
  output.to_x = to_x;
  derivatives_of_points(kernels, input, Task::first, output, to_weights);
  if (to_table != nullptr) table_pass(kernels, input, to_table);
}

template <class Real>
void differentiate_twice(const Kernels<Real>& kernels, const Input<Real>& input, void* to_gradient, Real* to_x,
                         Real* to_table, Real* to_weights) {
  Output<Real> output;
  output.rows = to_gradient;
  output.to_x = to_x;
  derivatives_of_points(kernels, input, Task::second, output, to_weights);
  if (to_table != nullptr) table_pass(kernels, input, to_table);
}

#define INSTANTIATE(Real)                                                                     \
  template void encode(const Kernels<Real>&, const Input<Real>&, void*);                      \
  template void differentiate(const Kernels<Real>&, const Input<Real>&, Real*, Real*, Real*); \
  template void differentiate_twice(const Kernels<Real>&, const Input<Real>&, void*, Real*, Real*, Real*)
INSTANTIATE(float);
INSTANTIATE(double);
#undef INSTANTIATE

}  // namespace warphash::hashgrid
