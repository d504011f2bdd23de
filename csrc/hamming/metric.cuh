// SPDX-License-Identifier: Apache-2.0
// Keys on the device, as hamming_keys.h has them on the host: uint32, the smaller the better, `rejected` never
// returned.
#pragma once

#include "hamming/hamming.cuh"

namespace warphash::hamming {

constexpr unsigned rejected = 0xffffffffu;
constexpr unsigned key_of_similarity_one = 0x3f800000u;  // the float's bits

__device__ __forceinline__ unsigned jaccard_key(unsigned intersection, unsigned size_sum) {
  const unsigned united = size_sum - intersection;
  const float similarity = united == 0 ? 1.0f : __fdiv_rn(__uint2float_rn(intersection), __uint2float_rn(united));
  return key_of_similarity_one - __float_as_uint(similarity);
}

// -0 counts as +0; NaN is rejected.
__device__ __forceinline__ unsigned score_key(float score) {
  if (score != score) return rejected;
  const unsigned bits = __float_as_uint(__fadd_rn(score, 0.0f));
  return bits >> 31 ? bits : ~(bits | 0x80000000u);
}

// The 32 bits that stand in a row of values: int32 or float32.
__device__ __forceinline__ unsigned value_bits(Metric metric, unsigned key) {
  if (metric == Metric::distance) return key == rejected ? 0x7fffffffu : key;
  if (key == rejected) return 0xff800000u;
  if (metric == Metric::jaccard) return key_of_similarity_one - key;
  return key >> 31 ? key : ~key & 0x7fffffffu;
}

// The largest key there can be, rejected ones aside.
inline uint32_t largest_key(Metric metric, int64_t bytes) {
  return metric == Metric::distance ? static_cast<uint32_t>(8 * bytes) : rejected - 1;
}

}  // namespace warphash::hamming
