// SPDX-License-Identifier: Apache-2.0
// Each probe keeps one unit busy: enough independent work in every warp, operands in registers.
#include "common/probes_cuda.cuh"

namespace warphash {
namespace {

constexpr int copy_threads = 512, copy_loads = 4;

__global__ void __launch_bounds__(copy_threads)
    copy(const uint4* __restrict__ from, uint4* __restrict__ to, const int64_t count) {
  const int64_t step = int64_t(gridDim.x) * copy_threads * copy_loads;
  for (int64_t first = int64_t(blockIdx.x) * copy_threads * copy_loads + threadIdx.x; first < count; first += step) {
    uint4 values[copy_loads];
#pragma unroll
    for (int i = 0; i < copy_loads; ++i)
      if (first + i * copy_threads < count) values[i] = __ldcs(from + first + i * copy_threads);
#pragma unroll
    for (int i = 0; i < copy_loads; ++i)
      if (first + i * copy_threads < count) __stcs(to + first + i * copy_threads, values[i]);
  }
}

// Each value is its own popcount plus the round, so that no round can be computed ahead of the one before.
__global__ void __launch_bounds__(probe_threads) count_bits(const int rounds, unsigned* sink) {
  unsigned values[probe_unroll], sum = 0;
#pragma unroll
  for (int i = 0; i < probe_unroll; ++i) values[i] = threadIdx.x + i;
  for (int round = 0; round < rounds; ++round)
#pragma unroll
    for (int i = 0; i < probe_unroll; ++i) values[i] = unsigned(__popc(values[i])) + unsigned(round);
#pragma unroll
  for (int i = 0; i < probe_unroll; ++i) sum += values[i];
  sink[blockIdx.x * probe_threads + threadIdx.x] = sum;
}

template <bool bits>
__global__ void __launch_bounds__(probe_threads) multiply(const int rounds, unsigned* sink) {
  int d[probe_unroll][4] = {}, sum = 0;
  const unsigned a[4] = {threadIdx.x, threadIdx.x + 1, threadIdx.x + 2, threadIdx.x + 3},
                 b[2] = {~threadIdx.x, threadIdx.x};
  for (int round = 0; round < rounds; ++round)
#pragma unroll
    for (int i = 0; i < probe_unroll; ++i) {
      if constexpr (bits)
        mma_m16n8k256_b1_and(d[i], a, b);
      else
        mma_m16n8k32_s8(d[i], a, b);
    }
#pragma unroll
  for (int i = 0; i < probe_unroll; ++i)
#pragma unroll
    for (int r = 0; r < 4; ++r) sum += d[i][r];
  sink[blockIdx.x * probe_threads + threadIdx.x] = unsigned(sum);
}

// A token x for all permutations of a thread. Neither does the next token follow from the one before by a sum, nor a
// permutation's a: the compiler would make an addition of a * x.
__global__ void __launch_bounds__(probe_threads) least_affine(const int rounds, unsigned* sink) {
  unsigned a[affine_unroll], least[affine_unroll], x = threadIdx.x;
  const unsigned b = threadIdx.x ^ 0x85ebca6bu;
#pragma unroll
  for (int i = 0; i < affine_unroll; ++i) a[i] = (threadIdx.x ^ unsigned(i + 1) * 0x9e3779b1u) | 1, least[i] = ~0u;
  for (int round = 0; round < rounds; ++round) {
    x = x * 0x9e3779b1u + unsigned(round);
#pragma unroll
    for (int i = 0; i < affine_unroll; ++i) least[i] = min(least[i], a[i] * x + b);
  }
  unsigned sum = 0;
#pragma unroll
  for (int i = 0; i < affine_unroll; ++i) sum += least[i];
  sink[blockIdx.x * probe_threads + threadIdx.x] = sum;
}

}  // namespace

cudaError_t probe_copy(const void* from, void* to, int64_t bytes, int multiprocessors, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  return launch(copy, dim3(unsigned(multiprocessors * 4)), dim3(copy_threads), 0, stream,
                static_cast<const uint4*>(from), static_cast<uint4*>(to), bytes / 16);
}
cudaError_t probe_popc(int multiprocessors, int rounds, unsigned* sink, cudaStream_t stream) {
  return launch(count_bits, dim3(unsigned(multiprocessors)), dim3(probe_threads), 0, stream, rounds, sink);
}
cudaError_t probe_mma_b1(int multiprocessors, int rounds, unsigned* sink, cudaStream_t stream) {
  return launch(multiply<true>, dim3(unsigned(multiprocessors)), dim3(probe_threads), 0, stream, rounds, sink);
}
cudaError_t probe_mma_s8(int multiprocessors, int rounds, unsigned* sink, cudaStream_t stream) {
  return launch(multiply<false>, dim3(unsigned(multiprocessors)), dim3(probe_threads), 0, stream, rounds, sink);
}
cudaError_t probe_affine_min(int multiprocessors, int rounds, unsigned* sink, cudaStream_t stream) {
  return launch(least_affine, dim3(unsigned(multiprocessors)), dim3(probe_threads), 0, stream, rounds, sink);
}

}  // namespace warphash
