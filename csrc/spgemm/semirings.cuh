// SPDX-License-Identifier: Apache-2.0
// Semirings on the device: what semirings.h computes, bit for bit (the files are compiled without contraction). Which one
// is an argument of the kernel, the same for all threads: its branches cost little beside the loads, and each kernel is
// compiled once a type of values instead of once a semiring too.
#pragma once

#include "common/portable.h"
#include "spgemm/semirings.h"

namespace warphash::spgemm {
namespace {

// Values of bool matrices are bytes of 0 and 1; plus_times is or_and for them.
template <class Value>
constexpr bool is_bool = sizeof(Value) == 1;

template <class Value>
__device__ __forceinline__ Value zero_of(Semiring semiring) {
  if constexpr (is_bool<Value>)
    return 0;
  else
    return semiring == Semiring::min_plus    ? largest<Value>()
           : semiring == Semiring::max_times ? smallest<Value>()
                                             : Value(0);
}

template <class Value>
__device__ __forceinline__ Value times(Semiring semiring, Value a, Value b) {
  if constexpr (is_bool<Value>) {
    return a & b;
  } else {
    using Type = typename Arithmetic<Value>::type;
    return semiring == Semiring::min_plus ? static_cast<Value>(static_cast<Type>(a) + static_cast<Type>(b))
                                          : static_cast<Value>(static_cast<Type>(a) * static_cast<Type>(b));
  }
}

// Whether a product takes the place of a sum: NaN does of every number, the first of equal ones stays.
template <class Value>
__device__ __forceinline__ bool wins(Semiring semiring, Value product, Value sum) {
  return (semiring == Semiring::min_plus ? !(product >= sum) : !(product <= sum)) && sum == sum;
}

template <class Value>
__device__ __forceinline__ Value plus(Semiring semiring, Value sum, Value product) {
  if constexpr (is_bool<Value>) {
    return sum | product;
  } else {
    using Type = typename Arithmetic<Value>::type;
    if (semiring == Semiring::min_plus || semiring == Semiring::max_times)
      return wins(semiring, product, sum) ? product : sum;
    return static_cast<Value>(static_cast<Type>(sum) + static_cast<Type>(product));
  }
}

}  // namespace
}  // namespace warphash::spgemm
