// SPDX-License-Identifier: Apache-2.0
// CUDA's keywords, built-in variables, vector types and error codes, as far as kernel files use them.
#pragma once
#include <math.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
// shared_section.ld gathers these, so that each block gets its own copy, filled with 0xff.
#define __shared__ static
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(cuda_emulation::current->block->dynamic_shared)
#define threadIdx (cuda_emulation::current->index)
#define blockIdx (cuda_emulation::current->block->index)
#define blockDim (cuda_emulation::engine.block_size)
#define gridDim (cuda_emulation::engine.grid_size)
constexpr int warpSize = 32;

#define CUDA_EMULATION_VECTORS(T, name)                                          \
  struct name##1 { T x; };                                                       \
  struct alignas(2 * sizeof(T)) name##2 { T x, y; };                             \
  struct name##3 { T x, y, z; };                                                 \
  struct alignas(std::min<size_t>(16, 4 * sizeof(T))) name##4 { T x, y, z, w; }; \
  inline name##1 make_##name##1(T x) { return {x}; }                             \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }                     \
  inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }             \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDA_EMULATION_VECTORS(signed char, char)
CUDA_EMULATION_VECTORS(unsigned char, uchar)
CUDA_EMULATION_VECTORS(short, short)
CUDA_EMULATION_VECTORS(unsigned short, ushort)
CUDA_EMULATION_VECTORS(int, int)
CUDA_EMULATION_VECTORS(unsigned, uint)
CUDA_EMULATION_VECTORS(long long, longlong)
CUDA_EMULATION_VECTORS(unsigned long long, ulonglong)
CUDA_EMULATION_VECTORS(float, float)
CUDA_EMULATION_VECTORS(double, double)
#undef CUDA_EMULATION_VECTORS

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDevice = 101,
  cudaErrorLaunchFailure = 719,
  cudaErrorNotSupported = 801,
  cudaErrorUnknown = 999
};
using cudaError = cudaError_t;
using cudaStream_t = struct CUstream_st*;
