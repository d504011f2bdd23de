// SPDX-License-Identifier: Apache-2.0
// One warp writes what the intrinsics answer; nvcc compiling the file shows that the names and types are CUDA's.
#include "kernels.cuh"

namespace warphash::demo {
namespace {

using u64 = unsigned long long;

// x [32], y [32] -> integers [32, 20]
__global__ void integers_kernel(const unsigned* __restrict__ x, const unsigned* __restrict__ y, unsigned* integers) {
  int lane = threadIdx.x;
  unsigned a = __ldg(x + lane), b = __ldg(y + lane), all = 0xffffffffu, *out = integers + 20 * lane;
  u64 wide = u64(a) << 32 | b;
  out[0] = __popc(a) + 100 * __popcll(wide);
  out[1] = __clz(a) + 100 * __clzll(wide);
  out[2] = __ffs(a) + 100 * __ffsll(wide);
  out[3] = __brev(a);
  out[4] = unsigned(__brevll(wide) >> 32);
  out[5] = __byte_perm(a, b, 0x7a20);  // bytes 0, 2, the sign of 2, 7
  out[6] = __umulhi(a, b);
  out[7] = __funnelshift_l(a, b, 9);
  out[8] = __funnelshift_r(a, b, 9);
  out[9] = __dp4a(int(a), int(b), -5);
  out[10] = __reduce_min_sync(all, a);
  out[11] = __reduce_max_sync(all, int(a));
  out[12] = __reduce_add_sync(all, a);
  out[13] = __reduce_or_sync(all, a & 0xff0) ^ __reduce_and_sync(all, a | 0xff);
  out[14] = __ballot_sync(all, a & 1);
  out[15] = __match_any_sync(all, a & 3);
  out[16] = __shfl_sync(all, a, lane + 3, 8) ^ unsigned(__shfl_sync(all, wide, 5));
  out[17] = __shfl_xor_sync(all, a, 5);
  out[18] = __any_sync(all, lane == 3) + 2 * __all_sync(all, lane < 32) + 4 * __any_sync(all, lane > 31);
  uint4 four = __ldg(reinterpret_cast<const uint4*>(y) + lane / 4);
  out[19] = four.x ^ four.y ^ four.z ^ four.w;
}

// x [32] -> narrow: min, max, sum, exclusive or, last compare-and-swap; wide: min, max, sum of x << 32
__global__ void atomics_kernel(const unsigned* __restrict__ x, unsigned* narrow, u64* wide) {
  unsigned v = x[threadIdx.x];
  atomicMin(narrow, v), atomicMax(narrow + 1, v), atomicAdd(narrow + 2, v), atomicXor(narrow + 3, v);
  unsigned seen = 0, expected;  // adds by compare-and-swap
  do {
    expected = seen;
    seen = atomicCAS(narrow + 4, expected, expected + v);
  } while (seen != expected);
  atomicMin(wide, u64(v) << 32), atomicMax(wide + 1, u64(v) << 32), atomicAdd(wide + 2, u64(v) << 32);
}

// x [32], y [32] -> floats [32, 6]
__global__ void floats_kernel(const float* __restrict__ x, const float* __restrict__ y, float* floats) {
  int lane = threadIdx.x;
  float a = x[lane], b = y[lane], *out = floats + 6 * lane;
  out[0] = __fdiv_rn(a, b);
  out[1] = __fadd_rn(__fmul_rn(a, b), a);
  out[2] = __fmaf_rn(a, b, a);
  out[3] = __half2float(__float2half(a));
  out[4] = __bfloat162float(__float2bfloat16(a));
  out[5] = __uint_as_float(__float_as_uint(a) ^ 0x80000000u);
}

// x [32] -> sums [8]: of even lanes times 1 and 2, of odd lanes times 1 and 2, of all lanes times 1 to 4
__global__ void group_adds_kernel(const float* __restrict__ x, float* sums) {
  int lane = threadIdx.x;
  float v = x[lane];
  atomic_add_2(sums + 2 * (lane % 2), v, 2 * v);
  atomic_add_4(sums + 4, v, 2 * v, 3 * v, 4 * v);
}

// halves [32], two float16 each -> sums [2]: of even and of odd lanes
__global__ void halves_adds_kernel(const unsigned* __restrict__ halves, unsigned* sums) {
  int lane = threadIdx.x;
  atomic_add_halves(sums + lane % 2, halves[lane]);
}

// Blocks of one thread: each waits for the words of the block before, so that word i becomes i + 1.
__global__ void relaxed_words_kernel(unsigned* narrow, u64* wide) {
  unsigned before = 0;
  u64 wide_before = 0;
  if (blockIdx.x > 0) {
    do before = load_relaxed(narrow + blockIdx.x - 1);
    while (before == 0);
    do wide_before = load_relaxed(wide + blockIdx.x - 1);
    while (wide_before == 0);
  }
  store_relaxed(narrow + blockIdx.x, before + 1);
  store_relaxed(wide + blockIdx.x, wide_before + (u64(1) << 40));
}

__global__ void unaligned_adds_kernel(float* sums) { atomic_add_2(sums + 1, 1, 1); }

}  // namespace

cudaError_t integers(const unsigned* x, const unsigned* y, unsigned* integers, cudaStream_t stream) {
  return launch(integers_kernel, 1, 32, 0, stream, x, y, integers);
}

cudaError_t atomics(const unsigned* x, unsigned* narrow, unsigned long long* wide, cudaStream_t stream) {
  return launch(atomics_kernel, 1, 32, 0, stream, x, narrow, wide);
}

cudaError_t floats(const float* x, const float* y, float* floats, cudaStream_t stream) {
  return launch(floats_kernel, 1, 32, 0, stream, x, y, floats);
}

cudaError_t halves_adds(const unsigned* halves, unsigned* sums, cudaStream_t stream) {
  return launch(halves_adds_kernel, 1, 32, 0, stream, halves, sums);
}

cudaError_t group_adds(const float* x, float* sums, cudaStream_t stream) {
  return launch(group_adds_kernel, 1, 32, 0, stream, x, sums);
}

cudaError_t relaxed_words(unsigned* narrow, unsigned long long* wide, int blocks, cudaStream_t stream) {
  return launch(relaxed_words_kernel, blocks, 1, 0, stream, narrow, wide);
}

cudaError_t unaligned_adds(float* sums, cudaStream_t stream) {
  return launch(unaligned_adds_kernel, 1, 1, 0, stream, sums);
}

}  // namespace warphash::demo
