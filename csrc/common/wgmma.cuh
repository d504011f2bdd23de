// SPDX-License-Identifier: Apache-2.0
// Warpgroup tensor-core instructions, for *_sm90a.cu files alone: the CPU emulation has no model of them. Everything
// here is called by all 128 threads of a warpgroup together.
#pragma once

#include "common/portable.h"

namespace warphash {

// 64 columns a warpgroup's product has: thread (warp w, group = lane / 4, member = lane % 4) holds in d[4 * n + r] row
// 16 w + group + 8 * (r / 2), column 8 n + 2 * member + r % 2. Its part of a is as mma.sync's of the warp's 16 rows.
constexpr int wgmma_columns = 64, wgmma_registers = 32;

// Shared memory without swizzling: blocks of 8 columns x 16 bytes lie together (128 bytes); the two of a step's 32
// bytes one behind the other, then the next 8 columns. `address` is a multiple of 16.
constexpr int wgmma_step_bytes = wgmma_columns * 32;
__device__ __forceinline__ int wgmma_offset(int column, int byte) {
  return column / 8 * 256 + byte / 16 * 128 + column % 8 * 16 + byte % 16;
}
__device__ __forceinline__ uint64_t wgmma_descriptor(const void* shared) {
  const uint64_t address = __cvta_generic_to_shared(shared);
  return (address & 0x3ffff) >> 4 | uint64_t(128 >> 4) << 16 | uint64_t(256 >> 4) << 32;
}

// Before the first wgmma that uses registers written since the last one.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits for all; d and a may be touched again. The compiler is told that d changes here, lest it reads d before.
template <int registers>
__device__ __forceinline__ void wgmma_wait(int (&d)[registers]) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#pragma unroll
  for (int i = 0; i < registers; ++i) asm volatile("" : "+r"(d[i])::"memory");
}

// d = a * b, or d += a * b with `add`: 32 bytes of the shared dimension.
#define WARPHASH_WGMMA(name, instruction)                                                                             \
  __device__ __forceinline__ void name(int (&d)[wgmma_registers], const unsigned (&a)[4], uint64_t b, bool add) {     \
    asm volatile(                                                                                                     \
        "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n" instruction                                                      \
        " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,"    \
        "%28,%29,%30,%31}, {%32,%33,%34,%35}, %36, p;\n}\n"                                                           \
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]), "+r"(d[4]), "+r"(d[5]), "+r"(d[6]), "+r"(d[7]), "+r"(d[8]), \
          "+r"(d[9]), "+r"(d[10]), "+r"(d[11]), "+r"(d[12]), "+r"(d[13]), "+r"(d[14]), "+r"(d[15]), "+r"(d[16]),      \
          "+r"(d[17]), "+r"(d[18]), "+r"(d[19]), "+r"(d[20]), "+r"(d[21]), "+r"(d[22]), "+r"(d[23]), "+r"(d[24]),     \
          "+r"(d[25]), "+r"(d[26]), "+r"(d[27]), "+r"(d[28]), "+r"(d[29]), "+r"(d[30]), "+r"(d[31])                   \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(add)));                                         \
  }
WARPHASH_WGMMA(wgmma_m64n64k256_b1_and, "wgmma.mma_async.sync.aligned.m64n64k256.s32.b1.b1.and.popc")
WARPHASH_WGMMA(wgmma_m64n64k32_s8, "wgmma.mma_async.sync.aligned.m64n64k32.s32.s8.s8")
#undef WARPHASH_WGMMA

}  // namespace warphash
