// SPDX-License-Identifier: Apache-2.0
// The table's gradient by atomic additions of floats, where nothing else is asked for, and that of coarse levels always.
//
// Bound: atomics in L2, about one sector of 32 bytes a clock and slice, so neighbours along x go in one. Blocks stand in
// the order of encode.cu, so that one level's part of the gradient lies in L2 at a time. A coarse level has few rows,
// which all points would meet at: there each block adds to a copy in shared memory, and that to the gradient at its end.
#include "hashgrid/scatter.cuh"

namespace warphash::hashgrid {
namespace {

constexpr int threads = 256;
constexpr int copy_threads = 512;
constexpr size_t most_copy_bytes = 96 << 10;  // two blocks a multiprocessor

template <class R, int D, int F, bool dual>
__global__ void __launch_bounds__(threads, 2)
    add_points(const __grid_constant__ Inputs<R> in, const __grid_constant__ Group<R> group, const Schedule schedule,
               const TableType type, R* of_table) {
  const Turn turn = turn_of(schedule, group.count);
  const int64_t point = turn.block * threads + threadIdx.x;
  if (point >= in.points) return;
  const DeviceLevel<R>& level = group.levels[turn.slot];
  const R weight = in.weights == nullptr ? R(1) : __ldg(in.weights + level.number);
  if (weight == 0) return;
  const int64_t from = (point * in.levels + level.number) * in.features;
  if constexpr (F > 0) {
    R g[F];
    load_features(type, in, from, g);
#pragma unroll
    for (int f = 0; f < F; ++f) g[f] = weight * g[f];
    for_leaves<D, dual>(in, level, point,
                        [&](const auto& row, const auto& w, int corners) { scatter(of_table, row, w, g, corners); });
  } else {
    for_leaves<D, dual>(in, level, point, [&](const auto& row, const auto& w, int corners) {
      for (int64_t f = 0; f < in.features; ++f)
        scatter_feature(of_table + f, in.features, row, w, weight * load_feature(type, in, from + f), corners);
    });
  }
}

template <class R, int D, bool dual>
__global__ void __launch_bounds__(copy_threads, 1)
    add_points_to_copies(const __grid_constant__ Inputs<R> in, const __grid_constant__ DeviceLevel<R> level,
                         const TableType type, R* of_table) {
  DYNAMIC_SHARED(R, copy);
  const R weight = in.weights == nullptr ? R(1) : __ldg(in.weights + level.number);
  if (weight == 0) return;  // all threads
  const int64_t count = level.rows * in.features;
  for (int64_t i = threadIdx.x; i < count; i += copy_threads) copy[i] = 0;
  __syncthreads();
  for (int64_t point = int64_t(blockIdx.x) * copy_threads + threadIdx.x; point < in.points;
       point += int64_t(gridDim.x) * copy_threads) {
    const int64_t from = (point * in.levels + level.number) * in.features;
    for_leaves<D, dual>(in, level, point, [&](auto& row, const auto& w, int corners) {
      for (uint32_t& r : row) r -= level.offset;
      for (int64_t f = 0; f < in.features; ++f)
        scatter_feature(copy + f, in.features, row, w, weight * load_feature(type, in, from + f), corners);
    });
  }
  __syncthreads();
  for (int64_t i = threadIdx.x; i < count; i += copy_threads)
    if (copy[i] != 0) atomicAdd(of_table + level.offset * in.features + i, copy[i]);
}

// So many blocks have copies that emptying these costs a quarter of the additions at most. None if that leaves most
// multiprocessors without work.
int64_t copies_of(const Problem& problem, int number, int multiprocessors) {
  const Level& level = problem.grid->levels[static_cast<size_t>(number)];
  if (static_cast<size_t>(level.rows * problem.features) * bytes_of_sums(problem.type) > most_copy_bytes) return 0;
  const int64_t affordable = problem.points * problem.grid->corners() / (4 * int64_t{level.rows});
  return 2 * affordable < multiprocessors ? 0 : clamp(affordable, 1, 2 * multiprocessors);
}

}  // namespace

bool has_copies(const Problem& problem, int level, int multiprocessors) {
  return copies_of(problem, level, multiprocessors) > 0;
}

cudaError_t scatter_floats(const Problem& problem, const void* v, const void* gradient, Levels levels, void* of_table,
                           int multiprocessors, cudaStream_t stream) {
  const Grid& grid = *problem.grid;
  if (problem.points == 0 || (v != nullptr && grid.interpolation == Interpolation::nearest)) return cudaSuccess;
  return with_sums(problem, v, [&](auto zero, auto dims, auto dual) {
    using R = decltype(zero);
    const Inputs<R> in = inputs_of<R>(problem, gradient, v);
    R* const to = static_cast<R*>(of_table);
    for (int number = 0; number < in.levels; ++number) {
      const int64_t copies = copies_of(problem, number, multiprocessors);
      if (copies == 0) continue;
      const DeviceLevel<R> level = device_level<R>(grid, number);
      const auto kernel = add_points_to_copies<R, dims.value, dual.value>;
      const size_t bytes = static_cast<size_t>(level.rows * in.features) * sizeof(R);
      cudaError_t error =
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
      if (error == cudaSuccess)
        error = launch(kernel, dim3(static_cast<unsigned>(copies)), dim3(copy_threads), bytes, stream, in, level,
                       problem.type, to);
      if (error != cudaSuccess) return error;
    }
    if (levels == Levels::with_copies) return cudaSuccess;
    return with_features<R>(compiled_features(problem, {gradient, of_table}), [&](auto features) {
      return for_groups<R>(
          grid, [&](int number) { return !has_copies(problem, number, multiprocessors); },
          [&](const Group<R>& group) {
            return for_schedules(in.points, threads, group.count, [&](dim3 blocks, const Schedule& schedule) {
              return launch(add_points<R, dims.value, features.value, dual.value>, blocks, dim3(threads), 0, stream, in,
                            group, schedule, problem.type, to);
            });
          });
    });
  });
}

}  // namespace warphash::hashgrid
