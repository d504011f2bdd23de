// SPDX-License-Identifier: Apache-2.0
// Running sums in three steps: the sum of each tile, the running sums of those by the same steps, each tile's own from
// there. Bound: memory, 24 bytes a value. Counts are few beside what is counted, so a look-back in one pass, which would
// save a third, is not worth its waiting.
#include "common/arena.cuh"
#include "common/scan.cuh"

namespace warphash {
namespace {

constexpr int threads = 256, warps = threads / 32;
#if defined(WARPHASH_CUDA_EMULATION)
constexpr int own_values = 2;  // so that tests see several levels of tiles
#else
constexpr int own_values = 8;
#endif
constexpr int64_t tile = int64_t{threads} * own_values;

// Tile b adds sums[b - 1] to its running sums; or, if it only counts, writes their last one to sums[b].
template <bool only_counts>
__global__ void __launch_bounds__(threads) sum_tiles(int64_t* values, const int64_t count, int64_t* sums) {
  __shared__ int64_t warp_sums[warps];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t first = int64_t(blockIdx.x) * tile + warp * (32 * own_values) + lane;
  int64_t own[own_values], sum = 0;
#pragma unroll
  for (int i = 0; i < own_values; ++i) own[i] = first + 32 * i < count ? values[first + 32 * i] : 0;
#pragma unroll
  for (int i = 0; i < own_values; ++i) {
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const int64_t left = __shfl_up_sync(~0u, own[i], step);
      if (lane >= step) own[i] += left;
    }
    own[i] += sum;
    sum = __shfl_sync(~0u, own[i], 31);
  }
  if (lane == 0) warp_sums[warp] = sum;
  __syncthreads();
  int64_t before = 0;
  for (int w = 0; w < warp; ++w) before += warp_sums[w];
  if constexpr (only_counts) {
    if (threadIdx.x == threads - 1) sums[blockIdx.x] = before + sum;
  } else {
    if (sums != nullptr && blockIdx.x > 0) before += sums[blockIdx.x - 1];
#pragma unroll
    for (int i = 0; i < own_values; ++i)
      if (first + 32 * i < count) values[first + 32 * i] = before + own[i];
  }
}

cudaError_t sum_level(int64_t* values, int64_t count, Arena& arena, cudaStream_t stream) {
  const int64_t tiles = ceil_divide(count, tile);
  if (tiles > 0x7fffffff) return cudaErrorInvalidValue;
  const dim3 grid(static_cast<unsigned>(tiles));
  int64_t* sums = nullptr;
  if (tiles > 1) {
    sums = arena.take<int64_t>(tiles);
    cudaError_t error = launch(sum_tiles<true>, grid, dim3(threads), 0, stream, values, count, sums);
    if (error == cudaSuccess) error = sum_level(sums, tiles, arena, stream);
    if (error != cudaSuccess) return error;
  }
  return launch(sum_tiles<false>, grid, dim3(threads), 0, stream, values, count, sums);
}

}  // namespace

size_t running_sums_workspace(int64_t count) {
  Arena arena(nullptr);
  for (int64_t tiles = ceil_divide(count, tile); tiles > 1; tiles = ceil_divide(tiles, tile))
    arena.take<int64_t>(tiles);
  return arena.used();
}

cudaError_t running_sums(int64_t* values, int64_t count, void* workspace, cudaStream_t stream) {
  if (count <= 0) return cudaSuccess;
  Arena arena(workspace);
  return sum_level(values, count, arena, stream);
}

}  // namespace warphash
