// SPDX-License-Identifier: Apache-2.0
// p-stable codes: the interval of each exact projection. The sum and the quotient are rounded once each.
#include <climits>

#include "lsh/projections/chain.cuh"

namespace warphash::lsh {
namespace {

__device__ __forceinline__ float round_down(float value) { return floorf(value); }
__device__ __forceinline__ double round_down(double value) { return floor(value); }

struct Intervals {
  int32_t* codes;
  const void* offsets;
  bool wide_offsets;
  double width;

  template <class Real>
  __device__ __forceinline__ int code_of(Real sum, Real offset) const {
    constexpr Real end = 2147483648.0;
    const Real place = round_down((sum + offset) / static_cast<Real>(width));
    return place >= end ? INT_MAX : place >= -end ? static_cast<int>(place) : INT_MIN;
  }

  template <class Tile>
  __device__ __forceinline__ void finish(const ChainInputs& in, int64_t first_row, int64_t first_column,
                                         const typename Tile::Real (&sums)[Tile::run][group_columns], uint8_t*) const {
    using Real = typename Tile::Real;
    const int row_group = threadIdx.x / Tile::groups;
    const int64_t first = first_column + threadIdx.x % Tile::groups * group_columns;
    Real offset[group_columns];
#pragma unroll
    for (int c = 0; c < group_columns; ++c) {
      const int64_t column = first + c < in.columns ? first + c : in.columns - 1;
      offset[c] = wide_offsets ? static_cast<Real>(__ldg(static_cast<const double*>(offsets) + column))
                               : static_cast<Real>(__ldg(static_cast<const float*>(offsets) + column));
    }
    const bool whole = in.columns % 4 == 0;
#pragma unroll
    for (int i = 0; i < Tile::run; ++i) {
      const int64_t row = first_row + Tile::row_of(row_group, i);
      int out[group_columns];
#pragma unroll
      for (int c = 0; c < group_columns; ++c) out[c] = code_of(sums[i][c], offset[c]);
      if (row >= in.rows) continue;
      int32_t* to = codes + row * in.columns + first;
#pragma unroll
      for (int c = 0; c < group_columns; c += 4) {
        if (whole && first + c < in.columns) {
          *reinterpret_cast<int4*>(to + c) = make_int4(out[c], out[c + 1], out[c + 2], out[c + 3]);
        } else {
#pragma unroll
          for (int e = c; e < c + 4; ++e)
            if (first + e < in.columns) to[e] = out[e];
        }
      }
    }
  }
};

}  // namespace

cudaError_t pstable(const Vectors& x, const Weights& directions, const Weights& offsets, int64_t hashes, double width,
                    int32_t* codes, cudaStream_t stream) {
  if (x.rows == 0 || hashes == 0) return cudaSuccess;
  return launch_chains(x, directions, hashes, 1, Intervals{codes, offsets.data, offsets.wide, width}, stream);
}

}  // namespace warphash::lsh
