// SPDX-License-Identifier: Apache-2.0
// The table's gradient as the same sum in every run: in 64-bit integers, whose additions may come in any order.
//
// Each level has a power of two by which additions are multiplied, so large that the sum of the largest that could come
// from this call's gradient, v and weights still fits. Against the largest addition the rounding is 2^-61 times the
// number of points. What is infinite or NaN is added to the gradient itself by floats: there no order matters.
//
// Bound: atomics in L2, of 8 bytes each, none joined. Workspace: rows * features * 8 bytes, beside the output.
#include "hashgrid/scatter.cuh"

namespace warphash::hashgrid {
namespace {

constexpr int threads = 256;
constexpr int64_t most_blocks = 1024;

// Bits of the largest finite magnitude, as float64: they order as the numbers do.
using Magnitude = unsigned long long;
constexpr Magnitude infinite = 0x7ff0000000000000ull;

struct Workspace {
  Magnitude* largest;        // [2]: of gradient, of v
  double* factors;           // [levels, 2]: to integers, and back
  unsigned long long* sums;  // [rows, features]

  Workspace(void* memory, int levels)
      : largest(static_cast<Magnitude*>(memory)),
        factors(reinterpret_cast<double*>(largest + 2)),
        sums(reinterpret_cast<unsigned long long*>(factors + 2 * levels)) {}
};

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

// The least e such that |value| < 2^e, at least -1022; large for what is not finite.
__device__ __forceinline__ int exponent_above(Magnitude bits) { return static_cast<int>(bits >> 52) - 1022; }
__device__ __forceinline__ int exponent_above(double value) {
  return exponent_above(static_cast<Magnitude>(__double_as_longlong(fabs(value))));
}
__device__ __forceinline__ double power_of_two(int exponent) {
  return __longlong_as_double(static_cast<long long>(exponent + 1023) << 52);
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
  // Sums beyond 2^1025 are not finite, below 2^-900 nothing is lost that matters; the factor and its inverse are normal.
  exponent = max(-900, min(1025, exponent));
  factors[2 * level.number] = power_of_two(62 - points_bits - exponent);
  factors[2 * level.number + 1] = power_of_two(points_bits + exponent - 62);
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
        const R added = w[c] * g;
        if (fabs(added) <= std::numeric_limits<R>::max())
          atomicAdd(sums + to, static_cast<unsigned long long>(llrint(static_cast<double>(added) * factor)));
        else
          atomicAdd(of_table + to, added);
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

template <class T>
cudaError_t find_largest_of(const void* values, int64_t count, Magnitude* largest, cudaStream_t stream) {
  return launch(find_largest<T>, dim3(static_cast<unsigned>(clamp(ceil_divide(count, threads), 1, most_blocks))),
                dim3(threads), 0, stream, static_cast<const T*>(values), count, largest);
}

}  // namespace

size_t fixed_workspace(const Problem& problem) {
  return static_cast<size_t>(2 + 2 * problem.grid->level_count() + problem.grid->rows * problem.features) * 8;
}

cudaError_t scatter_fixed(const Problem& problem, const void* v, const void* gradient, void* of_table, void* memory,
                          cudaStream_t stream) {
  const Grid& grid = *problem.grid;
  if (problem.points == 0 || (v != nullptr && grid.interpolation == Interpolation::nearest)) return cudaSuccess;
  const Workspace workspace(memory, grid.level_count());
  cudaError_t error = cudaMemsetAsync(memory, 0, fixed_workspace(problem), stream);
  if (error != cudaSuccess) return error;
  error = with_type(problem.type, [&](auto type) {
    return find_largest_of<typename decltype(type)::type>(
        gradient, problem.points * grid.level_count() * problem.features, workspace.largest, stream);
  });
  if (error != cudaSuccess) return error;
  int points_bits = 0;
  while ((int64_t{1} << points_bits) < problem.points) ++points_bits;
  return with_sums(problem, v, [&](auto zero, auto dims, auto dual) {
    using R = decltype(zero);
    const Inputs<R> in = inputs_of<R>(problem, gradient, v);
    R* const to = static_cast<R*>(of_table);
    if (v != nullptr) {
      const cudaError_t found = find_largest_of<R>(v, in.points * in.dims, workspace.largest + 1, stream);
      if (found != cudaSuccess) return found;
    }
    return for_groups<R>(
        grid, [](int) { return true; },
        [&](const Group<R>& group) {
          cudaError_t done = launch(choose_factors<R>, dim3(1), dim3(most_group), 0, stream, in, group, points_bits,
                                    workspace.largest, workspace.factors);
          if (done == cudaSuccess)
            done = for_schedules(in.points, threads, group.count, [&](dim3 blocks, const Schedule& schedule) {
              return launch(add_integers<R, dims.value, dual.value>, blocks, dim3(threads), 0, stream, in, group,
                            schedule, problem.type, workspace.factors, workspace.sums, to);
            });
          if (done != cudaSuccess) return done;
          int64_t rows = 0;
          for (int i = 0; i < group.count; ++i) rows = rows < group.levels[i].rows ? group.levels[i].rows : rows;
          const int64_t blocks = clamp(ceil_divide(rows * in.features, threads), 1, most_blocks);
          return launch(add_sums<R>, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(group.count)),
                        dim3(threads), 0, stream, group, in.features, workspace.factors, workspace.sums, to);
        });
  });
}

}  // namespace warphash::hashgrid
