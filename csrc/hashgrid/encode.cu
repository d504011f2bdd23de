// SPDX-License-Identifier: Apache-2.0
// Features of points: every level's corners gathered, weighted, summed.
//
// Bound: gathers, in L1 (an address is a tag look-up; 2^dims of them a point and level, three quarters of that with
// pairs) and in L2 (a sector of 32 bytes each). A thread has one point and one level, and all blocks of a level stand
// together, so that a level's rows, a few MiB, stay in L2; so do the outputs of a super-block, which one level after
// the other fills by a few bytes each: written to memory they are whole lines.
#include "hashgrid/launches.cuh"

namespace warphash::hashgrid {
namespace {

constexpr int threads = 256;
constexpr int chunk = 4;  // features at once, if their number is known at run time only

template <class T, int D, int F>
__global__ void __launch_bounds__(threads, sizeof(T) == 8 ? 1 : 2)
    encode_points(const __grid_constant__ Inputs<Wide<T>> in, const __grid_constant__ Group<Wide<T>> group,
                  const Schedule schedule, T* __restrict__ out) {
  using R = Wide<T>;
  using Axes = Axes<D>;
  const Turn turn = turn_of(schedule, group.count);
  const int64_t point = turn.block * threads + threadIdx.x;
  if (point >= in.points) return;
  const DeviceLevel<R>& level = group.levels[turn.slot];
  const int dims = D == 0 ? in.dims : D;
  const R weight = in.weights == nullptr ? R(1) : __ldg(in.weights + level.number);
  T* const to = out + (point * in.levels + level.number) * in.features;
  if (weight == 0) {
    fill<T, F>(to, in.features, 0);
    return;
  }
  R x[Axes::count];
  if (!load_point<D>(in.x + point * dims, dims, in.largest, x)) {
    fill<T, F>(to, in.features, not_a_number<R>());
    return;
  }
  const Cell<R, D> cell(level, in.interpolation, dims, x);
  const bool nearest = in.interpolation == Interpolation::nearest;
  const int corners = nearest ? 1 : Axes::leaf;
  const unsigned leaves = nearest || Axes::low == Axes::count ? 1 : 1u << (dims - Axes::low);
  const T* const table = static_cast<const T*>(in.table);
  if constexpr (F > 0) {
    R sum[F] = {};
#pragma unroll 1
    for (unsigned high = 0; high < leaves; ++high) {
      uint32_t row[Axes::leaf];
      R w[Axes::leaf], values[Axes::leaf][F];
      cell.rows(level, dims, high, row);
      gather<T>(table, level.paired, row, values);
      cell.weights(dims, high, w);
#pragma unroll
      for (int c = 0; c < Axes::leaf; ++c)
#pragma unroll
        for (int f = 0; f < F; ++f)
          if (c < corners) sum[f] = sum[f] + w[c] * values[c][f];
    }
#pragma unroll
    for (int f = 0; f < F; ++f) sum[f] = sum[f] * weight;
    store_narrowed(to, sum);
  } else {
    for (int64_t first = 0; first < in.features; first += chunk) {
      R sum[chunk] = {};
#pragma unroll 1
      for (unsigned high = 0; high < leaves; ++high) {
        uint32_t row[Axes::leaf];
        R w[Axes::leaf];
        cell.rows(level, dims, high, row);
        cell.weights(dims, high, w);
#pragma unroll
        for (int c = 0; c < Axes::leaf; ++c)
#pragma unroll
          for (int f = 0; f < chunk; ++f)
            if (c < corners && first + f < in.features)
              sum[f] = sum[f] + w[c] * widen(__ldg(table + row[c] * in.features + first + f));
      }
#pragma unroll
      for (int f = 0; f < chunk; ++f)
        if (first + f < in.features) narrow(sum[f] * weight, to[first + f]);
    }
  }
}

}  // namespace

cudaError_t encode(const Problem& problem, void* out, cudaStream_t stream) {
  if (problem.points == 0 || problem.features == 0) return cudaSuccess;
  return with_type(problem.type, [&](auto type) {
    using T = typename decltype(type)::type;
    using R = Wide<T>;
    const Inputs<R> in = inputs_of<R>(problem);
    return with_dims(in.dims, [&](auto dims) {
      return with_features<T>(compiled_features(problem, {problem.table, out}), [&](auto features) {
        return for_groups<R>(
            *problem.grid, [](int) { return true; },
            [&](const Group<R>& group) {
              return for_schedules(in.points, threads, group.count, [&](dim3 blocks, const Schedule& schedule) {
                return launch(encode_points<T, dims.value, features.value>, blocks, dim3(threads), 0, stream, in, group,
                              schedule, static_cast<T*>(out));
              });
            });
      });
    });
  });
}

}  // namespace warphash::hashgrid
