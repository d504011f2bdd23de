// SPDX-License-Identifier: Apache-2.0
// Rotations by signs and fast Hadamard transforms: what the two files of kernels share.
//
// Each value of a transform is a tree of additions in the order of the stages h = 1, 2, 4, ..., whoever computes it: a
// lane in its registers, two lanes by a shuffle, a block in shared memory. So all ways give the same bits.
#pragma once

#include "lsh/projections/values.cuh"

namespace warphash::lsh {

// bits: of the code that are wanted, in `bytes` bytes a row.
struct SignOutput {
  uint8_t* codes;
  int64_t bits, bytes;

  // The signs of 8 values as byte `byte` of a row's code; bytes and bits past the end are left out.
  __device__ __forceinline__ void store(int64_t row, int64_t byte, unsigned signs) const {
    if (byte >= bytes) return;
    const int64_t left = bits - 8 * byte;
    if (left < 8) signs &= (1u << left) - 1;
    codes[row * bytes + byte] = static_cast<uint8_t>(signs);
  }
};

struct LargestOutput {
  int32_t* codes;
};

// The largest magnitude so far and its code. NaN never is; equal ones leave the lowest place.
template <class Real>
struct Largest {
  Real magnitude;
  int code, place;

  // A value that any other one beats.
  static __device__ __forceinline__ Largest none() { return {-1, 0, INT32_MAX}; }

  __device__ __forceinline__ void offer(Real value, int at, int size) {
    const Real magnitude_here = value < 0 ? -value : value;
    if (!(magnitude_here > magnitude)) return;
    magnitude = magnitude_here, place = at, code = value < 0 ? at + size : at;
  }
  __device__ __forceinline__ void merge(const Largest& other) {
    if (!(other.magnitude > magnitude || (other.magnitude == magnitude && other.place < place))) return;
    *this = other;
  }
  // The larger one of lanes that differ in the bits of `lanes`.
  __device__ __forceinline__ void merge_lanes(int lanes) {
    for (int bit = 1; bit < lanes; bit *= 2) {
      Largest other;
      other.magnitude = __shfl_xor_sync(all_lanes, magnitude, bit);
      other.code = __shfl_xor_sync(all_lanes, code, bit);
      other.place = __shfl_xor_sync(all_lanes, place, bit);
      merge(other);
    }
  }
};

// The power of two by which values are multiplied after each round.
inline double round_scale(int log_size) {
  double scale = 1;
  for (int i = 0; i < (log_size + 1) / 2; ++i) scale /= 2;
  return scale;
}
inline int log2_of(int64_t size) {
  int log_size = 0;
  while (int64_t{1} << log_size < size) ++log_size;
  return log_size;
}

// In registers: float32 or shorter vectors, sizes up to 2^most_register_log.
constexpr int most_register_log = 8;
cudaError_t rotate_in_registers(const Vectors& x, const uint8_t* signs, int64_t rotations, const SignOutput& out,
                                cudaStream_t stream);
cudaError_t rotate_in_registers(const Vectors& x, const uint8_t* signs, int64_t rotations, const LargestOutput& out,
                                cudaStream_t stream);

}  // namespace warphash::lsh
