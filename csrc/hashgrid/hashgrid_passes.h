// SPDX-License-Identifier: Apache-2.0
// Encoding and its derivatives on the CPU, from whole arrays to whole arrays. Torch-free.
//
// Two passes make everything. The points' pass (encoding, derivatives in x and in level weights) cuts the points into chunks,
// one thread each, and goes level by level within a chunk, so that one level's rows are what the caches hold. The table's
// pass (gradients of the table) cuts the table: one thread owns a range of rows and takes all points in order, so that
// sums need no atomics and are the same for any number of threads.
#pragma once

#include <cstdint>

#include "hashgrid/hashgrid.h"

namespace warphash::hashgrid {

template <class Real>
struct Input {
  const Grid* grid;
  int features;
  TableType type;
  const void* table;  // [rows, features]
  const Real* x;      // [points, dims]
  int64_t points;
  const Real* weights;             // [levels]; null: all 1
  const void* gradient = nullptr;  // [points, levels * features] in the table's type: of the derivatives alone
  const Real* v = nullptr;         // [points, dims]: gradient of dL/dx, of the second derivatives alone
};

// encoded [points, levels * features] in the table's type.
template <class Real>
void encode(const Kernels<Real>& kernels, const Input<Real>& input, void* encoded);

// dL/dx [points, dims], dL/dtable [rows, features], dL/dweights [levels]; null is not wanted.
template <class Real>
void differentiate(const Kernels<Real>& kernels, const Input<Real>& input, Real* to_x, Real* to_table,
                   Real* to_weights);

// Derivatives of <v, dL/dx>: to the gradient [points, levels * features] in the table's type, x, table and weights.
template <class Real>
void differentiate_twice(const Kernels<Real>& kernels, const Input<Real>& input, void* to_gradient, Real* to_x,
                         Real* to_table, Real* to_weights);

// by_level [levels]: sum over usable points, axes and features of (row of the vertex above - row of the lower vertex)^2.
template <class Real>
void variation(const Kernels<Real>& kernels, const Input<Real>& input, Real* by_level);

// to_table [rows, features]: derivative of the sum of by_level times variation.
template <class Real>
void variation_gradient(const Kernels<Real>& kernels, const Input<Real>& input, const Real* by_level, Real* to_table);

}  // namespace warphash::hashgrid
