// SPDX-License-Identifier: Apache-2.0
// SimHash: the signs of exact projections, packed. A thread's 8 columns are a byte of the code.
#include "lsh/projections/chain.cuh"

namespace warphash::lsh {
namespace {

struct Signs {
  uint8_t* codes;
  int64_t bytes;

  template <class Tile>
  __device__ __forceinline__ void finish(const ChainInputs& in, int64_t first_row, int64_t first_column,
                                         const typename Tile::Real (&sums)[Tile::run][group_columns], uint8_t*) const {
    const int row_group = threadIdx.x / Tile::groups;
    const int64_t byte = first_column / 8 + threadIdx.x % Tile::groups, left = in.columns - 8 * byte;
    const unsigned mask = left >= 8 ? 0xffu : left > 0 ? (1u << left) - 1 : 0;
#pragma unroll
    for (int i = 0; i < Tile::run; ++i) {
      const int64_t row = first_row + Tile::row_of(row_group, i);
      unsigned bits = 0;
#pragma unroll
      for (int c = 0; c < group_columns; ++c) bits |= sign_bit(sums[i][c]) << c;
      if (row < in.rows && byte < bytes) codes[row * bytes + byte] = static_cast<uint8_t>(bits & mask);
    }
  }
};

}  // namespace

cudaError_t simhash(const Vectors& x, const Weights& planes, int64_t bits, uint8_t* codes, cudaStream_t stream) {
  if (x.rows == 0 || bits == 0) return cudaSuccess;
  return launch_chains(x, planes, bits, 1, Signs{codes, ceil_divide(bits, 8)}, stream);
}

}  // namespace warphash::lsh
