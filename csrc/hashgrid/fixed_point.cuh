// SPDX-License-Identifier: Apache-2.0
// Sums in fixed point, equal in every run since additions of integers may come in any order.
//
// Each level has a power of two by which additions are multiplied, so large that the sum of the largest that could come
// still fits 64 bits. Against the largest addition the rounding is 2^-61 times the number of points. What is infinite or
// NaN is added to the output itself by floats: there no order matters.
#pragma once

#include "hashgrid/points.cuh"

namespace warphash::hashgrid {

// Bits of the largest finite magnitude, as float64: they order as the numbers do.
using Magnitude = unsigned long long;
constexpr Magnitude infinite = 0x7ff0000000000000ull;

// The parts of fixed_workspace() bytes, which begin as zeros; null pointers of null.
struct FixedPoint {
  Magnitude* largest = nullptr;        // [2], for what bounds the additions
  double* factors = nullptr;           // [levels, 2]: to integers, and back
  unsigned long long* sums = nullptr;  // [rows, features]

  FixedPoint(void* memory, int levels) {
    if (memory == nullptr) return;
    largest = static_cast<Magnitude*>(memory);
    factors = reinterpret_cast<double*>(largest + 2);
    sums = reinterpret_cast<unsigned long long*>(factors + 2 * levels);
  }
};

// The least e such that |value| < 2^e, at least -1022; large for what is not finite.
__device__ __forceinline__ int exponent_above(Magnitude bits) { return static_cast<int>(bits >> 52) - 1022; }
__device__ __forceinline__ int exponent_above(double value) {
  return exponent_above(static_cast<Magnitude>(__double_as_longlong(fabs(value))));
}
__device__ __forceinline__ double power_of_two(int exponent) {
  return __longlong_as_double(static_cast<long long>(exponent + 1023) << 52);
}

// Factors of a level to whose rows each of 2^points_bits points adds less than 2^exponent.
__device__ __forceinline__ void set_factors(int exponent, int points_bits, double* factors) {
  // Sums beyond 2^1025 are not finite, below 2^-900 nothing is lost that matters; the factor and its inverse are normal.
  exponent = max(-900, min(1025, exponent));
  factors[0] = power_of_two(62 - points_bits - exponent);
  factors[1] = power_of_two(points_bits + exponent - 62);
}

template <class R>
__device__ __forceinline__ void add_fixed(unsigned long long* sums, R* of_table, int64_t to, R added, double factor) {
  if (fabs(added) <= std::numeric_limits<R>::max())
    atomicAdd(sums + to, static_cast<unsigned long long>(llrint(static_cast<double>(added) * factor)));
  else
    atomicAdd(of_table + to, added);
}

// The least b such that there are at most 2^b points.
inline int bits_of(int64_t points) {
  int bits = 0;
  while ((int64_t{1} << bits) < points) ++bits;
  return bits;
}

// largest = max(largest, finite magnitudes of values [count])
cudaError_t find_largest_of(TableType type, const void* values, int64_t count, Magnitude* largest, cudaStream_t stream);

// of_table += the sums of the group's levels
template <class R>
cudaError_t finish_fixed(int64_t features, const Group<R>& group, const FixedPoint& fixed, R* of_table,
                         cudaStream_t stream);

}  // namespace warphash::hashgrid
