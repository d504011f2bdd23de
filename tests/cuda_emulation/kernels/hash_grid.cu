// SPDX-License-Identifier: Apache-2.0
// Trilinear hash grid with two features, one thread per point and level: gathers forward, scatters by atomics backward.
#include "kernels.cuh"

#ifndef BUG
#define BUG 0
#endif

namespace warphash::demo {
namespace {

struct Corner {
  unsigned slot;
  float weight;
};
__device__ __forceinline__ Corner corner_of(const float* point, int corner, int resolution, unsigned slots) {
  const unsigned prime[3] = {1u, 2654435761u, 805459861u};
  unsigned hash = 0;
  float weight = 1;
  for (int axis = 0; axis < 3; ++axis) {
    float x = point[axis] * resolution, low = floorf(x);
    int bit = corner >> axis & 1;
    hash ^= unsigned(int(low) + bit) * prime[axis];
    weight *= bit ? x - low : 1 - (x - low);
  }
  return {hash & (slots - 1), weight};
}

__global__ void forward_kernel(const float* __restrict__ points, const float2* __restrict__ table,
                               float2* __restrict__ y, int n, unsigned slots) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, level = blockIdx.y, levels = gridDim.y;
  if (i >= n) return;
  float2 sum = make_float2(0, 0);
  for (int c = 0; c < 8; ++c) {
    Corner corner = corner_of(points + 3 * i, c, 4 << level, slots);
    float2 feature = __ldg(table + size_t(level) * slots + corner.slot);
    sum.x = fmaf(corner.weight, feature.x, sum.x), sum.y = fmaf(corner.weight, feature.y, sum.y);
  }
  y[size_t(i) * levels + level] = sum;
}

__global__ void backward_kernel(const float* __restrict__ points, const float2* __restrict__ dy,
                                float* __restrict__ dtable, int n, unsigned slots) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, level = blockIdx.y, levels = gridDim.y;
  if (i >= n) return;
  float2 gradient = dy[size_t(i) * levels + level];
  for (int c = 0; c < 8; ++c) {
    Corner corner = corner_of(points + 3 * i, c, 4 << level, slots);
    float* to = dtable + 2 * (size_t(level) * slots + corner.slot);
#if BUG == 6  // a plain sum where an atomic is needed
    to[0] += corner.weight * gradient.x;
#else
    atomicAdd(to, corner.weight * gradient.x);
#endif
    atomicAdd(to + 1, corner.weight * gradient.y);
  }
}

}  // namespace

cudaError_t grid_forward(const float* points, const float* table, float* y, int n, int levels, unsigned slots,
                         cudaStream_t stream) {
  return launch(forward_kernel, dim3((n + 127) / 128, levels), 128, 0, stream, points,
                reinterpret_cast<const float2*>(table), reinterpret_cast<float2*>(y), n, slots);
}

cudaError_t grid_backward(const float* points, const float* dy, float* dtable, int n, int levels, unsigned slots,
                          cudaStream_t stream) {
  cudaError_t error = cudaMemsetAsync(dtable, 0, sizeof(float2) * levels * slots, stream);
  if (error != cudaSuccess) return error;
  return launch(backward_kernel, dim3((n + 127) / 128, levels), 128, 0, stream, points,
                reinterpret_cast<const float2*>(dy), dtable, n, slots);
}

}  // namespace warphash::demo
