// SPDX-License-Identifier: Apache-2.0
// First derivatives: in x, in the table, in level weights.
//
// Bound: the gathers of encode.cu once more, from the whole table, since threads go over the levels each at its own
// time; with the table's gradient, the additions of scatter.cu. The contraction joins the corners axis by axis, which
// costs about as many operations as the interpolation itself and needs no products of dims - 1 shares.
#include "hashgrid/points.cuh"

namespace warphash::hashgrid {
namespace {

// <rows, gradient> interpolated along the first `joined` axes, and its derivatives in them.
template <class R, int joined>
struct Interpolated {
  R value;
  R slope[joined == 0 ? 1 : joined];

  Interpolated() = default;
  __device__ __forceinline__ explicit Interpolated(const Interpolated<R, joined - 1>& other) : value(other.value) {
#pragma unroll
    for (int d = 0; d < joined; ++d) slope[d] = d < joined - 1 ? other.slope[d] : R(0);
  }
};

template <class R>
struct First {
  template <int joined>
  using Node = Interpolated<R, joined>;
};

template <class T, int D, int F>
__global__ void __launch_bounds__(point_threads, least_blocks<T, D>)
    differentiate(const __grid_constant__ Inputs<Wide<T>> in, const __grid_constant__ Group<Wide<T>> group,
                  const bool first_group, Wide<T>* of_x, Wide<T>* of_table, double* partial) {
  using R = Wide<T>;
  using Axes = Axes<D>;
  constexpr int leaf = Axes::leaf;
  __shared__ PointSums::Columns columns;
  PointSums sums(columns, partial);
  const int dims = D == 0 ? in.dims : D;
  const bool nearest = in.interpolation == Interpolation::nearest;
  const int corners = nearest ? 1 : leaf, loop_dims = nearest ? 0 : dims;
  const T* const table = static_cast<const T*>(in.table);
  for (int64_t first = int64_t(blockIdx.x) * point_threads; first < in.points;
       first += int64_t(gridDim.x) * point_threads) {
    const int64_t point = first + threadIdx.x;
    const bool present = point < in.points;
    R x[Axes::count];
    const bool usable = load_point<D>(in.x + (present ? point : first) * dims, dims, in.largest, x) && present;
    PointGradient<R, D> gradient_x(of_x, point, dims, present, first_group);
#pragma unroll 1
    for (int slot = 0; slot < group.count; ++slot) {
      const DeviceLevel<R>& level = group.levels[slot];
      const R weight = in.weights == nullptr ? R(1) : __ldg(in.weights + level.number);
      const bool skipped = weight == 0;
      if (skipped && !sums.wanted()) continue;
      R value = 0;
      if (usable) {
        const T* const from = static_cast<const T*>(in.gradient) + (point * in.levels + level.number) * in.features;
        [[maybe_unused]] const bool adds = of_table != nullptr && level.scattered && !skipped;
        const Cell<R, D> cell(level, in.interpolation, dims, x);
        R slope[Axes::count];
#pragma unroll
        for (int d = 0; d < Axes::count; ++d)
          slope[d] = Axes::has(d, dims) ? level.scale[d] * share_slope(in.interpolation, cell.place[d]) : R(0);
        R g[F == 0 ? 1 : F];
        if constexpr (F > 0) load_widened(from, g);

        const auto eliminate = [&]<int axis>(const Interpolated<R, axis>& low, const Interpolated<R, axis>& high) {
          Interpolated<R, axis + 1> joined;
          joined.value = low.value * cell.lower[axis] + high.value * cell.upper[axis];
#pragma unroll
          for (int d = 0; d < axis; ++d)
            joined.slope[d] = low.slope[d] * cell.lower[axis] + high.slope[d] * cell.upper[axis];
          joined.slope[axis] = (high.value - low.value) * slope[axis];
          return joined;
        };
        const auto make_leaf = [&](unsigned high) {
          uint32_t row[leaf];
          Interpolated<R, 0> nodes[leaf] = {};
          cell.rows(level, dims, high, row);
          if constexpr (F > 0) {
            R values[leaf][F];
            gather<T>(table, level.paired, row, values);
#pragma unroll
            for (int c = 0; c < leaf; ++c) {
              R sum = g[0] * values[c][0];
#pragma unroll
              for (int f = 1; f < F; ++f) sum = sum + g[f] * values[c][f];
              if (c < corners) nodes[c].value = sum;
            }
          } else {
            for (int64_t f = 0; f < in.features; ++f) {
              const R one = widen(__ldg(from + f));
#pragma unroll
              for (int c = 0; c < leaf; ++c) {
                const R product = one * widen(__ldg(table + row[c] * in.features + f));
                if (c < corners) nodes[c].value = f == 0 ? product : nodes[c].value + product;
              }
            }
          }
          if constexpr (F > 0) {
            if (adds) {
              R w[leaf], weighted[F];
              cell.weights(dims, high, w);
#pragma unroll
              for (int f = 0; f < F; ++f) weighted[f] = weight * g[f];
              scatter(of_table, row, w, weighted, corners);
            }
          }
          return contract_leaf<First<R>, Axes::low>(nodes, eliminate);
        };
        const auto node = contract<D, First<R>>(loop_dims, 0, make_leaf, eliminate);
        value = node.value;
        if (!skipped && !nearest) gradient_x.add(weight, node.slope);
      } else if (!skipped) {
        gradient_x.make_unusable();
      }
      if (sums.wanted()) sums.add(slot, value);
    }
    gradient_x.finish();
  }
  sums.finish(group, in.levels);
}

// A block a level.
constexpr int sum_threads = 256;

template <class R>
__global__ void __launch_bounds__(sum_threads)
    sum_columns(const double* __restrict__ partial, const int64_t blocks, R* of_weights) {
  __shared__ double sums[sum_threads];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < blocks; i += sum_threads) sum += partial[i * gridDim.x + blockIdx.x];
  sums[threadIdx.x] = sum;
  for (int width = sum_threads / 2; width > 0; width /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < width) sums[threadIdx.x] += sums[threadIdx.x + width];
  }
  if (threadIdx.x == 0) of_weights[blockIdx.x] = static_cast<R>(sums[0]);
}

}  // namespace

template <class R>
cudaError_t sum_partials(const double* partial, int64_t blocks, int levels, R* of_weights, cudaStream_t stream) {
  return launch(sum_columns<R>, dim3(static_cast<unsigned>(levels)), dim3(sum_threads), 0, stream, partial, blocks,
                of_weights);
}
template cudaError_t sum_partials(const double*, int64_t, int, float*, cudaStream_t);
template cudaError_t sum_partials(const double*, int64_t, int, double*, cudaStream_t);

size_t backward_workspace(const Problem& problem, const Derivatives& wanted) {
  size_t bytes = wanted.of_table != nullptr && wanted.deterministic ? fixed_workspace(problem) : 0;
  if (wanted.of_weights != nullptr)
    bytes += static_cast<size_t>(point_blocks(problem.points) * problem.grid->level_count()) * sizeof(double);
  return bytes;
}

cudaError_t backward(const Problem& problem, const void* gradient, const Derivatives& wanted, int multiprocessors,
                     void* workspace, cudaStream_t stream) {
  return derive(problem, nullptr, gradient, wanted, multiprocessors, workspace, stream,
                [&](auto type, auto dims, auto features, const auto& in, const auto& group, dim3 blocks, auto* of_table,
                    double* partial) {
                  using T = typename decltype(type)::type;
                  return launch(differentiate<T, dims.value, features.value>, blocks, dim3(point_threads), 0, stream,
                                in, group, group.levels[0].number == 0, static_cast<Wide<T>*>(wanted.of_x), of_table,
                                partial);
                });
}

}  // namespace warphash::hashgrid
