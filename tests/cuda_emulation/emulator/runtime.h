// SPDX-License-Identifier: Apache-2.0
// The runtime calls that launchers make. Everything is synchronous and streams are ignored; fresh memory is 0xff.
#pragma once
#include "launch.h"

enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
  cudaFuncAttributePreferredSharedMemoryCarveout = 9
};
enum cudaDeviceAttr {
  cudaDevAttrMaxSharedMemoryPerBlock = 8,
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrL2CacheSize = 38,
  cudaDevAttrMaxThreadsPerMultiProcessor = 39,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};
// Few multiprocessors, so that a grid sized by them goes round its loops more than once.
struct cudaDeviceProp {
  char name[256] = "emulated";
  int major = cuda_emulation::engine.compute_major, minor = 0, multiProcessorCount = 4, warpSize = 32,
      maxThreadsPerBlock = 1024;
  int maxThreadsPerMultiProcessor = 2048, l2CacheSize = 50 << 20;
  size_t sharedMemPerBlock = 49152, sharedMemPerBlockOptin = 232448, sharedMemPerMultiprocessor = 233472;
  size_t totalGlobalMem = size_t(1) << 34;
};

template <class T>
cudaError_t cudaMalloc(T** pointer, size_t n) {
  *pointer = static_cast<T*>(std::malloc(n));
  if (!*pointer && n) return cudaErrorMemoryAllocation;
  if (n) std::memset(static_cast<void*>(*pointer), 0xff, n);
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* pointer) { return std::free(pointer), cudaSuccess; }
template <class T>
cudaError_t cudaMallocAsync(T** pointer, size_t n, cudaStream_t) {
  return cudaMalloc(pointer, n);
}
inline cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) { return cudaFree(pointer); }

inline cudaError_t cudaMemcpy(void* to, const void* from, size_t n, cudaMemcpyKind) {
  if (n) std::memcpy(to, from, n);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t n, cudaMemcpyKind kind, cudaStream_t = nullptr) {
  return cudaMemcpy(to, from, n, kind);
}
inline cudaError_t cudaMemset(void* to, int byte, size_t n) {
  if (n) std::memset(to, byte, n);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int byte, size_t n, cudaStream_t = nullptr) {
  return cudaMemset(to, byte, n);
}
template <class T>
cudaError_t cudaMemcpyToSymbol(T& symbol, const void* from, size_t n, size_t offset = 0) {
  if (n + offset > sizeof(T)) return cudaErrorInvalidValue;
  return cudaMemcpy(reinterpret_cast<char*>(&symbol) + offset, from, n, cudaMemcpyDefault);
}

inline cudaError_t cudaGetLastError() { return cudaSuccess; }  // launch() hands its error back itself
inline cudaError_t cudaPeekAtLastError() { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : cuda_emulation::engine.failure.c_str();
}

inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  return *properties = cudaDeviceProp(), cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  cudaDeviceProp p;
  switch (attribute) {
    case cudaDevAttrMaxSharedMemoryPerBlock: return *value = p.sharedMemPerBlock, cudaSuccess;
    case cudaDevAttrMultiProcessorCount: return *value = p.multiProcessorCount, cudaSuccess;
    case cudaDevAttrL2CacheSize: return *value = p.l2CacheSize, cudaSuccess;
    case cudaDevAttrMaxThreadsPerMultiProcessor: return *value = p.maxThreadsPerMultiProcessor, cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor: return *value = p.major, cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: return *value = p.minor, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: return *value = p.sharedMemPerMultiprocessor, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: return *value = p.sharedMemPerBlockOptin, cudaSuccess;
  }
  return cudaErrorInvalidValue;
}

template <class... Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || size_t(value) > cudaDeviceProp().sharedMemPerBlockOptin) return cudaErrorInvalidValue;
  cuda_emulation::engine.dynamic_shared_limit[reinterpret_cast<const void*>(kernel)] = value;
  return cudaSuccess;
}
template <class... Parameters>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void (*)(Parameters...), int threads,
                                                          size_t shared_bytes) {
  cudaDeviceProp p;
  if (threads < 1 || threads > p.maxThreadsPerBlock || shared_bytes > p.sharedMemPerBlockOptin)
    return cudaErrorInvalidValue;
  size_t by_shared = p.sharedMemPerMultiprocessor / (shared_bytes + 1024);
  *blocks = int(std::min<size_t>(by_shared, p.maxThreadsPerMultiProcessor / threads));
  return cudaSuccess;
}

namespace cuda_emulation {
// How many clusters are on the device at once.
template <class... Parameters>
cudaError_t most_clusters(int* clusters, void (*kernel)(Parameters...), int size, int threads, size_t shared_bytes) {
  int blocks = 0;
  cudaError_t error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, shared_bytes);
  if (error == cudaSuccess)
    *clusters = engine.compute_major < 9 || unsigned(size) > engine.largest_cluster
                    ? 0
                    : blocks * cudaDeviceProp().multiProcessorCount / size;
  return error;
}
}  // namespace cuda_emulation
