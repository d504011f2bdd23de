// SPDX-License-Identifier: Apache-2.0
// Values of vectors in all their types: loaded 16 bytes at once where they lie so, widened exactly.
#pragma once

#include <cstring>

#include "common/arena.cuh"
#include "lsh/projections/projections.cuh"

namespace warphash::lsh {

constexpr unsigned all_lanes = 0xffffffffu;

// Blocks of a launch whose kernel goes round a loop; few where emulated, so that tests see it go round.
#if defined(WARPHASH_CUDA_EMULATION)
constexpr int64_t most_blocks = 3;
#else
constexpr int64_t most_blocks = int64_t{1} << 20;
#endif

constexpr int bytes_of(VectorType type) { return type == VectorType::f64 ? 8 : type == VectorType::f32 ? 4 : 2; }

template <VectorType type>
struct RealOf {
  using Real = float;
};
template <>
struct RealOf<VectorType::f64> {
  using Real = double;
};

__device__ __forceinline__ float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
__device__ __forceinline__ double multiply_add(double a, double b, double c) { return fma(a, b, c); }

// 1 for values >= 0, also -0; 0 for others and NaN.
template <class Real>
__device__ __forceinline__ unsigned sign_bit(Real value) {
  return value >= 0 ? 1u : 0u;
}

__device__ __forceinline__ float half_of_bits(unsigned bits) {
  const unsigned short low = static_cast<unsigned short>(bits);
  __half value;
  memcpy(&value, &low, 2);
  return __half2float(value);
}

// Value e of those that lie in 32-bit words.
template <VectorType type>
__device__ __forceinline__ typename RealOf<type>::Real value_of(const unsigned (&words)[4], int e) {
  if constexpr (type == VectorType::f64) {
    const unsigned long long bits = static_cast<unsigned long long>(words[2 * e + 1]) << 32 | words[2 * e];
    return __longlong_as_double(static_cast<long long>(bits));
  } else if constexpr (type == VectorType::f32) {
    return __uint_as_float(words[e]);
  } else if constexpr (type == VectorType::bf16) {
    return __uint_as_float(e % 2 == 0 ? words[e / 2] << 16 : words[e / 2] & 0xffff0000u);
  } else {
    return half_of_bits(words[e / 2] >> (16 * (e % 2)));
  }
}

// 16 bytes of values, of which the first `count` exist (any number, also negative); the rest are zeros. aligned: `from`
// is a multiple of 16 bytes, and so is the end of the values.
template <VectorType type>
__device__ __forceinline__ void load_values(const char* from, int64_t count, bool aligned, unsigned (&words)[4]) {
  constexpr int values = 16 / bytes_of(type);
  if (aligned) {
    uint4 all = make_uint4(0, 0, 0, 0);
    if (count > 0) all = __ldg(reinterpret_cast<const uint4*>(from));
    words[0] = all.x, words[1] = all.y, words[2] = all.z, words[3] = all.w;
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) words[i] = 0;
#pragma unroll
  for (int e = 0; e < values; ++e) {
    if (e >= count) continue;
    if constexpr (type == VectorType::f64) {
      const unsigned long long bits = __ldg(reinterpret_cast<const unsigned long long*>(from) + e);
      words[2 * e] = static_cast<unsigned>(bits), words[2 * e + 1] = static_cast<unsigned>(bits >> 32);
    } else if constexpr (type == VectorType::f32) {
      words[e] = __ldg(reinterpret_cast<const unsigned*>(from) + e);
    } else {
      words[e / 2] |= static_cast<unsigned>(__ldg(reinterpret_cast<const unsigned short*>(from) + e)) << (16 * (e % 2));
    }
  }
}

inline bool is_aligned(const void* pointer, size_t bytes) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

// Whether load_values may take rows as aligned.
inline bool rows_aligned(const Vectors& x) { return is_aligned(x.data, 16) && x.dim * bytes_of(x.type) % 16 == 0; }

template <VectorType type>
struct TypeConstant {
  static constexpr VectorType value = type;
};

}  // namespace warphash::lsh
