// SPDX-License-Identifier: Apache-2.0
// Derivatives of Phi = <v, dL/dx>: in the gradient, in x, in the table, in level weights.
//
// Bound: as in backward.cu, with one reading of x, v and gradient and one gather for all four. Phi is the derivative of
// the interpolated <rows, gradient> along v; so the weights of the corners, moved along v (dual weights), give what goes
// to gradient and table, and the contraction carries beside every number its derivative along v, which gives x.
#include "hashgrid/points.cuh"

namespace warphash::hashgrid {
namespace {

// <rows, gradient> interpolated along the first `joined` axes, its derivatives in them, and those of all along v.
template <class R, int joined>
struct Interpolated {
  R value, along;  // along: not yet of a corner
  R slope[joined == 0 ? 1 : joined], along_slope[joined == 0 ? 1 : joined];

  Interpolated() = default;
  __device__ __forceinline__ explicit Interpolated(const Interpolated<R, joined - 1>& other)
      : value(other.value), along(other.along) {
#pragma unroll
    for (int d = 0; d < joined; ++d) {
      slope[d] = d < joined - 1 ? other.slope[d] : R(0);
      along_slope[d] = d < joined - 1 ? other.along_slope[d] : R(0);
    }
  }
};
template <class R>
struct Second {
  template <int joined>
  using Node = Interpolated<R, joined>;
};

constexpr int chunk = 4;  // features at once, if their number is known at run time only

// sum_k q[k] * row_k for one feature after the other: to [features].
template <class T, int D>
__device__ __forceinline__ void sum_features(const Cell<Wide<T>, D>& cell, const DeviceLevel<Wide<T>>& level, int dims,
                                             const Wide<T> (&rate)[Axes<D>::count], const T* table, int64_t features,
                                             Wide<T> weight, T* to) {
  using R = Wide<T>;
  constexpr int leaf = Axes<D>::leaf;
  const unsigned leaves = Axes<D>::low == Axes<D>::count ? 1 : 1u << (dims - Axes<D>::low);
#pragma unroll 1
  for (int64_t first = 0; first < features; first += chunk) {
    R sum[chunk] = {};
#pragma unroll 1
    for (unsigned high = 0; high < leaves; ++high) {
      uint32_t row[leaf];
      R q[leaf];
      cell.rows(level, dims, high, row);
      cell.dual_weights(dims, high, rate, q);
#pragma unroll
      for (int c = 0; c < leaf; ++c)
#pragma unroll
        for (int f = 0; f < chunk; ++f)
          if (first + f < features) sum[f] = sum[f] + q[c] * widen(__ldg(table + row[c] * features + first + f));
    }
#pragma unroll
    for (int f = 0; f < chunk; ++f)
      if (first + f < features) narrow(sum[f] * weight, to[first + f]);
  }
}

// As in backward.cu, but more is carried along.
template <class T, int D, int F>
constexpr int twice_blocks = sizeof(T) == 8 || D == 0 || (D == 4 && F == 8) ? 2 : 3;

template <class T, int D, int F>
__global__ void __launch_bounds__(point_threads, twice_blocks<T, D, F>)
    differentiate_twice(const __grid_constant__ Inputs<Wide<T>> in, const __grid_constant__ Group<Wide<T>> group,
                        const bool first_group, T* of_gradient, Wide<T>* of_x, Wide<T>* of_table, double* partial) {
  using R = Wide<T>;
  using Axes = Axes<D>;
  constexpr int leaf = Axes::leaf;
  __shared__ PointSums::Columns columns;
  PointSums sums(columns, partial);
  const int dims = D == 0 ? in.dims : D;
  const bool nearest = in.interpolation == Interpolation::nearest;
  const bool smooth = in.interpolation == Interpolation::smoothstep;
  const T* const table = static_cast<const T*>(in.table);
  for (int64_t first = int64_t(blockIdx.x) * point_threads; first < in.points;
       first += int64_t(gridDim.x) * point_threads) {
    const int64_t point = first + threadIdx.x;
    const bool present = point < in.points;
    R x[Axes::count], v[Axes::count];
    const int64_t coordinates_at = (present ? point : first) * dims;
    bool usable = present;
    if constexpr (D == 0) {
      // Registers are short: x is read again for each level. By another instruction, else the compiler would keep it.
      for (int d = 0; d < dims; ++d) usable = usable && fabs(__ldcg(in.x + coordinates_at + d)) <= in.largest;
    } else {
      usable = load_point<D>(in.x + coordinates_at, dims, in.largest, x) && present;
    }
    load_point<D>(in.v + coordinates_at, dims, in.largest, v);
    PointGradient<R, D> gradient_x(of_x, point, dims, present, first_group);
#pragma unroll 1
    for (int slot = 0; slot < group.count; ++slot) {
      const DeviceLevel<R>& level = group.levels[slot];
      const R weight = in.weights == nullptr ? R(1) : __ldg(in.weights + level.number);
      const bool skipped = weight == 0;
      const int64_t features_at = (point * in.levels + level.number) * in.features;
      if (of_gradient != nullptr && present && (skipped || nearest || !usable))
        fill<T, F>(of_gradient + features_at, in.features, skipped || usable ? R(0) : not_a_number<R>());
      if (skipped && !sums.wanted()) continue;
      R along = 0;
      if (usable && !nearest) {
        const T* const from = static_cast<const T*>(in.gradient) + features_at;
        [[maybe_unused]] const bool adds = of_table != nullptr && level.scattered && !skipped;
        const bool sums_rows = of_gradient != nullptr && !skipped;
        if constexpr (D == 0) load_point<D>(in.x + coordinates_at, dims, in.largest, x);
        const Cell<R, D> cell(level, in.interpolation, dims, x);
        R slope[Axes::count], rate[Axes::count];
#pragma unroll
        for (int d = 0; d < Axes::count; ++d) {
          slope[d] = Axes::has(d, dims) ? level.scale[d] * share_slope(in.interpolation, cell.place[d]) : R(0);
          rate[d] = Axes::has(d, dims) ? v[d] * slope[d] : R(0);
        }
        R g[F == 0 ? 1 : F], row_sum[F == 0 ? 1 : F] = {};
        if constexpr (F > 0) load_widened(from, g);

        const auto eliminate = [&]<int axis>(const Interpolated<R, axis>& low, const Interpolated<R, axis>& high) {
          const R upper = cell.upper[axis], lower = 1 - upper, rise = high.value - low.value;
          Interpolated<R, axis + 1> joined;
#pragma unroll
          for (int d = 0; d < axis; ++d) {
            joined.along_slope[d] = (low.along_slope[d] * lower + high.along_slope[d] * upper) +
                                    rate[axis] * (high.slope[d] - low.slope[d]);
            joined.slope[d] = low.slope[d] * lower + high.slope[d] * upper;
          }
          R bend = 0;
          if (smooth) bend = v[axis] * ((level.scale[axis] * level.scale[axis]) * share_curvature(cell.place[axis]));
          if constexpr (axis == 0) {
            joined.along = rate[axis] * rise;
            joined.along_slope[axis] = smooth ? bend * rise : R(0);
          } else {
            const R mixed = slope[axis] * (high.along - low.along);
            joined.along = (low.along * lower + high.along * upper) + rate[axis] * rise;
            joined.along_slope[axis] = smooth ? mixed + bend * rise : mixed;
          }
          joined.slope[axis] = rise * slope[axis];
          joined.value = low.value * lower + high.value * upper;
          return joined;
        };
        const auto make_leaf = [&](unsigned high) {
          uint32_t row[leaf];
          Interpolated<R, 0> nodes[leaf] = {};
          cell.rows(level, dims, high, row);
          [[maybe_unused]] R q[leaf];
          if constexpr (F > 0) {
            if (adds || sums_rows) cell.dual_weights(dims, high, rate, q);
            R values[leaf][F];
            gather<T>(table, level.paired, row, values);
#pragma unroll
            for (int c = 0; c < leaf; ++c) {
              nodes[c].value = g[0] * values[c][0];
#pragma unroll
              for (int f = 1; f < F; ++f) nodes[c].value = nodes[c].value + g[f] * values[c][f];
            }
            if (sums_rows)
#pragma unroll
              for (int c = 0; c < leaf; ++c)
#pragma unroll
                for (int f = 0; f < F; ++f) row_sum[f] = row_sum[f] + q[c] * values[c][f];
          } else {
            for (int64_t f = 0; f < in.features; ++f) {
              const R one = widen(__ldg(from + f));
#pragma unroll
              for (int c = 0; c < leaf; ++c) {
                const R product = one * widen(__ldg(table + row[c] * in.features + f));
                nodes[c].value = f == 0 ? product : nodes[c].value + product;
              }
            }
          }
          if constexpr (F > 0) {
            if (adds) {
              R weighted[F];
#pragma unroll
              for (int f = 0; f < F; ++f) weighted[f] = weight * g[f];
              scatter(of_table, row, q, weighted, leaf);
            }
          }
          return contract_leaf<Second<R>, Axes::low>(nodes, eliminate);
        };
        const auto node = contract<D, Second<R>>(dims, 0, make_leaf, eliminate);
        along = node.along;
        if (!skipped) gradient_x.add(weight, node.along_slope);
        if (sums_rows) {
          if constexpr (F > 0) {
#pragma unroll
            for (int f = 0; f < F; ++f) row_sum[f] = row_sum[f] * weight;
            store_narrowed(of_gradient + features_at, row_sum);
          } else {
            sum_features<T, D>(cell, level, dims, rate, table, in.features, weight, of_gradient + features_at);
          }
        }
      } else if (!usable && !skipped) {
        gradient_x.make_unusable();
      }
      if (sums.wanted()) sums.add(slot, along);
    }
    gradient_x.finish();
  }
  sums.finish(group, in.levels);
}

}  // namespace

size_t double_backward_workspace(const Problem& problem, const Derivatives& wanted) {
  return backward_workspace(problem, wanted);
}

cudaError_t double_backward(const Problem& problem, const void* v, const void* gradient, const Derivatives& wanted,
                            int multiprocessors, void* workspace, cudaStream_t stream) {
  return derive(problem, v, gradient, wanted, multiprocessors, workspace, stream,
                [&](auto type, auto dims, auto features, const auto& in, const auto& group, dim3 blocks, auto* of_table,
                    double* partial) {
                  using T = typename decltype(type)::type;
                  return launch(differentiate_twice<T, dims.value, features.value>, blocks, dim3(point_threads), 0,
                                stream, in, group, group.levels[0].number == 0, static_cast<T*>(wanted.of_gradient),
                                static_cast<Wide<T>*>(wanted.of_x), of_table, partial);
                });
}

}  // namespace warphash::hashgrid
