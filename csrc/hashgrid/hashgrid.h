// SPDX-License-Identifier: Apache-2.0
// The CPU kernels of the hash encoding, one table an instruction set. Torch-free.
//
// A level is worked through in pieces of at most piece_points(dims) points, in stages that hand each other small arrays
// which stay in the L1 cache: place (rows and weights of the corners), gather, contract (derivatives in x), scatter. So the
// number of compiled loops is a sum over dims, features and types, not a product, and addresses are known well ahead of the
// loads that use them. Arrays of a stage are [corner or axis][piece], padded to whole vectors; what lies in the padding is
// computed but never used. Every level of instruction sets performs the same operations in the same order (no
// contraction but the one fma of a position), so that all give the same bits.
#pragma once

#include <cstdint>

#include "common/isa.h"
#include "hashgrid/hashgrid_grid.h"

namespace warphash::hashgrid {

constexpr int most_corners = 1 << most_dims;
constexpr int most_lanes = 16;

// Points of a piece: a power of two, a multiple of most_lanes.
constexpr int piece_points(int dims) { return dims <= 5 ? 1024 >> dims : most_lanes; }
constexpr int most_corner_entries = 2048, most_axis_entries = 512;

// Part of a level's rows, which one thread owns.
struct Range {
  int level;
  uint32_t first, count;
  bool whole;  // of the level
};

// What the stages of one piece hand on. Entry [k][i] of a corner array lies at k * piece_points(dims) + i.
template <class Real>
struct Piece {
  alignas(64) uint32_t rows[most_corner_entries];  // within the level
  alignas(64) Real weight[most_corner_entries];    // of the interpolation
  alignas(64) Real slant[most_corner_entries];     // derivative of weight along v
  alignas(64) Real product[most_corner_entries];   // <table row, gradient>
  alignas(64) Real upper[most_axis_entries];       // share of the upper vertex on each axis, S(t)
  alignas(64) Real slope[most_axis_entries];       // scale S'(t)
  alignas(64) Real bend[most_axis_entries];        // scale^2 S''(t), smoothstep alone
};

// How rows of a table are read: 0 by single features of any number, else rows of 2^(layout - 1) features.
constexpr int row_layouts = 5;
constexpr int row_layout(int features) {
  return features == 1 ? 1 : features == 2 ? 2 : features == 4 ? 3 : features == 8 ? 4 : 0;
}

// Coordinates and other arrays of many points are [axis or feature][stride]; pointers are those of the piece's first point.
template <class Real>
struct Kernels {
  Isa isa;
  // rows and weight of a piece; with derivatives also upper, slope and bend.
  void (*place[most_dims + 1])(const Level& level, Interpolation interpolation, const Real* x, int64_t stride,
                               int count, bool derivatives, Piece<Real>& piece);
  // slant from weight's factors and v [axis][stride].
  void (*lean[most_dims + 1])(const Real* v, int64_t stride, int count, Piece<Real>& piece);
  // out [feature][stride] = sum over corners of weights[k] * row: `weights` is piece.weight or piece.slant.
  void (*sum[4][row_layouts])(const void* rows_of_level, int features, const Piece<Real>& piece, const Real* weights,
                              int corners, int points, int count, Real* out, int64_t stride);
  // piece.product from gradient [feature][stride].
  void (*dot[4][row_layouts])(const void* rows_of_level, int features, Piece<Real>& piece, int corners, int points,
                              int count, const Real* gradient, int64_t stride);
  // Both from one reading of the rows: out by piece.slant, and piece.product.
  void (*both[4][row_layouts])(const void* rows_of_level, int features, Piece<Real>& piece, int corners, int points,
                               int count, const Real* gradient, Real* out, int64_t stride);
  // From product: value [points] (interpolated), and to_x [axis][stride] += factor * derivative in x.
  void (*contract[most_dims + 1])(const Piece<Real>& piece, int count, Real factor, Real* value, Real* to_x,
                                  int64_t stride);
  // The same for the derivative along v: value (the derivative along v), to_x += factor * its derivative in x.
  void (*contract_twice[most_dims + 1])(const Piece<Real>& piece, Interpolation interpolation, const Real* v, int count,
                                        Real factor, Real* value, Real* to_x, int64_t v_stride, int64_t x_stride);
  // Adds weights[k] * values [point][feature] to the rows of a level's gradient that lie in the range.
  void (*scatter[row_layouts])(const Piece<Real>& piece, const Real* weights, int corners, int points, int count,
                               const Real* values, int features, const Range& range, Real* level_gradient);
  // out[j * out_stride + i] = in[i][j] for i < rows, j < columns.
  void (*turn)(const Real* const* in, int64_t rows, int64_t columns, Real* out, int64_t out_stride);
  // Half types to float32 and back, rounded to nearest even.
  void (*widen)(TableType type, const uint16_t* from, int64_t count, float* to);
  void (*narrow)(TableType type, const float* from, int64_t count, uint16_t* to);
};

const Kernels<float>& kernels_scalar();
const Kernels<float>& kernels_avx2();
const Kernels<float>& kernels_avx512();
// One for all levels: float64 is for checking gradients.
const Kernels<double>& kernels_float64();

// The kernels of a level; AMX adds nothing to AVX-512 here.
const Kernels<float>& kernels_for(Isa isa);

}  // namespace warphash::hashgrid
