// SPDX-License-Identifier: Apache-2.0
// The stages of hashgrid.h, written once over vectors of any width. Lanes: a file's vectors and the few operations that the
// compiler's own vector arithmetic lacks. Everything is internal to the file that includes this.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "hashgrid/hashgrid.h"

namespace warphash::hashgrid {
namespace {

template <class Vector, class Scalar>
inline Vector load(const Scalar* from) {
  Vector value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class Vector, class Scalar>
inline void store(Scalar* to, Vector value) {
  std::memcpy(to, &value, sizeof value);
}

// ---- place ------------------------------------------------------------------------------------------------------------

// floor(position) mod 2^32 where a 32-bit integer does not hold it, exactly: a float is a multiple of a power of two.
template <class Real>
inline void split_far(Real position, uint32_t& cell, Real& place) {
  const Real low = std::floor(position);
  place = position - low;
  const Real wrapped = low - std::trunc(low * Real(0x1p-32)) * Real(0x1p32);  // of the sign of low, so no digit is lost
  cell = static_cast<uint32_t>(static_cast<int64_t>(wrapped));
}

template <class L>
inline void split(typename L::Reals position, typename L::Words& cell, typename L::Reals& place) {
  if (__builtin_expect(L::all_near(position), 1)) {
    place = position - L::floored(position, cell);
    return;
  }
  typename L::Real positions[L::width], places[L::width];
  uint32_t cells[L::width];
  store(positions, position);
  for (int lane = 0; lane < L::width; ++lane) split_far(positions[lane], cells[lane], places[lane]);
  cell = load<typename L::Words>(cells);
  place = load<typename L::Reals>(places);
}

template <class L>
inline typename L::Words wrapped(typename L::Words row, uint32_t rows, bool by_mask) {
  if (by_mask) return row & (rows - 1);
  const typename L::Words once = L::less_if_reached(row, rows);
  if (__builtin_expect(!L::any_reaches(once, rows), 1)) return once;
  uint32_t each[L::width];
  store(each, once);
  for (uint32_t& one : each) one %= rows;
  return load<typename L::Words>(each);
}

template <class L, int dims>
void place(const Level& level, Interpolation interpolation, const typename L::Real* x, int64_t stride, int count,
           bool derivatives, Piece<typename L::Real>& piece) {
  using Real = typename L::Real;
  using Reals = typename L::Reals;
  using Words = typename L::Words;
  constexpr int points = piece_points(dims);
  const bool smooth = interpolation == Interpolation::smoothstep, nearest = interpolation == Interpolation::nearest;
  const bool by_mask = (level.rows & (level.rows - 1)) == 0;
  for (int i = 0; i < count; i += L::width) {
    Words row[1 << dims];
    Reals weight[1 << dims];
#pragma GCC unroll 7
    for (int axis = 0; axis < dims; ++axis) {
      const Real scale = static_cast<Real>(level.scale[axis]);
      Words cell;
      Reals t;
      split<L>(L::fused(load<Reals>(x + axis * stride + i), scale, Real(0.5)), cell, t);
      const Words low = cell * level.multiplier[axis], high = low + level.multiplier[axis];
      if (nearest) {
        row[0] = axis == 0 ? low : level.hashed ? row[0] ^ low : row[0] + low;
        continue;
      }
      const Reals upper = smooth ? t * t * (Real(3) - Real(2) * t) : t, lower = Real(1) - upper;
      if (derivatives) {
        store(piece.upper + axis * points + i, upper);
        const Reals one = upper - upper + Real(1);
        store(piece.slope + axis * points + i, scale * (smooth ? Real(6) * t * (Real(1) - t) : one));
        if (smooth) store(piece.bend + axis * points + i, scale * scale * (Real(6) - Real(12) * t));
      }
      if (axis == 0) {
        row[0] = low, row[1] = high;
        weight[0] = lower, weight[1] = upper;
        continue;
      }
#pragma GCC unroll 8
      for (int k = 0; k < 1 << axis; ++k) {
        const int up = k | 1 << axis;
        row[up] = level.hashed ? row[k] ^ high : row[k] + high;
        row[k] = level.hashed ? row[k] ^ low : row[k] + low;
        weight[up] = weight[k] * upper;
        weight[k] = weight[k] * lower;
      }
    }
    if (nearest) weight[0] = Reals{} + Real(1);
    const int corners = nearest ? 1 : 1 << dims;
#pragma GCC unroll 8
    for (int k = 0; k < corners; ++k) {
      store(piece.rows + k * points + i, wrapped<L>(row[k], level.rows, by_mask));
      store(piece.weight + k * points + i, weight[k]);
    }
  }
}

template <class L, int dims>
void lean(const typename L::Real* v, int64_t stride, int count, Piece<typename L::Real>& piece) {
  using Real = typename L::Real;
  using Reals = typename L::Reals;
  constexpr int points = piece_points(dims);
  for (int i = 0; i < count; i += L::width) {
    Reals weight[1 << dims], slant[1 << dims];
#pragma GCC unroll 7
    for (int axis = 0; axis < dims; ++axis) {
      const Reals upper = load<Reals>(piece.upper + axis * points + i), lower = Real(1) - upper;
      const Reals rate = load<Reals>(v + axis * stride + i) * load<Reals>(piece.slope + axis * points + i);
      if (axis == 0) {
        weight[0] = lower, weight[1] = upper;
        slant[0] = -rate, slant[1] = rate;
        continue;
      }
#pragma GCC unroll 8
      for (int k = 0; k < 1 << axis; ++k) {
        const int up = k | 1 << axis;
        slant[up] = slant[k] * upper + weight[k] * rate;
        slant[k] = slant[k] * lower - weight[k] * rate;
        weight[up] = weight[k] * upper;
        weight[k] = weight[k] * lower;
      }
    }
#pragma GCC unroll 8
    for (int k = 0; k < 1 << dims; ++k) store(piece.slant + k * points + i, slant[k]);
  }
}

// ---- gather -----------------------------------------------------------------------------------------------------------

// Rows: reads the features of a vector of rows. One reading serves a sum over corners, products with a gradient, or both.
// Two neighbours in x lie side by side on levels that are not hashed: where that holds for all lanes and rows are short
// (Rows::pairs), one reading of twice the width serves both.
template <class L, class Rows, bool with_sum, bool with_dot>
inline void gather(const void* rows_of_level, int features, const uint32_t* rows, const typename L::Real* weights,
                   typename L::Real* product, int corners, int points, int count, const typename L::Real* gradient,
                   typename L::Real* out, int64_t stride) {
  using Reals = typename L::Reals;
  constexpr int width = Rows::features;
  for (int first = 0; first < features; first += width) {
    const Rows reader(rows_of_level, features, first);
    for (int i = 0; i < count; i += L::width) {
      Reals sum[width]{}, g[width];
      if (with_dot)
        for (int f = 0; f < width; ++f) g[f] = load<Reals>(gradient + (first + f) * stride + i);
      const auto use = [&](int at, const Reals* row) {
        if (with_sum) {
          const Reals weight = load<Reals>(weights + at);
          for (int f = 0; f < width; ++f) sum[f] = sum[f] + weight * row[f];
        }
        if (with_dot) {
          Reals total = first == 0 ? g[0] * row[0] : load<Reals>(product + at) + g[0] * row[0];
          for (int f = 1; f < width; ++f) total = total + g[f] * row[f];
          store(product + at, total);
        }
      };
      int k = 0;
      if constexpr (Rows::pairs) {
        for (; k + 1 < corners; k += 2) {
          const int low = k * points + i, high = low + points;
          Reals both[2 * width];
          if (L::follows(rows + low, rows + high)) {
            reader.read_two(rows + low, both);
          } else {
            reader.read(rows + low, both);
            reader.read(rows + high, both + width);
          }
          use(low, both);
          use(high, both + width);
        }
      }
      for (; k < corners; ++k) {
        Reals row[width];
        reader.read(rows + k * points + i, row);
        use(k * points + i, row);
      }
      if (with_sum)
        for (int f = 0; f < width; ++f) store(out + (first + f) * stride + i, sum[f]);
    }
  }
}

template <class L, class Rows>
void sum(const void* rows_of_level, int features, const Piece<typename L::Real>& piece, const typename L::Real* weights,
         int corners, int points, int count, typename L::Real* out, int64_t stride) {
  gather<L, Rows, true, false>(rows_of_level, features, piece.rows, weights, nullptr, corners, points, count, nullptr,
                               out, stride);
}
template <class L, class Rows>
void dot(const void* rows_of_level, int features, Piece<typename L::Real>& piece, int corners, int points, int count,
         const typename L::Real* gradient, int64_t stride) {
  gather<L, Rows, false, true>(rows_of_level, features, piece.rows, nullptr, piece.product, corners, points, count,
                               gradient, nullptr, stride);
}
template <class L, class Rows>
void both(const void* rows_of_level, int features, Piece<typename L::Real>& piece, int corners, int points, int count,
          const typename L::Real* gradient, typename L::Real* out, int64_t stride) {
  gather<L, Rows, true, true>(rows_of_level, features, piece.rows, piece.slant, piece.product, corners, points, count,
                              gradient, out, stride);
}

// ---- contract -----------------------------------------------------------------------------------------------------------

// Axis after axis, pairs of corners become one: values are interpolated, so are the derivatives in the axes before, and
// the difference of a pair is the derivative in the axis itself.
template <class L, int dims>
void contract(const Piece<typename L::Real>& piece, int count, typename L::Real factor, typename L::Real* value_out,
              typename L::Real* to_x, int64_t stride) {
  using Real = typename L::Real;
  using Reals = typename L::Reals;
  constexpr int points = piece_points(dims);
  for (int i = 0; i < count; i += L::width) {
    Reals value[1 << dims], slope[dims][1 << (dims - 1)];
#pragma GCC unroll 8
    for (int k = 0; k < 1 << dims; ++k) value[k] = load<Reals>(piece.product + k * points + i);
#pragma GCC unroll 7
    for (int axis = 0; axis < dims; ++axis) {
      const Reals upper = load<Reals>(piece.upper + axis * points + i), lower = Real(1) - upper;
      const Reals rate = load<Reals>(piece.slope + axis * points + i);
#pragma GCC unroll 4
      for (int k = 0; k < 1 << (dims - axis - 1); ++k) {
#pragma GCC unroll 7
        for (int before = 0; before < axis; ++before)
          slope[before][k] = slope[before][2 * k] * lower + slope[before][2 * k + 1] * upper;
        const Reals low = value[2 * k], high = value[2 * k + 1];
        slope[axis][k] = (high - low) * rate;
        value[k] = low * lower + high * upper;
      }
    }
    store(value_out + i, value[0]);
#pragma GCC unroll 7
    for (int axis = 0; axis < dims; ++axis) {
      Real* to = to_x + axis * stride + i;
      store(to, load<Reals>(to) + factor * slope[axis][0]);
    }
  }
}

// As above, with the derivative along v of everything beside it.
template <class L, int dims>
void contract_twice(const Piece<typename L::Real>& piece, Interpolation interpolation, const typename L::Real* v,
                    int count, typename L::Real factor, typename L::Real* value_out, typename L::Real* to_x,
                    int64_t v_stride, int64_t x_stride) {
  using Real = typename L::Real;
  using Reals = typename L::Reals;
  constexpr int points = piece_points(dims);
  const bool smooth = interpolation == Interpolation::smoothstep;
  for (int i = 0; i < count; i += L::width) {
    Reals value[1 << dims], slope[dims][1 << (dims - 1)];
    Reals along[1 << (dims - 1)], along_slope[dims][1 << (dims - 1)];
#pragma GCC unroll 8
    for (int k = 0; k < 1 << dims; ++k) value[k] = load<Reals>(piece.product + k * points + i);
#pragma GCC unroll 7
    for (int axis = 0; axis < dims; ++axis) {
      const Reals upper = load<Reals>(piece.upper + axis * points + i), lower = Real(1) - upper;
      const Reals rate = load<Reals>(piece.slope + axis * points + i), step = load<Reals>(v + axis * v_stride + i);
      const Reals along_rate = step * rate;
      Reals along_bend = rate;
      if (smooth) along_bend = step * load<Reals>(piece.bend + axis * points + i);
#pragma GCC unroll 4
      for (int k = 0; k < 1 << (dims - axis - 1); ++k) {
        const Reals low = value[2 * k], high = value[2 * k + 1], rise = high - low;
#pragma GCC unroll 7
        for (int before = 0; before < axis; ++before) {
          const Reals slope_low = slope[before][2 * k], slope_high = slope[before][2 * k + 1];
          along_slope[before][k] = along_slope[before][2 * k] * lower + along_slope[before][2 * k + 1] * upper +
                                   along_rate * (slope_high - slope_low);
          slope[before][k] = slope_low * lower + slope_high * upper;
        }
        if (axis == 0) {
          along_slope[0][k] = smooth ? along_bend * rise : Reals{};
          along[k] = along_rate * rise;
        } else {
          const Reals along_low = along[2 * k], along_high = along[2 * k + 1];
          const Reals mixed = rate * (along_high - along_low);
          along_slope[axis][k] = smooth ? mixed + along_bend * rise : mixed;
          along[k] = along_low * lower + along_high * upper + along_rate * rise;
        }
        slope[axis][k] = rise * rate;
        value[k] = low * lower + high * upper;
      }
    }
    store(value_out + i, along[0]);
#pragma GCC unroll 7
    for (int axis = 0; axis < dims; ++axis) {
      Real* to = to_x + axis * x_stride + i;
      store(to, load<Reals>(to) + factor * along_slope[axis][0]);
    }
  }
}

// ---- scatter ------------------------------------------------------------------------------------------------------------

// `count` numbers, in a vector of at most 16 bytes, which every x86-64 has.
template <class Real, int count>
struct Part {
  typedef Real Vector __attribute__((vector_size(sizeof(Real) * count)));
};
template <class Real>
struct Part<Real, 1> {
  typedef Real Vector;
};

// Bound: reads and writes of rows, and for small levels the instructions between them.
template <class Real, int features, bool whole>
inline void scatter_rows(const Piece<Real>& piece, const Real* weights, int corners, int points, int count,
                         const Real* values, const Range& range, Real* to) {
  constexpr int whole_part = 16 / sizeof(Real), part = features < whole_part ? features : whole_part;
  using Vector = typename Part<Real, part>::Vector;
  for (int i = 0; i < count; ++i) {
    Vector value[features / part];
    for (int p = 0; p < features / part; ++p) value[p] = load<Vector>(values + int64_t{i} * features + p * part);
#pragma GCC unroll 4
    for (int k = 0; k < corners; ++k) {
      const uint32_t row = piece.rows[k * points + i];
      if (!whole && row - range.first >= range.count) continue;
      Real* at = to + static_cast<int64_t>(row) * features;
      for (int p = 0; p < features / part; ++p)
        store(at + p * part, load<Vector>(at + p * part) + value[p] * weights[k * points + i]);
    }
  }
}

template <class Real, int features>
void scatter(const Piece<Real>& piece, const Real* weights, int corners, int points, int count, const Real* values, int,
             const Range& range, Real* to) {
  if (range.whole)
    scatter_rows<Real, features, true>(piece, weights, corners, points, count, values, range, to);
  else
    scatter_rows<Real, features, false>(piece, weights, corners, points, count, values, range, to);
}

template <class Real>
void scatter_any(const Piece<Real>& piece, const Real* weights, int corners, int points, int count, const Real* values,
                 int features, const Range& range, Real* to) {
  for (int i = 0; i < count; ++i) {
    for (int k = 0; k < corners; ++k) {
      const uint32_t row = piece.rows[k * points + i];
      if (row - range.first >= range.count) continue;
      Real* at = to + static_cast<int64_t>(row) * features;
      for (int f = 0; f < features; ++f) at[f] += values[int64_t{i} * features + f] * weights[k * points + i];
    }
  }
}

// ---- the table ------------------------------------------------------------------------------------------------------------

template <class L, int dims>
constexpr void set_dims(Kernels<typename L::Real>& kernels) {
  kernels.place[dims] = place<L, dims>;
  kernels.lean[dims] = lean<L, dims>;
  kernels.contract[dims] = contract<L, dims>;
  kernels.contract_twice[dims] = contract_twice<L, dims>;
}
template <class L, class Rows>
constexpr void set_rows(Kernels<typename L::Real>& kernels, TableType type, int layout) {
  kernels.sum[static_cast<int>(type)][layout] = sum<L, Rows>;
  kernels.dot[static_cast<int>(type)][layout] = dot<L, Rows>;
  kernels.both[static_cast<int>(type)][layout] = both<L, Rows>;
}
template <class L>
constexpr void set_stages(Kernels<typename L::Real>& kernels) {
  using Real = typename L::Real;
  kernels.scatter[0] = scatter_any<Real>;
  kernels.scatter[1] = scatter<Real, 1>;
  kernels.scatter[2] = scatter<Real, 2>;
  kernels.scatter[3] = scatter<Real, 4>;
  kernels.scatter[4] = scatter<Real, 8>;
  set_dims<L, 1>(kernels);
  set_dims<L, 2>(kernels);
  set_dims<L, 3>(kernels);
  set_dims<L, 4>(kernels);
  set_dims<L, 5>(kernels);
  set_dims<L, 6>(kernels);
  set_dims<L, 7>(kernels);
}

}  // namespace
}  // namespace warphash::hashgrid
