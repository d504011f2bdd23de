// SPDX-License-Identifier: Apache-2.0
// What the kernels of the room share: levels as kernel parameters, the cell that a point lies in, rows and weights of
// its corners, and how sums over corners are contracted.
//
// A thread takes the corners of a cell in leaves of up to 8 (axes 0 to 2, unrolled, so that their loads are under way
// together) and goes over the leaves, that is over the bits of the other axes, in loops at run time: that keeps code and
// registers small at 7 axes. D is the number of axes, or 0 for one known at run time only (5 to 7).
//
// Sums and products are those of the CPU kernels, in their order, with no contraction but the one fused(): results have
// the CPU's bits.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>

#include "common/portable.h"
#include "hashgrid/hashgrid_grid.h"

namespace warphash::hashgrid {

// Levels of one launch: as many as the 4 KiB of kernel parameters hold, in float64 too.
constexpr int most_group = 32;

template <class R>
struct DeviceLevel {
  R scale[most_dims];
  uint32_t multiplier[most_dims];
  uint32_t rows;
  uint32_t mask;    // rows - 1 if that is a mask, else all ones
  uint32_t offset;  // of the first row in the table
  int number;       // of the level in the grid
  bool hashed;
  bool paired;     // the rows 2 i and 2 i + 1 of the table both exist for each of the level's rows
  bool scattered;  // the kernel that gathers also adds to the table's gradient
};
template <class R>
struct Group {
  DeviceLevel<R> levels[most_group];
  int count;
};

template <class R>
struct Inputs {
  const R* x;            // [points, dims]
  const void* table;     // [rows, features]
  const R* weights;      // [levels], or null
  const void* gradient;  // [points, levels * features]
  const R* v;            // [points, dims]
  int64_t points;
  int64_t features;
  int dims, levels;
  Interpolation interpolation;
  R largest;  // a coordinate beyond it makes the point unusable
};

__device__ __forceinline__ float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ __forceinline__ double fused(double a, double b, double c) { return __fma_rn(a, b, c); }
__device__ __forceinline__ float floor_of(float a) { return floorf(a); }
__device__ __forceinline__ double floor_of(double a) { return floor(a); }
template <class R>
__device__ __forceinline__ R not_a_number() {
  return std::numeric_limits<R>::quiet_NaN();
}

// A whole number mod 2^32. Beyond 2^31 floats are so coarse that each step of the reduction is exact.
template <class R>
__device__ __forceinline__ uint32_t to_word(R whole) {
  if (whole >= R(-2147483648.0) && whole < R(2147483648.0)) return static_cast<uint32_t>(static_cast<int>(whole));
  return static_cast<uint32_t>(whole - floor_of(whole * R(0x1p-32)) * R(0x1p32));
}

// Share of the upper vertex at t in [0, 1), and its derivatives.
template <class R>
__device__ __forceinline__ R share(Interpolation interpolation, R t) {
  if (interpolation == Interpolation::nearest) return 0;
  return interpolation == Interpolation::linear ? t : (t * t) * (3 - 2 * t);
}
template <class R>
__device__ __forceinline__ R share_slope(Interpolation interpolation, R t) {
  return interpolation == Interpolation::linear ? R(1) : (6 * t) * (1 - t);
}
template <class R>
__device__ __forceinline__ R share_curvature(R t) {  // of smoothstep; else there is none
  return 6 - 12 * t;
}

template <int D>
struct Axes {
  static constexpr int count = D == 0 ? most_dims : D;  // array lengths
  static constexpr int low = count < 3 ? count : 3;     // of a leaf
  static constexpr int leaf = 1 << low;
  // Whether there is such an axis; known at compile time but for D = 0.
  static __device__ __forceinline__ bool has(int axis, int dims) { return D != 0 || axis < low || axis < dims; }
};

// A row of x or v. False if a coordinate is beyond `largest`, or NaN.
template <int D, class R>
__device__ __forceinline__ bool load_point(const R* from, int dims, R largest, R (&x)[Axes<D>::count]) {
  bool usable = true;
#pragma unroll
  for (int d = 0; d < Axes<D>::count; ++d) {
    x[d] = Axes<D>::has(d, dims) ? __ldg(from + d) : R(0);
    usable = usable && fabs(x[d]) <= largest;
  }
  return usable;
}

template <class R, int D>
struct Cell : Axes<D> {
  using Axes<D>::count, Axes<D>::low, Axes<D>::leaf, Axes<D>::has;
  uint32_t term[count];          // what the lower vertex of an axis adds to a row
  R place[count];                // within the cell
  R lower[count], upper[count];  // shares of the vertices

  __device__ __forceinline__ Cell(const DeviceLevel<R>& level, Interpolation interpolation, int dims,
                                  const R (&x)[count]) {
#pragma unroll
    for (int d = 0; d < count; ++d) {
      term[d] = 0;
      place[d] = lower[d] = upper[d] = 0;
      if (!has(d, dims)) continue;
      const R position = fused(level.scale[d], x[d], R(0.5)), whole = floor_of(position);
      term[d] = to_word(whole) * level.multiplier[d];
      place[d] = position - whole;
      upper[d] = share(interpolation, place[d]);
      lower[d] = 1 - upper[d];
    }
  }

  // Rows of the table of a leaf's corners; `high` has the bits of the axes above.
  __device__ __forceinline__ void rows(const DeviceLevel<R>& level, int dims, unsigned high,
                                       uint32_t (&row)[leaf]) const {
    const bool hashed = level.hashed;
    auto join = [hashed](uint32_t a, uint32_t b) { return hashed ? a ^ b : a + b; };
    row[0] = 0;
#pragma unroll
    for (int d = low; d < count; ++d)
      if (has(d, dims)) row[0] = join(row[0], term[d] + (high >> (d - low) & 1 ? level.multiplier[d] : 0u));
#pragma unroll
    for (int d = 0; d < low; ++d)
#pragma unroll
      for (int c = 0; c < 1 << d; ++c) {
        row[c | 1 << d] = join(row[c], term[d] + level.multiplier[d]);
        row[c] = join(row[c], term[d]);
      }
    // Within [0, 1] one subtraction is enough, outside and in levels that repeat it is not.
    uint32_t most = 0;
#pragma unroll
    for (int c = 0; c < leaf; ++c) {
      row[c] &= level.mask;
      row[c] = min(row[c], row[c] - level.rows);  // which wraps around if there is nothing to subtract
      most = max(most, row[c]);
    }
    if (most >= level.rows)
#pragma unroll
      for (int c = 0; c < leaf; ++c) row[c] %= level.rows;
#pragma unroll
    for (int c = 0; c < leaf; ++c) row[c] += level.offset;
  }

  __device__ __forceinline__ R factor(int d, unsigned high) const {
    return high >> (d - low) & 1 ? upper[d] : lower[d];
  }

  __device__ __forceinline__ void weights(int dims, unsigned high, R (&w)[leaf]) const {
    w[0] = lower[0], w[1] = upper[0];
#pragma unroll
    for (int d = 1; d < low; ++d)
#pragma unroll
      for (int c = 0; c < 1 << d; ++c) {
        w[c | 1 << d] = w[c] * upper[d];
        w[c] = w[c] * lower[d];
      }
#pragma unroll
    for (int d = low; d < count; ++d)
#pragma unroll
      for (int c = 0; c < leaf; ++c)
        if (has(d, dims)) w[c] = w[c] * factor(d, high);
  }

  // q: derivatives of the weights along a direction, which moves the share of axis d by r[d].
  __device__ __forceinline__ void dual_weights(int dims, unsigned high, const R (&r)[count], R (&q)[leaf]) const {
    R w[leaf];
    w[0] = lower[0], w[1] = upper[0];
    q[0] = -r[0], q[1] = r[0];
#pragma unroll
    for (int d = 1; d < low; ++d)
#pragma unroll
      for (int c = 0; c < 1 << d; ++c) {
        q[c | 1 << d] = q[c] * upper[d] + w[c] * r[d];
        q[c] = q[c] * lower[d] - w[c] * r[d];
        w[c | 1 << d] = w[c] * upper[d];
        w[c] = w[c] * lower[d];
      }
#pragma unroll
    for (int d = low; d < count; ++d)
#pragma unroll
      for (int c = 0; c < leaf; ++c) {
        if (!has(d, dims)) continue;
        const R f = factor(d, high), step = w[c] * r[d];
        q[c] = high >> (d - low) & 1 ? q[c] * f + step : q[c] * f - step;
        w[c] = w[c] * f;
      }
  }
};

// The contraction of a cell's corners, axis after axis. Kind::Node<n> is what remains once axes 0 to n - 1 are joined:
// leaf(high) makes the node of a leaf, Node<low>; eliminate(lower, upper) joins two Node<n> to a Node<n + 1>;
// Node<n + 1>(node) takes one over unjoined. loop_dims: dims, or 0 if the first leaf is all.
template <class Kind, int n>
using NodeOf = typename Kind::template Node<n>;

template <int D, class Kind, int depth = Axes<D>::count, class Leaf, class Eliminate>
__device__ __forceinline__ NodeOf<Kind, depth> contract(int loop_dims, unsigned high, const Leaf& leaf,
                                                        const Eliminate& eliminate) {
  constexpr int low = Axes<D>::low;
  if constexpr (depth == low) {
    return leaf(high);
  } else {
    const int ends = depth <= loop_dims ? 2 : 1;
    NodeOf<Kind, depth - 1> first{}, last{};
#pragma unroll 1
    for (int end = 0; end < ends; ++end) {
      last = contract<D, Kind, depth - 1>(loop_dims, high | unsigned(end) << (depth - 1 - low), leaf, eliminate);
      if (end == 0) first = last;
    }
    return ends == 2 ? eliminate(first, last) : NodeOf<Kind, depth>(last);
  }
}

// The node of all corners of a leaf.
template <class Kind, int low, int axis = 0, class Eliminate>
__device__ __forceinline__ NodeOf<Kind, low> contract_leaf(const NodeOf<Kind, axis> (&nodes)[1 << (low - axis)],
                                                           const Eliminate& eliminate) {
  if constexpr (axis == low) {
    return nodes[0];
  } else {
    NodeOf<Kind, axis + 1> joined[1 << (low - 1 - axis)];
#pragma unroll
    for (int i = 0; i < 1 << (low - 1 - axis); ++i) joined[i] = eliminate(nodes[2 * i], nodes[2 * i + 1]);
    return contract_leaf<Kind, low, axis + 1>(joined, eliminate);
  }
}

}  // namespace warphash::hashgrid
