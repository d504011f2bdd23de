// SPDX-License-Identifier: Apache-2.0
// Launchers of the hash-grid encoding on CUDA: raw pointers, sizes, a stream; they return the launch's error and never
// wait, copy nothing to the device, and so may be captured into a CUDA graph. All pointers but `grid` are device memory;
// a null output is not computed. Any size may be zero; then nothing is launched that would read. Workspaces are the
// caller's, of the size that the function beside tells, aligned to 8 bytes. `multiprocessors` is the device's count: it
// sets how work is split. With R = float64 for a float64 table, else float32:
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/portable.h"
#include "hashgrid/hashgrid_grid.h"

namespace warphash::hashgrid {

struct Problem {
  const Grid* grid;
  TableType type;
  const void* x;        // [points, dims] of R
  const void* table;    // [rows, features] of `type`
  const void* weights;  // [levels] of R, or null: all 1. A level of weight 0 is skipped.
  int64_t points;
  int64_t features;
};

// First and second order. A level of weight 0 adds nothing, but that of_weights has its sum too.
struct Derivatives {
  void* of_gradient;  // [points, levels * features] of `type`; second order alone
  void* of_x;         // [points, dims] of R
  void* of_table;     // [rows, features] of R
  void* of_weights;   // [levels] of R
  // The table's sums in fixed point, equal in every run; else by atomic additions of floats in any order. All others are
  // always equal in every run.
  bool deterministic;
};

// out [points, levels * features] of `type`
cudaError_t encode(const Problem& problem, void* out, cudaStream_t stream);

// gradient [points, levels * features] of `type`: of a loss with respect to out.
size_t backward_workspace(const Problem& problem, const Derivatives& wanted);
cudaError_t backward(const Problem& problem, const void* gradient, const Derivatives& wanted, int multiprocessors,
                     void* workspace, cudaStream_t stream);

// Derivatives of Phi = <v, backward's of_x>, where v [points, dims] of R.
size_t double_backward_workspace(const Problem& problem, const Derivatives& wanted);
cudaError_t double_backward(const Problem& problem, const void* v, const void* gradient, const Derivatives& wanted,
                            int multiprocessors, void* workspace, cudaStream_t stream);

// Total variation around points: by_level [levels] of R, equal in every run; and its gradient of_table [rows, features] of
// R, where problem.weights is that of by_level, not null.
size_t variation_workspace(const Problem& problem);
cudaError_t variation(const Problem& problem, void* by_level, void* workspace, cudaStream_t stream);
size_t variation_backward_workspace(const Problem& problem, bool deterministic);
cudaError_t variation_backward(const Problem& problem, void* of_table, bool deterministic, void* workspace,
                               cudaStream_t stream);

}  // namespace warphash::hashgrid
