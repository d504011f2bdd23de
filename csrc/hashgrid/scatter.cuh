// SPDX-License-Identifier: Apache-2.0
// What the kernels that only add to the table's gradient share: one thread a point and level, nothing gathered.
#pragma once

#include "hashgrid/points.cuh"

namespace warphash::hashgrid {

// Calls add(row, w, corners) for each leaf of the point's cell; dual: w is the derivative of the weights along v. Unusable
// points have none.
template <int D, bool dual, class R, class Add>
__device__ __forceinline__ void for_leaves(const Inputs<R>& in, const DeviceLevel<R>& level, int64_t point,
                                           const Add& add) {
  using Axes = Axes<D>;
  const int dims = D == 0 ? in.dims : D;
  const bool nearest = in.interpolation == Interpolation::nearest;
  R x[Axes::count];
  if (!load_point<D>(in.x + point * dims, dims, in.largest, x)) return;
  const Cell<R, D> cell(level, in.interpolation, dims, x);
  R rate[Axes::count];
  if constexpr (dual) {
    load_point<D>(in.v + point * dims, dims, in.largest, rate);
#pragma unroll
    for (int d = 0; d < Axes::count; ++d)
      if (Axes::has(d, dims)) rate[d] = rate[d] * (level.scale[d] * share_slope(in.interpolation, cell.place[d]));
  }
  const unsigned leaves = nearest || Axes::low == Axes::count ? 1 : 1u << (dims - Axes::low);
#pragma unroll 1
  for (unsigned high = 0; high < leaves; ++high) {
    uint32_t row[Axes::leaf];
    R w[Axes::leaf];
    cell.rows(level, dims, high, row);
    if constexpr (dual)
      cell.dual_weights(dims, high, rate, w);
    else
      cell.weights(dims, high, w);
    add(row, w, nearest ? 1 : Axes::leaf);
  }
}

// A gradient's features in the type of sums. Their stored type is told at run time: it matters here alone.
__device__ __forceinline__ double load_feature(TableType, const Inputs<double>& in, int64_t i) {
  return __ldg(static_cast<const double*>(in.gradient) + i);
}
__device__ __forceinline__ float load_feature(TableType type, const Inputs<float>& in, int64_t i) {
  if (type == TableType::f32) return __ldg(static_cast<const float*>(in.gradient) + i);
  if (type == TableType::f16) return widen(__ldg(static_cast<const __half*>(in.gradient) + i));
  return widen(__ldg(static_cast<const __nv_bfloat16*>(in.gradient) + i));
}
template <int F>
__device__ __forceinline__ void load_features(TableType type, const Inputs<float>& in, int64_t i, float (&g)[F]) {
  if (type == TableType::f32)
    load_widened(static_cast<const float*>(in.gradient) + i, g);
  else if (type == TableType::f16)
    load_widened(static_cast<const __half*>(in.gradient) + i, g);
  else
    load_widened(static_cast<const __nv_bfloat16*>(in.gradient) + i, g);
}

// Calls run(zero of the type of sums, dims, whether dual).
template <class Run>
cudaError_t with_sums(const Problem& problem, const void* v, const Run& run) {
  const auto with_order = [&](auto zero) {
    return with_dims(problem.grid->dims, [&](auto dims) {
      return v == nullptr ? run(zero, dims, std::false_type()) : run(zero, dims, std::true_type());
    });
  };
  return problem.type == TableType::f64 ? with_order(double{}) : with_order(float{});
}

}  // namespace warphash::hashgrid
