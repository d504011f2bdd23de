// SPDX-License-Identifier: Apache-2.0
// What a .cu file includes instead of CUDA's headers. All that differs between nvcc and the CPU emulation
// (tests/cuda_emulation) stands here: the launch, dynamic shared memory, and every piece of inline PTX, one wrapper per
// instruction. A .cuh that only declares launchers may include it too: a host compiler then sees the runtime API alone.
#pragma once

#if defined(WARPHASH_CUDA_EMULATION)
// The build puts cuda_emulation.h in front of each file; it brings the language, the intrinsics, DYNAMIC_SHARED and the
// engine behind launch().
#elif defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#else
#include <cuda_runtime_api.h>
#endif

#if defined(WARPHASH_CUDA_EMULATION) || defined(__CUDACC__)

#if !defined(WARPHASH_CUDA_EMULATION)
// Once per kernel; aligned to 128 bytes, as the widest asynchronous copies want.
#define DYNAMIC_SHARED(type, name)                                       \
  extern __shared__ __align__(128) unsigned char dynamic_shared_bytes[]; \
  type* name = reinterpret_cast<type*>(dynamic_shared_bytes)
#endif

namespace warphash {

// ---- Launch ---------------------------------------------------------------------------------------------------------

// Returns the launch's error; what the kernel does wrong later shows at the next synchronisation (emulated: here).
template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                   Arguments&&... arguments) {
#if defined(WARPHASH_CUDA_EMULATION)
  return cuda_emulation::launch(kernel, grid, block, shared_bytes, stream, static_cast<Arguments&&>(arguments)...);
#else
  // clang-format off: in a .h file it takes >>> for templates
  kernel<<<grid, block, shared_bytes, stream>>>(static_cast<Arguments&&>(arguments)...);
  // clang-format on
  return cudaGetLastError();
#endif
}

// ---- What sm_90 brought -----------------------------------------------------------------------------------------------

__device__ __forceinline__ bool is_sm_90() {
#if defined(WARPHASH_CUDA_EMULATION)
  return cuda_emulation::engine.compute_major >= 9;
#elif __CUDA_ARCH__ >= 900
  return true;
#else
  return false;
#endif
}

// ---- Clusters: blocks that run at the same time and see each other's dynamic shared memory (sm_90) ------------------

#if !defined(WARPHASH_CUDA_EMULATION)
inline cudaLaunchConfig_t cluster_launch(cudaLaunchAttribute& attribute, int cluster_size, dim3 grid, dim3 block,
                                         size_t shared_bytes, cudaStream_t stream) {
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = static_cast<unsigned>(cluster_size);
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid, config.blockDim = block, config.dynamicSmemBytes = shared_bytes, config.stream = stream;
  config.attrs = &attribute, config.numAttrs = 1;
  return config;
}
#endif

// How many clusters of `size` blocks are on the device at once; 0 where it has none.
template <class... Parameters>
cudaError_t most_clusters(int* clusters, void (*kernel)(Parameters...), int size, int threads, size_t shared_bytes) {
#if defined(WARPHASH_CUDA_EMULATION)
  return cuda_emulation::most_clusters(clusters, kernel, size, threads, shared_bytes);
#else
  *clusters = 0;
  int device = 0, major = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  if (error != cudaSuccess || major < 9) return error;
  cudaLaunchAttribute attribute{};
  const cudaLaunchConfig_t config = cluster_launch(attribute, size, dim3(size), dim3(threads), shared_bytes, nullptr);
  if (cudaOccupancyMaxActiveClusters(clusters, kernel, &config) != cudaSuccess) {
    *clusters = 0;
    cudaGetLastError();  // or the next launch would hand it on
  }
  return cudaSuccess;
#endif
}

// Ranks in a cluster go along x; grid.x is a multiple of cluster_size. Only where most_clusters is not 0.
template <class... Parameters, class... Arguments>
cudaError_t launch_clusters(void (*kernel)(Parameters...), int cluster_size, dim3 grid, dim3 block, size_t shared_bytes,
                            cudaStream_t stream, Arguments&&... arguments) {
#if defined(WARPHASH_CUDA_EMULATION)
  return cuda_emulation::launch_clusters(kernel, cluster_size, grid, block, shared_bytes, stream,
                                         static_cast<Arguments&&>(arguments)...);
#else
  cudaLaunchAttribute attribute{};
  const cudaLaunchConfig_t config = cluster_launch(attribute, cluster_size, grid, block, shared_bytes, stream);
  return cudaLaunchKernelEx(&config, kernel, static_cast<Arguments&&>(arguments)...);
#endif
}

// Whether the kernel was compiled for a card that has them.
__device__ __forceinline__ bool has_clusters() { return is_sm_90(); }

// Of an ordinary launch, and before sm_90, each block is a cluster of its own.
__device__ __forceinline__ unsigned cluster_rank() {
#if defined(WARPHASH_CUDA_EMULATION)
  return cuda_emulation::current->block->rank;
#elif __CUDA_ARCH__ >= 900
  unsigned rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
#else
  return 0;
#endif
}

__device__ __forceinline__ unsigned cluster_size() {
#if defined(WARPHASH_CUDA_EMULATION)
  return cuda_emulation::engine.cluster_size;
#elif __CUDA_ARCH__ >= 900
  unsigned size;
  asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
#else
  return 1;
#endif
}

// All threads of the cluster meet; what they wrote before to shared and global memory, they all see after. Also a block's
// barrier. A block's first one comes before others use its shared memory, its last one after.
__device__ __forceinline__ void cluster_sync(
#if defined(WARPHASH_CUDA_EMULATION)
    const cuda_emulation::Site& site = cuda_emulation::Site::current()) {
  cuda_emulation::cluster_collective("cluster_sync", site);
#else
) {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive;\n\tbarrier.cluster.wait;" ::: "memory");
#else
  __syncthreads();
#endif
#endif
}

// The place in the cluster's block `rank` that `own`, in dynamic shared memory, is in the caller's.
template <class T>
__device__ __forceinline__ T* peer_shared(T* own, unsigned rank) {
#if defined(WARPHASH_CUDA_EMULATION)
  return static_cast<T*>(cuda_emulation::peer_shared(own, rank));
#elif __CUDA_ARCH__ >= 900
  T* peer;
  asm volatile("mapa.u64 %0, %1, %2;" : "=l"(peer) : "l"(own), "r"(rank));
  return peer;
#else
  return own;
#endif
}

// ---- Asynchronous copies from global to shared memory (sm_80) -------------------------------------------------------

// Both addresses are multiples of 16. The caller's copies may be read after copy_async_wait, other threads' copies
// after a barrier on top of that.
__device__ __forceinline__ void copy_async_16(void* shared, const void* global) {
#if defined(WARPHASH_CUDA_EMULATION)
  cuda_emulation::copy_async(shared, global, 16, 16);
#else
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(unsigned(__cvta_generic_to_shared(shared))),
               "l"(global)
               : "memory");
#endif
}

// Copies the first `bytes` (0 to 16) and fills the rest of the 16 with zeros: for tails. With 0 nothing is read, but
// `global` must still be an address of global memory.
__device__ __forceinline__ void copy_async_16_or_zero(void* shared, const void* global, unsigned bytes) {
#if defined(WARPHASH_CUDA_EMULATION)
  cuda_emulation::copy_async(shared, global, bytes, 16);
#else
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(unsigned(__cvta_generic_to_shared(shared))),
               "l"(global), "r"(bytes)
               : "memory");
#endif
}

// Closes the group of the copies issued since the last commit.
__device__ __forceinline__ void copy_async_commit() {
#if defined(WARPHASH_CUDA_EMULATION)
  cuda_emulation::copy_commit();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most `pending` of the caller's latest groups are still under way.
template <int pending>
__device__ __forceinline__ void copy_async_wait() {
#if defined(WARPHASH_CUDA_EMULATION)
  cuda_emulation::copy_wait(pending);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

// ---- Bulk copies from shared to global memory (sm_90; before, the calling thread copies at once) --------------------

__device__ __forceinline__ bool has_bulk_copies() { return is_sm_90(); }

// Ordinary stores to shared memory are seen by bulk copies (and wgmma) after this, called by the threads that stored, and a
// barrier.
__device__ __forceinline__ void fence_shared_for_async() {
#if defined(WARPHASH_CUDA_EMULATION)
  cuda_emulation::fence_shared_for_async();
#elif __CUDA_ARCH__ >= 900
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// One thread calls it. Addresses and bytes, at least 16, are multiples of 16. The source stays as it is until the caller has
// waited; the copy is there when the kernel ends.
__device__ __forceinline__ void bulk_store(void* global, const void* shared, unsigned bytes) {
#if defined(WARPHASH_CUDA_EMULATION)
  cuda_emulation::bulk_store(global, shared, bytes);
#elif __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(__cvta_generic_to_global(global)),
               "r"(unsigned(__cvta_generic_to_shared(shared))), "r"(bytes)
               : "memory");
#else
  for (unsigned i = 0; i < bytes / 16; ++i) static_cast<uint4*>(global)[i] = static_cast<const uint4*>(shared)[i];
#endif
}

// Closes the group of the bulk copies issued since the last commit.
__device__ __forceinline__ void bulk_commit() {
#if defined(WARPHASH_CUDA_EMULATION)
  cuda_emulation::bulk_commit();
#elif __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#endif
}

// Waits until of the caller's latest groups at most `pending` have yet to be read from shared memory. Before it ends, a
// thread waits for all.
template <int pending>
__device__ __forceinline__ void bulk_wait_read() {
#if defined(WARPHASH_CUDA_EMULATION)
  cuda_emulation::bulk_wait_read(pending);
#elif __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(pending) : "memory");
#endif
}

// ---- Loads and stores through which blocks talk ---------------------------------------------------------------------

// What another block wrote before its store_release is seen after a load_acquire that returns the stored value.
__device__ __forceinline__ unsigned load_acquire(const unsigned* address) {
#if defined(WARPHASH_CUDA_EMULATION)
  return cuda_emulation::load_acquire(address);
#else
  unsigned value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
  return value;
#endif
}

__device__ __forceinline__ void store_release(unsigned* address, unsigned value) {
#if defined(WARPHASH_CUDA_EMULATION)
  cuda_emulation::store_release(address, value);
#else
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
#endif
}

// For words that say all themselves, such as a flag and the count it speaks of in one: no other load or store is ordered
// by these, and so none is waited for.
__device__ __forceinline__ unsigned load_relaxed(const unsigned* address) {
#if defined(WARPHASH_CUDA_EMULATION)
  return cuda_emulation::load_relaxed(address);
#else
  unsigned value;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
  return value;
#endif
}

__device__ __forceinline__ unsigned long long load_relaxed(const unsigned long long* address) {
#if defined(WARPHASH_CUDA_EMULATION)
  return cuda_emulation::load_relaxed(address);
#else
  unsigned long long value;
  asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(value) : "l"(address) : "memory");
  return value;
#endif
}

__device__ __forceinline__ void store_relaxed(unsigned* address, unsigned value) {
#if defined(WARPHASH_CUDA_EMULATION)
  cuda_emulation::store_relaxed(address, value);
#else
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
#endif
}

__device__ __forceinline__ void store_relaxed(unsigned long long* address, unsigned long long value) {
#if defined(WARPHASH_CUDA_EMULATION)
  cuda_emulation::store_relaxed(address, value);
#else
  asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(address), "l"(value) : "memory");
#endif
}

// ---- Additions of neighbouring floats to global memory (one instruction from sm_90 on) ------------------------------

// Each float is added atomically by itself, the group is not. The address is a multiple of the group's size.
__device__ __forceinline__ void atomic_add_2(float* global, float a, float b) {
#if defined(WARPHASH_CUDA_EMULATION)
  cuda_emulation::atomic_add_group(global, {a, b});
#elif __CUDA_ARCH__ >= 900
  asm volatile("red.global.add.v2.f32 [%0], {%1, %2};" ::"l"(global), "f"(a), "f"(b) : "memory");
#else
  atomicAdd(global, a);
  atomicAdd(global + 1, b);
#endif
}

__device__ __forceinline__ void atomic_add_4(float* global, float a, float b, float c, float d) {
#if defined(WARPHASH_CUDA_EMULATION)
  cuda_emulation::atomic_add_group(global, {a, b, c, d});
#elif __CUDA_ARCH__ >= 900
  asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(global), "f"(a), "f"(b), "f"(c), "f"(d)
               : "memory");
#else
  atomicAdd(global, a);
  atomicAdd(global + 1, b);
  atomicAdd(global + 2, c);
  atomicAdd(global + 3, d);
#endif
}

// Two float16 in a word, each added by itself and rounded to nearest; denormals are kept (sm_80 too).
__device__ __forceinline__ void atomic_add_halves(unsigned* global, unsigned pair) {
#if defined(WARPHASH_CUDA_EMULATION)
  cuda_emulation::atomic_add_halves(global, pair);
#else
  asm volatile("red.global.add.noftz.f16x2 [%0], %1;" ::"l"(global), "r"(pair) : "memory");
#endif
}

// ---- Tensor cores: d[16 x 8] += a[16 x 32 bytes] * b[32 bytes x 8], called by a whole warp --------------------------
//
// With group = lane / 4 and member = lane % 4, registers hold four bytes (32 bits) of a row of a or a column of b:
//   a[r]: row group + 8 * (r % 2), bytes 4 * (member + 4 * (r / 2)) onwards
//   b[r]: column group, bytes 4 * (member + 4 * r) onwards
//   d[r]: row group + 8 * (r / 2), column 2 * member + r % 2
#if defined(WARPHASH_CUDA_EMULATION)
#define WARPHASH_MMA(name, instruction, dot)                                             \
  inline void name(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],          \
                   const cuda_emulation::Site& site = cuda_emulation::Site::current()) { \
    cuda_emulation::mma_m16n8(#name, d, a, b, site, dot);                                \
  }
#else
#define WARPHASH_MMA(name, instruction, dot)                                                          \
  __device__ __forceinline__ void name(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { \
    asm volatile(instruction " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                 \
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])                                     \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                 \
  }
#endif
// Signed bytes.
WARPHASH_MMA(mma_m16n8k32_s8, "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32", cuda_emulation::dot_s8)
// a unsigned, b signed: bits expanded to 0 and 1 against signed weights.
WARPHASH_MMA(mma_m16n8k32_u8_s8, "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32", cuda_emulation::dot_u8_s8)
// Bits: popcount(a & b). The .xor form is left out: from sm_90 on it is emulated in software.
WARPHASH_MMA(mma_m16n8k256_b1_and, "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc",
             cuda_emulation::dot_b1_and)
#undef WARPHASH_MMA

// The same of bfloat16, two in a register, the lower half first: d[16 x 8] += a[16 x 16] * b[16 x 8] in float32, in no
// promised order.
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]
#if defined(WARPHASH_CUDA_EMULATION)
                                                  ,
                                                  const cuda_emulation::Site& site = cuda_emulation::Site::current()) {
  cuda_emulation::mma_m16n8("mma_m16n8k16_bf16", d, a, b, site, cuda_emulation::dot_bf16);
}
#else
) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

// Two values rounded to bfloat16 (to nearest, ties to even; NaN becomes 0x7fff), `low` in the lower half.
__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
#if defined(WARPHASH_CUDA_EMULATION)
  return cuda_emulation::pack_bf16(low, high);
#else
  unsigned both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
#endif
}

}  // namespace warphash
#endif
