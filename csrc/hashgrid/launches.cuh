// SPDX-License-Identifier: Apache-2.0
// Host side: kernel parameters made of a Problem, levels in groups, template arguments from numbers known at run time.
#pragma once

#include <type_traits>

#include "hashgrid/hashgrid.cuh"
#include "hashgrid/rows.cuh"

namespace warphash::hashgrid {

inline int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t clamp(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}

inline size_t bytes_of_sums(TableType type) { return type == TableType::f64 ? 8 : 4; }

template <class R>
Inputs<R> inputs_of(const Problem& problem, const void* gradient = nullptr, const void* v = nullptr) {
  const Grid& grid = *problem.grid;
  return {static_cast<const R*>(problem.x),
          problem.table,
          static_cast<const R*>(problem.weights),
          gradient,
          static_cast<const R*>(v),
          problem.points,
          problem.features,
          grid.dims,
          grid.level_count(),
          grid.interpolation,
          static_cast<R>(grid.largest_coordinate(static_cast<double>(std::numeric_limits<R>::max())))};
}

template <class R>
DeviceLevel<R> device_level(const Grid& grid, int number) {
  const Level& level = grid.levels[static_cast<size_t>(number)];
  DeviceLevel<R> out{};
  for (int d = 0; d < grid.dims; ++d) {
    out.scale[d] = static_cast<R>(level.scale[d]);
    out.multiplier[d] = level.multiplier[d];
  }
  out.rows = level.rows;
  out.mask = (level.rows & (level.rows - 1)) == 0 ? level.rows - 1 : ~0u;
  out.offset = static_cast<uint32_t>(level.offset);
  out.number = number;
  out.hashed = level.hashed;
  out.paired = level.offset + level.rows < grid.rows || grid.rows % 2 == 0;
  return out;
}

// Calls run(group), which may alter its copy, with the chosen levels in ascending order, a launch's worth at a time, until one returns an error.
template <class R, class Chosen, class Run>
cudaError_t for_groups(const Grid& grid, const Chosen& chosen, const Run& run) {
  Group<R> group{};
  for (int number = 0; number < grid.level_count(); ++number) {
    if (chosen(number)) group.levels[group.count++] = device_level<R>(grid, number);
    if (group.count == 0 || (group.count < most_group && number + 1 < grid.level_count())) continue;
    const cudaError_t error = run(static_cast<const Group<R>&>(group));
    if (error != cudaSuccess) return error;
    group.count = 0;
  }
  return cudaSuccess;
}

template <class T>
struct Type {
  using type = T;
};
template <class Run>
cudaError_t with_type(TableType type, const Run& run) {
  switch (type) {
    case TableType::f32: return run(Type<float>());
    case TableType::f64: return run(Type<double>());
    case TableType::f16: return run(Type<__half>());
    case TableType::bf16: return run(Type<__nv_bfloat16>());
  }
  return cudaErrorInvalidValue;
}

template <int n>
using Number = std::integral_constant<int, n>;

template <class Run>
cudaError_t with_dims(int dims, const Run& run) {
  switch (dims) {
    case 1: return run(Number<1>());
    case 2: return run(Number<2>());
    case 3: return run(Number<3>());
    case 4: return run(Number<4>());
    default: return run(Number<0>());
  }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool every_width = false;  // emulated with checks: one of two is enough to wait for
#else
constexpr bool every_width = true;
#endif

// The number of features that kernels are compiled for, see rows.cuh: 0 is any.
template <size_t count>
int compiled_features(const Problem& problem, const void* const (&pointers)[count]) {
  bool wide = problem.type != TableType::f64;
  for (const void* pointer : pointers) wide = wide && reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  const int64_t features = problem.features;
  wide = wide && (features == 2 || features == 8 || (every_width && (features == 1 || features == 4)));
  return wide ? static_cast<int>(features) : 0;
}

template <class T, class Run>
cudaError_t with_features(int compiled, const Run& run) {
  if constexpr (!std::is_same_v<T, double>) {
    if (compiled == 2) return run(Number<2>());
    if (compiled == 8) return run(Number<8>());
    if constexpr (every_width) {
      if (compiled == 1) return run(Number<1>());
      if (compiled == 4) return run(Number<4>());
    }
  }
  return run(Number<0>());
}

// Points of all levels at once: blocks of points, in order of super-blocks, then levels, then blocks. So the rows of one
// level and the outputs of one super-block lie in L2 together.
#if defined(WARPHASH_CUDA_EMULATION)
constexpr int most_super_blocks = 2;
constexpr int64_t most_launched = 4;  // blocks of points a launch, so that tests see several
#else
constexpr int most_super_blocks = 512;
constexpr int64_t most_launched = int64_t{1} << 24;
#endif
static_assert(most_launched % most_super_blocks == 0, "else the end of a launch is the beginning of the next");

struct Schedule {
  int64_t first_block;  // of points
  int super_blocks;     // blocks of points of a super-block
};
struct Turn {
  int64_t block;
  int slot;
};
__device__ __forceinline__ Turn turn_of(const Schedule& schedule, int levels) {
  const unsigned whole = unsigned(schedule.super_blocks) * unsigned(levels), rest = blockIdx.x % whole;
  const unsigned slot = rest / unsigned(schedule.super_blocks);
  return {schedule.first_block + int64_t(blockIdx.x / whole) * schedule.super_blocks +
              rest % unsigned(schedule.super_blocks),
          levels - 1 - int(slot)};  // the finest level first: the cheap ones fill the end
}

// Calls run(grid, schedule) for as many launches as the points need.
template <class Run>
cudaError_t for_schedules(int64_t points, int threads, int levels, const Run& run) {
  const int64_t blocks = ceil_divide(points, threads);
  for (int64_t first = 0; first < blocks; first += most_launched) {
    const int64_t count = clamp(blocks - first, 1, most_launched);
    const int super_blocks = static_cast<int>(clamp(count, 1, most_super_blocks));
    const int64_t supers = ceil_divide(count, super_blocks);
    const cudaError_t error =
        run(dim3(static_cast<unsigned>(supers * super_blocks * levels)), Schedule{first, super_blocks});
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace warphash::hashgrid
