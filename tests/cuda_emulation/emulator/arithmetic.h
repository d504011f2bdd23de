// SPDX-License-Identifier: Apache-2.0
// Bit operations, rounding-exact float operations, reinterpretations and the two half types. The build forbids the host
// compiler to contract a * b + c, so float code without fma gives one value; nvcc contracts unless told otherwise.
#pragma once
#include <bit>
#include <cmath>
#include <type_traits>

#include "language.h"

// ---- Integers -------------------------------------------------------------------------------------------------------

inline int __popc(unsigned v) { return std::popcount(v); }
inline int __popcll(unsigned long long v) { return std::popcount(v); }
inline int __clz(unsigned v) { return std::countl_zero(v); }
inline int __clzll(unsigned long long v) { return std::countl_zero(v); }
inline int __ffs(unsigned v) { return v ? std::countr_zero(v) + 1 : 0; }
inline int __ffsll(unsigned long long v) { return v ? std::countr_zero(v) + 1 : 0; }
inline unsigned __brev(unsigned v) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= (v >> i & 1) << (31 - i);
  return reversed;
}
inline unsigned long long __brevll(unsigned long long v) {
  return uint64_t(__brev(unsigned(v))) << 32 | __brev(unsigned(v >> 32));
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  uint64_t both = uint64_t(y) << 32 | x;
  unsigned bytes = 0;
  for (int i = 0; i < 4; ++i) {
    unsigned pick = selector >> 4 * i & 0xf, byte = both >> (pick & 7) * 8 & 0xff;
    bytes |= (pick < 8 ? byte : byte & 0x80 ? 0xff : 0) << 8 * i;  // the selector's fourth bit copies the sign
  }
  return bytes;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return uint64_t(a) * b >> 32; }
inline int __mulhi(int a, int b) { return int64_t(a) * b >> 32; }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned __int128>(a) * b >> 64;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned n) {
  return (uint64_t(high) << 32 | low) << (n & 31) >> 32;
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned n) {
  return (uint64_t(high) << 32 | low) >> (n & 31);
}
inline int __dp4a(int a, int b, int c) {
  for (int i = 0; i < 4; ++i) c += int8_t(a >> 8 * i) * int8_t(b >> 8 * i);
  return c;
}
inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
  for (int i = 0; i < 4; ++i) c += uint8_t(a >> 8 * i) * uint8_t(b >> 8 * i);
  return c;
}

// As CUDA's, these take mixed types.
template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using C = std::common_type_t<A, B>;
  return C(b) < C(a) ? C(b) : C(a);
}
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using C = std::common_type_t<A, B>;
  return C(a) < C(b) ? C(b) : C(a);
}

// ---- Floats ---------------------------------------------------------------------------------------------------------

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fsqrt_rn(float v) { return std::sqrt(v); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

// These are approximations on a GPU: test what uses them with a tolerance.
inline float rsqrtf(float v) { return 1.0f / std::sqrt(v); }
inline float __expf(float v) { return std::exp(v); }
inline float __logf(float v) { return std::log(v); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float v) { return v > 0 ? std::min(v, 1.0f) : 0.0f; }

inline int __float_as_int(float v) { return std::bit_cast<int>(v); }
inline unsigned __float_as_uint(float v) { return std::bit_cast<unsigned>(v); }
inline float __int_as_float(int v) { return std::bit_cast<float>(v); }
inline float __uint_as_float(unsigned v) { return std::bit_cast<float>(v); }
inline long long __double_as_longlong(double v) { return std::bit_cast<long long>(v); }
inline double __longlong_as_double(long long v) { return std::bit_cast<double>(v); }
inline int __float2int_rd(float v) { return int(std::floor(v)); }
inline int __float2int_rn(float v) { return int(std::nearbyint(v)); }
inline float __int2float_rn(int v) { return float(v); }
inline float __uint2float_rn(unsigned v) { return float(v); }

struct __half {
  _Float16 value;
};
inline __half __float2half(float v) { return {static_cast<_Float16>(v)}; }
inline float __half2float(__half v) { return static_cast<float>(v.value); }

struct __nv_bfloat16 {
  uint16_t bits;
};
inline __nv_bfloat16 __float2bfloat16(float v) {
  uint32_t u = std::bit_cast<uint32_t>(v);
  return {uint16_t(v != v ? 0x7fff : (u + 0x7fff + (u >> 16 & 1)) >> 16)};
}
inline float __bfloat162float(__nv_bfloat16 v) { return std::bit_cast<float>(uint32_t(v.bits) << 16); }
