// SPDX-License-Identifier: Apache-2.0
// The table's pass: gradients of the table, by owners of its rows.
#pragma once

#include <vector>

#include "hashgrid/hashgrid_passes.h"

namespace warphash::hashgrid {

constexpr int bytes_of(TableType type) { return type == TableType::f64 ? 8 : type == TableType::f32 ? 4 : 2; }

// Cache lines of a level's rows.
inline int64_t lines_of(const Level& level, int features, TableType type) {
  return int64_t{level.rows} * features * bytes_of(type) / 64;
}

// All ranges, the longest work (fine levels) first; so many that every thread has one.
std::vector<Range> ranges_of(const Grid& grid);

// Whether points and rows are many enough for several threads.
template <class Real>
bool worth_threads(const Input<Real>& input) {
  return input.points * input.grid->level_count() * input.grid->corners() > 4096 ||
         input.grid->rows * input.features > 65536;
}

// to_table [rows, features], written whole: the sum over points of weight times gradient, or where input.v is not null, of
// the weight's derivative along v times gradient.
template <class Real>
void table_pass(const Kernels<Real>& kernels, const Input<Real>& input, Real* to_table);

}  // namespace warphash::hashgrid
