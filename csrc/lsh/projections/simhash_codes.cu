// SPDX-License-Identifier: Apache-2.0
// SimHash as integers. A tile has whole hashes only; their bits meet in shared memory, where codes are cut out.
#include "lsh/projections/chain.cuh"

namespace warphash::lsh {
namespace {

struct Codes {
  int32_t* codes;
  int64_t hashes;
  int bits;
  bool gray;

  template <class Tile>
  __device__ __forceinline__ void finish(const ChainInputs& in, int64_t first_row, int64_t first_column,
                                         const typename Tile::Real (&sums)[Tile::run][group_columns],
                                         uint8_t* scratch) const {
    static_assert(Tile::rows * Tile::groups <= sizeof(typename Tile::Buffer));
    const int group = threadIdx.x % Tile::groups, row_group = threadIdx.x / Tile::groups;
#pragma unroll
    for (int i = 0; i < Tile::run; ++i) {
      unsigned byte = 0;
#pragma unroll
      for (int c = 0; c < group_columns; ++c) byte |= sign_bit(sums[i][c]) << c;
      scratch[Tile::row_of(row_group, i) * Tile::groups + group] = static_cast<uint8_t>(byte);
    }
    __syncthreads();
    const int tile_hashes = in.tile_columns / bits;
    const int64_t first_hash = first_column / bits;
    for (int item = threadIdx.x; item < Tile::rows * tile_hashes; item += Tile::threads) {
      const int row = item / tile_hashes, hash = item % tile_hashes;
      if (first_row + row >= in.rows || first_hash + hash >= hashes) continue;
      uint64_t word = 0;
#pragma unroll
      for (int g = 0; g < Tile::groups; ++g) word |= uint64_t(scratch[row * Tile::groups + g]) << (8 * g);
      unsigned code = static_cast<unsigned>(word >> (hash * bits)) & ((1u << bits) - 1);
      if (gray) {
#pragma unroll
        for (int shift = 1; shift < 32; shift *= 2) code ^= code >> shift;
      }
      codes[(first_row + row) * hashes + first_hash + hash] = static_cast<int32_t>(code);
    }
    __syncthreads();
  }
};

}  // namespace

cudaError_t simhash_codes(const Vectors& x, const Weights& planes, int64_t hashes, int bits, bool gray, int32_t* codes,
                          cudaStream_t stream) {
  if (x.rows == 0 || hashes == 0) return cudaSuccess;
  if (bits < 1 || bits > 30) return cudaErrorInvalidValue;
  return launch_chains(x, planes, hashes * bits, bits, Codes{codes, hashes, bits, gray}, stream);
}

}  // namespace warphash::lsh
