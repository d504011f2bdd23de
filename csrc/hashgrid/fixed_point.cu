// SPDX-License-Identifier: Apache-2.0
// The table's gradient as the same sum in every run (fixed_point.cuh).
//
// Bound: atomics in L2, of 8 bytes each, none joined. Workspace: rows * features * 8 bytes, beside the output.
#include "hashgrid/fixed_point.cuh"
#include "hashgrid/scatter.cuh"

namespace warphash::hashgrid {
namespace {

constexpr int threads = 256;
constexpr int64_t most_blocks = 1024;

template <class T>
__global__ void __launch_bounds__(threads)
    find_largest(const T* __restrict__ values, const int64_t count, Magnitude* largest) {
  Magnitude own = 0;
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < count; i += int64_t(gridDim.x) * threads) {
    const double value = fabs(static_cast<double>(widen(__ldg(values + i))));
    const Magnitude bits = static_cast<Magnitude>(__double_as_longlong(value));
    if (bits < infinite && bits > own) own = bits;
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const Magnitude other = __shfl_down_sync(~0u, own, distance);
    own = other > own ? other : own;
  }
  if (threadIdx.x % 32 == 0) atomicMax(largest, own);
}

// A thread a level.
template <class R>
__global__ void __launch_bounds__(most_group)
    choose_factors(const __grid_constant__ Inputs<R> in, const __grid_constant__ Group<R> group, const int points_bits,
                   const Magnitude* __restrict__ largest, double* factors) {
  if (int(threadIdx.x) >= group.count) return;
  const DeviceLevel<R>& level = group.levels[threadIdx.x];
  const double weight = in.weights == nullptr ? 1.0 : static_cast<double>(__ldg(in.weights + level.number));
  // A point's weights add up to 1, but for their rounding.
  int exponent = 1 + exponent_above(largest[0]) + exponent_above(weight);
  if (in.v != nullptr) {
    // Their derivatives along v, as magnitudes, to 2 |v[d]| scale 3/2 for each axis d; 7 axes are below 2^3.
    double scale = 0;
    for (int d = 0; d < in.dims; ++d) scale = fmax(scale, static_cast<double>(level.scale[d]));
    exponent += 3 + exponent_above(largest[1]) + exponent_above(3 * scale);
  }
  set_factors(exponent, points_bits, factors + 2 * level.number);
}

template <class R, int D, bool dual>
__global__ void __launch_bounds__(threads, 2)
    add_integers(const __grid_constant__ Inputs<R> in, const __grid_constant__ Group<R> group, const Schedule schedule,
                 const TableType type, const double* __restrict__ factors, unsigned long long* sums, R* of_table) {
  const Turn turn = turn_of(schedule, group.count);
  const int64_t point = turn.block * threads + threadIdx.x;
  if (point >= in.points) return;
  const DeviceLevel<R>& level = group.levels[turn.slot];
  const R weight = in.weights == nullptr ? R(1) : __ldg(in.weights + level.number);
  if (weight == 0) return;
  const int64_t from = (point * in.levels + level.number) * in.features;
  const double factor = __ldg(factors + 2 * level.number);
  for_leaves<D, dual>(in, level, point, [&](const auto& row, const auto& w, int corners) {
    for (int64_t f = 0; f < in.features; ++f) {
      const R g = weight * load_feature(type, in, from + f);
#pragma unroll
      for (int c = 0; c < Axes<D>::leaf; ++c) {
        if (c >= corners) break;
        const int64_t to = row[c] * in.features + f;
        add_fixed(sums, of_table, to, w[c] * g, factor);
      }
    }
  });
}

template <class R>
__global__ void __launch_bounds__(threads)
    add_sums(const __grid_constant__ Group<R> group, const int64_t features, const double* __restrict__ factors,
             const unsigned long long* __restrict__ sums, R* of_table) {
  const DeviceLevel<R>& level = group.levels[blockIdx.y];
  const int64_t begin = level.offset * features, count = level.rows * features;
  const double factor = __ldg(factors + 2 * level.number + 1);
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < count; i += int64_t(gridDim.x) * threads) {
    const double sum = static_cast<double>(static_cast<long long>(__ldg(sums + begin + i)));
    if (sum != 0) of_table[begin + i] = of_table[begin + i] + static_cast<R>(sum * factor);
  }
}

}  // namespace

cudaError_t find_largest_of(TableType type, const void* values, int64_t count, Magnitude* largest,
                            cudaStream_t stream) {
  return with_type(type, [&](auto stored) {
    using T = typename decltype(stored)::type;
    return launch(find_largest<T>, dim3(static_cast<unsigned>(clamp(ceil_divide(count, threads), 1, most_blocks))),
                  dim3(threads), 0, stream, static_cast<const T*>(values), count, largest);
  });
}

template <class R>
cudaError_t finish_fixed(int64_t features, const Group<R>& group, const FixedPoint& fixed, R* of_table,
                         cudaStream_t stream) {
  int64_t rows = 0;
  for (int i = 0; i < group.count; ++i) rows = rows < group.levels[i].rows ? group.levels[i].rows : rows;
  const int64_t blocks = clamp(ceil_divide(rows * features, threads), 1, most_blocks);
  return launch(add_sums<R>, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(group.count)), dim3(threads), 0,
                stream, group, features, fixed.factors, fixed.sums, of_table);
}
template cudaError_t finish_fixed(int64_t, const Group<float>&, const FixedPoint&, float*, cudaStream_t);
template cudaError_t finish_fixed(int64_t, const Group<double>&, const FixedPoint&, double*, cudaStream_t);

size_t fixed_workspace(const Problem& problem) {
  return static_cast<size_t>(2 + 2 * problem.grid->level_count() + problem.grid->rows * problem.features) * 8;
}

cudaError_t scatter_fixed(const Problem& problem, const void* v, const void* gradient, void* of_table, void* memory,
                          cudaStream_t stream) {
  const Grid& grid = *problem.grid;
  if (problem.points == 0 || (v != nullptr && grid.interpolation == Interpolation::nearest)) return cudaSuccess;
  const FixedPoint fixed(memory, grid.level_count());
  cudaError_t error = cudaMemsetAsync(memory, 0, fixed_workspace(problem), stream);
  if (error != cudaSuccess) return error;
  error = find_largest_of(problem.type, gradient, problem.points * grid.level_count() * problem.features, fixed.largest,
                          stream);
  if (error == cudaSuccess && v != nullptr) {
    const TableType plain = problem.type == TableType::f64 ? TableType::f64 : TableType::f32;
    error = find_largest_of(plain, v, problem.points * grid.dims, fixed.largest + 1, stream);
  }
  if (error != cudaSuccess) return error;
  return with_sums(problem, v, [&](auto zero, auto dims, auto dual) {
    using R = decltype(zero);
    const Inputs<R> in = inputs_of<R>(problem, gradient, v);
    R* const to = static_cast<R*>(of_table);
    return for_groups<R>(
        grid, [](int) { return true; },
        [&](const Group<R>& group) {
          cudaError_t done = launch(choose_factors<R>, dim3(1), dim3(most_group), 0, stream, in, group,
                                    bits_of(problem.points), fixed.largest, fixed.factors);
          if (done == cudaSuccess)
            done = for_schedules(in.points, threads, group.count, [&](dim3 blocks, const Schedule& schedule) {
              return launch(add_integers<R, dims.value, dual.value>, blocks, dim3(threads), 0, stream, in, group,
                            schedule, problem.type, fixed.factors, fixed.sums, to);
            });
          return done == cudaSuccess ? finish_fixed(in.features, group, fixed, to, stream) : done;
        });
  });
}

}  // namespace warphash::hashgrid
