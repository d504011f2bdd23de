// SPDX-License-Identifier: Apache-2.0
// Total variation of the table around points, and its gradient: squared differences between a cell's lower vertex and its
// neighbours above.
//
// Bound: reads of dims + 1 rows a point and level, and atomics on as many. Features are taken one by one: a regulariser
// sees a few thousand points, and its time is that of its launches.
#include "hashgrid/fixed_point.cuh"

namespace warphash::hashgrid {
namespace {

constexpr int threads = 256;

// Calls use(row of the vertex above on an axis) for each axis; returns the row of the lower vertex.
template <class R, int D, class Use>
__device__ __forceinline__ uint32_t for_neighbours(const Cell<R, D>& cell, const DeviceLevel<R>& level, int dims,
                                                   const Use& use) {
  using Axes = Axes<D>;
  uint32_t row[Axes::leaf];
  cell.rows(level, dims, 0, row);
  const uint32_t lowest = row[0];
#pragma unroll
  for (int d = 0; d < Axes::low; ++d) use(row[1 << d]);
#pragma unroll 1
  for (int d = Axes::low; d < dims; ++d) {
    cell.rows(level, dims, 1u << (d - Axes::low), row);
    use(row[0]);
  }
  return lowest;
}

template <class R, int D>
__device__ __forceinline__ uint32_t lowest_row(const Cell<R, D>& cell, const DeviceLevel<R>& level, int dims) {
  uint32_t row[Axes<D>::leaf];
  cell.rows(level, dims, 0, row);
  return row[0];
}

template <class T, int D>
__global__ void __launch_bounds__(point_threads, least_blocks<T, D>)
    add_squares(const __grid_constant__ Inputs<Wide<T>> in, const __grid_constant__ Group<Wide<T>> group,
                double* partial) {
  using R = Wide<T>;
  using Axes = Axes<D>;
  __shared__ PointSums::Columns columns;
  PointSums sums(columns, partial);
  const int dims = D == 0 ? in.dims : D;
  const T* const table = static_cast<const T*>(in.table);
  for (int64_t first = int64_t(blockIdx.x) * point_threads; first < in.points;
       first += int64_t(gridDim.x) * point_threads) {
    const int64_t point = first + threadIdx.x;
    const bool present = point < in.points;
    R x[Axes::count];
    const bool usable = load_point<D>(in.x + (present ? point : first) * dims, dims, in.largest, x) && present;
#pragma unroll 1
    for (int slot = 0; slot < group.count; ++slot) {
      const DeviceLevel<R>& level = group.levels[slot];
      double total = 0;
      if (usable) {
        const Cell<R, D> cell(level, Interpolation::linear, dims, x);
        const T* const low = table + lowest_row(cell, level, dims) * in.features;
        for_neighbours(cell, level, dims, [&](uint32_t row) {
          for (int64_t f = 0; f < in.features; ++f) {
            const double rise =
                static_cast<double>(widen(__ldg(table + row * in.features + f)) - widen(__ldg(low + f)));
            total += rise * rise;
          }
        });
      }
      sums.add(slot, total);
    }
  }
  sums.finish(group, in.levels);
}

// Adds in floats, or with factors in integers (fixed_point.cuh).
template <class T, int D>
__global__ void __launch_bounds__(threads)
    add_differences(const __grid_constant__ Inputs<Wide<T>> in, const __grid_constant__ Group<Wide<T>> group,
                    const Schedule schedule, const double* __restrict__ factors, unsigned long long* sums,
                    Wide<T>* of_table) {
  using R = Wide<T>;
  using Axes = Axes<D>;
  const Turn turn = turn_of(schedule, group.count);
  const int64_t point = turn.block * threads + threadIdx.x;
  if (point >= in.points) return;
  const DeviceLevel<R>& level = group.levels[turn.slot];
  const int dims = D == 0 ? in.dims : D;
  const R scale = 2 * __ldg(in.weights + level.number);
  R x[Axes::count];
  if (scale == 0 || !load_point<D>(in.x + point * dims, dims, in.largest, x)) return;
  const Cell<R, D> cell(level, Interpolation::linear, dims, x);
  const T* const table = static_cast<const T*>(in.table);
  const int64_t low = lowest_row(cell, level, dims) * in.features;
  const double factor = factors == nullptr ? 0 : __ldg(factors + 2 * level.number);
  const auto add = [&](int64_t to, R added) {
    if (factors == nullptr)
      atomicAdd(of_table + to, added);
    else
      add_fixed(sums, of_table, to, added, factor);
  };
  for_neighbours(cell, level, dims, [&](uint32_t row) {
    for (int64_t f = 0; f < in.features; ++f) {
      const int64_t high = row * in.features + f;
      const R added = scale * (widen(__ldg(table + high)) - widen(__ldg(table + low + f)));
      add(high, added);
      add(low + f, -added);
    }
  });
}

// A point adds to a row at most 2 dims times 2 |weight| times a difference of two numbers of the table.
template <class R>
__global__ void __launch_bounds__(most_group)
    choose_factors_of_differences(const __grid_constant__ Inputs<R> in, const __grid_constant__ Group<R> group,
                                  const int points_bits, const Magnitude* __restrict__ largest, double* factors) {
  if (int(threadIdx.x) >= group.count) return;
  const int number = group.levels[threadIdx.x].number;
  const double weight = static_cast<double>(__ldg(in.weights + number));
  set_factors(6 + exponent_above(largest[0]) + exponent_above(weight), points_bits, factors + 2 * number);
}

}  // namespace

size_t variation_workspace(const Problem& problem) {
  return static_cast<size_t>(point_blocks(problem.points) * problem.grid->level_count()) * sizeof(double);
}

cudaError_t variation(const Problem& problem, void* by_level, void* workspace, cudaStream_t stream) {
  const int64_t blocks = point_blocks(problem.points);
  double* const partial = static_cast<double*>(workspace);
  return with_type(problem.type, [&](auto type) {
    using T = typename decltype(type)::type;
    using R = Wide<T>;
    const Inputs<R> in = inputs_of<R>(problem);
    const cudaError_t error = with_dims(in.dims, [&](auto dims) {
      return for_groups<R>(
          *problem.grid, [](int) { return true; },
          [&](const Group<R>& group) {
            return launch(add_squares<T, dims.value>, dim3(static_cast<unsigned>(blocks)), dim3(point_threads), 0,
                          stream, in, group, partial);
          });
    });
    return error != cudaSuccess ? error : sum_partials(partial, blocks, in.levels, static_cast<R*>(by_level), stream);
  });
}

size_t variation_backward_workspace(const Problem& problem, bool deterministic) {
  return deterministic ? fixed_workspace(problem) : 0;
}

cudaError_t variation_backward(const Problem& problem, void* of_table, bool deterministic, void* memory,
                               cudaStream_t stream) {
  const Grid& grid = *problem.grid;
  const int64_t count = grid.rows * problem.features;
  cudaError_t error = cudaMemsetAsync(of_table, 0, static_cast<size_t>(count) * bytes_of_sums(problem.type), stream);
  if (error != cudaSuccess || problem.points == 0) return error;
  FixedPoint fixed(deterministic ? memory : nullptr, grid.level_count());
  if (deterministic) {
    error = cudaMemsetAsync(memory, 0, fixed_workspace(problem), stream);
    if (error == cudaSuccess) error = find_largest_of(problem.type, problem.table, count, fixed.largest, stream);
    if (error != cudaSuccess) return error;
  }
  return with_type(problem.type, [&](auto type) {
    using T = typename decltype(type)::type;
    using R = Wide<T>;
    const Inputs<R> in = inputs_of<R>(problem);
    R* const to = static_cast<R*>(of_table);
    return with_dims(in.dims, [&](auto dims) {
      return for_groups<R>(
          grid, [](int) { return true; },
          [&](const Group<R>& group) {
            cudaError_t done = cudaSuccess;
            if (deterministic)
              done = launch(choose_factors_of_differences<R>, dim3(1), dim3(most_group), 0, stream, in, group,
                            bits_of(problem.points), fixed.largest, fixed.factors);
            if (done == cudaSuccess)
              done = for_schedules(in.points, threads, group.count, [&](dim3 blocks, const Schedule& schedule) {
                return launch(add_differences<T, dims.value>, blocks, dim3(threads), 0, stream, in, group, schedule,
                              fixed.factors, fixed.sums, to);
              });
            return done != cudaSuccess || !deterministic ? done : finish_fixed(in.features, group, fixed, to, stream);
          });
    });
  });
}

}  // namespace warphash::hashgrid
