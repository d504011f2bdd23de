// SPDX-License-Identifier: Apache-2.0
// Integer mixing in kernels: the finishers of MurmurHash3 (Appleby, public domain), and what is made of them.
#pragma once

#include "lsh/sketches/sketches.cuh"

namespace warphash::lsh {

__host__ __device__ __forceinline__ uint32_t mix32(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x85ebca6bu;
  x = (x ^ (x >> 13)) * 0xc2b2ae35u;
  return x ^ (x >> 16);
}

__host__ __device__ __forceinline__ uint64_t mix64(uint64_t x) {
  x = (x ^ (x >> 33)) * uint64_t{0xff51afd7ed558ccd};
  x = (x ^ (x >> 33)) * uint64_t{0xc4ceb9fe1a85ec53};
  return x ^ (x >> 33);
}

// x below 2^64 to its remainder by 2^61 - 1.
__device__ __forceinline__ uint64_t remainder61(uint64_t x) {
  constexpr uint64_t prime = (uint64_t{1} << 61) - 1;
  x = (x & prime) + (x >> 61);
  return x >= prime ? x - prime : x;
}

}  // namespace warphash::lsh
