// SPDX-License-Identifier: Apache-2.0
// Pairs of equal keys, and how large buckets are, from sorted columns of keys. Bound: the sorts before and after (torch's);
// these kernels read 16 bytes a key and write 8 a pair.
//
// A key's bucket is found by strides that double, from the key itself: nearly all buckets are small, and a large one costs
// a logarithm. Each key counts the pairs that it is the later one of; a thread then has one pair, whose key it finds by
// search in the running sums, so that large buckets are shared by as many threads as they have pairs.
#include "common/arena.cuh"
#include "common/scan.cuh"
#include "lsh/pairs/pairs.cuh"

namespace warphash::lsh {
namespace {

constexpr int threads = 256, block_pairs = 1024;
constexpr int own_sizes = 256;  // sizes below are counted in shared memory first
constexpr unsigned all_lanes = 0xffffffffu;
#if defined(WARPHASH_CUDA_EMULATION)
constexpr int64_t most_blocks = 3;
#else
constexpr int64_t most_blocks = int64_t{1} << 20;
#endif

dim3 blocks_for(int64_t count, int64_t each) {
  return dim3(static_cast<unsigned>(clamp(ceil_divide(count, each), 1, most_blocks)));
}

// The first of the equal keys of which `at` is one.
__device__ __forceinline__ int64_t first_equal(const int64_t* keys, int64_t at) {
  const int64_t key = keys[at];
  int64_t step = 1;
  while (step <= at && __ldg(keys + at - step) == key) at -= step, step *= 2;
  for (; step > 0; step /= 2)
    if (step <= at && __ldg(keys + at - step) == key) at -= step;
  return at;
}
__device__ __forceinline__ int64_t last_equal(const int64_t* keys, int64_t count, int64_t at) {
  const int64_t key = keys[at];
  int64_t step = 1;
  while (step < count - at && __ldg(keys + at + step) == key) at += step, step *= 2;
  for (; step > 0; step /= 2)
    if (step < count - at && __ldg(keys + at + step) == key) at += step;
  return at;
}

__global__ void __launch_bounds__(threads)
    count_members(const SortedKeys sorted, const int64_t max_bucket, const PairMode mode, int64_t* counts) {
  const int64_t all = sorted.columns * sorted.count;
  for (int64_t p = int64_t(blockIdx.x) * threads + threadIdx.x; p < all; p += int64_t(gridDim.x) * threads) {
    const int64_t at = p % sorted.count;
    const int64_t* const keys = sorted.keys + (p - at);
    const int64_t key = keys[at];
    int64_t own = 0;
    if (key != -1) {
      const int64_t first = first_equal(keys, at);
      const bool is_skipped = max_bucket >= 0 && max_bucket < sorted.count - first && keys[first + max_bucket] == key;
      if (!is_skipped) own = mode == PairMode::all ? at - first : at > first;
    }
    counts[p] = own;
  }
}

// The first in [low, high) of rising `ends` that is above `value`; high if none is.
__device__ __forceinline__ int64_t first_above(const int64_t* ends, int64_t value, int64_t low, int64_t high) {
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (ends[middle] > value)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

// A block has a run of pairs, whose keys it finds first.
__global__ void __launch_bounds__(threads)
    fill_pairs(const SortedKeys sorted, const PairMode mode, const int64_t* __restrict__ ends, const int64_t count,
               int64_t* pairs) {
  __shared__ int64_t range[2];
  const int64_t all = sorted.columns * sorted.count;
  for (int64_t first = int64_t(blockIdx.x) * block_pairs; first < count; first += int64_t(gridDim.x) * block_pairs) {
    const int64_t end = min(first + block_pairs, count);
    if (threadIdx.x < 2) range[threadIdx.x] = first_above(ends, threadIdx.x == 0 ? first : end - 1, 0, all);
    __syncthreads();
    for (int64_t pair = first + threadIdx.x; pair < end; pair += threads) {
      const int64_t p = first_above(ends, pair, range[0], range[1]);
      const int64_t at = p % sorted.count, column = p - at;
      // All: of the later one's pairs, the last is with the key just before it.
      const int64_t other = mode == PairMode::all ? at - (ends[p] - pair) : first_equal(sorted.keys + column, at);
      const int64_t a = sorted.items[column + other], b = sorted.items[p];
      pairs[pair] = min(a, b) << 32 | max(a, b);
    }
    __syncthreads();
  }
}

__global__ void __launch_bounds__(threads)
    mark_first(const int64_t* __restrict__ pairs, const int64_t count, int64_t* marks) {
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < count; i += int64_t(gridDim.x) * threads)
    marks[i] = i == 0 || pairs[i] != pairs[i - 1];
}

__global__ void __launch_bounds__(threads)
    fill_distinct(const int64_t* __restrict__ pairs, const int64_t* __restrict__ numbers, const int64_t count,
                  int64_t* out) {
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < count; i += int64_t(gridDim.x) * threads) {
    const int64_t number = numbers[i];
    if (i > 0 && numbers[i - 1] == number) continue;
    out[2 * number - 2] = pairs[i] >> 32;
    out[2 * number - 1] = pairs[i] & 0xffffffff;
  }
}

// sizes [sorted.count + 2], zeros.
__global__ void __launch_bounds__(threads) add_sizes(const SortedKeys sorted, unsigned long long* sizes) {
  __shared__ unsigned own[own_sizes];
  __shared__ unsigned long long largest;
  for (int i = threadIdx.x; i < own_sizes; i += threads) own[i] = 0;
  if (threadIdx.x == 0) largest = 0;
  __syncthreads();
  const int64_t all = sorted.columns * sorted.count;
  unsigned long long own_largest = 0;
  for (int64_t start = int64_t(blockIdx.x) * threads; start < all; start += int64_t(gridDim.x) * threads) {
    const int64_t p = start + threadIdx.x;
    int64_t size = 0;
    if (p < all) {
      const int64_t at = p % sorted.count;
      const int64_t* const keys = sorted.keys + (p - at);
      if (keys[at] != -1 && (at == 0 || keys[at - 1] != keys[at])) size = last_equal(keys, sorted.count, at) - at + 1;
    }
    // Most are alone: a warp adds those at once.
    const unsigned alone = __ballot_sync(all_lanes, size == 1);
    if (alone != 0 && threadIdx.x % 32 == 0) atomicAdd(own + 1, unsigned(__popc(alone)));
    if (size > 1 && size < own_sizes) atomicAdd(own + size, 1u);
    if (size >= own_sizes) atomicAdd(sizes + size, 1ull);
    own_largest = max(own_largest, static_cast<unsigned long long>(size));
  }
  atomicMax(&largest, own_largest);
  __syncthreads();
  for (int i = threadIdx.x; i < own_sizes; i += threads)
    if (own[i] != 0) atomicAdd(sizes + i, static_cast<unsigned long long>(own[i]));
  if (threadIdx.x == 0 && largest > 0) atomicMax(sizes + sorted.count + 1, largest);
}

}  // namespace

size_t pairs_workspace(int64_t count) { return running_sums_workspace(count); }

cudaError_t count_pairs(const SortedKeys& sorted, int64_t max_bucket, PairMode mode, void* workspace, int64_t* ends,
                        cudaStream_t stream) {
  if (sorted.all() == 0) return cudaSuccess;
  const cudaError_t error = launch(count_members, blocks_for(sorted.all(), threads), dim3(threads), 0, stream, sorted,
                                   max_bucket, mode, ends);
  return error == cudaSuccess ? running_sums(ends, sorted.all(), workspace, stream) : error;
}

cudaError_t write_pairs(const SortedKeys& sorted, PairMode mode, const int64_t* ends, int64_t count, int64_t* pairs,
                        cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  return launch(fill_pairs, blocks_for(count, block_pairs), dim3(threads), 0, stream, sorted, mode, ends, count, pairs);
}

cudaError_t number_distinct(const int64_t* pairs, int64_t count, void* workspace, int64_t* numbers,
                            cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  const cudaError_t error =
      launch(mark_first, blocks_for(count, threads), dim3(threads), 0, stream, pairs, count, numbers);
  return error == cudaSuccess ? running_sums(numbers, count, workspace, stream) : error;
}

cudaError_t write_distinct(const int64_t* pairs, const int64_t* numbers, int64_t count, int64_t* out,
                           cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  return launch(fill_distinct, blocks_for(count, threads), dim3(threads), 0, stream, pairs, numbers, count, out);
}

cudaError_t count_sizes(const SortedKeys& sorted, int64_t* sizes, cudaStream_t stream) {
  const size_t bytes = static_cast<size_t>(sorted.count + 2) * sizeof(int64_t);
  const cudaError_t error = cudaMemsetAsync(sizes, 0, bytes, stream);
  if (error != cudaSuccess || sorted.all() == 0) return error;
  // Few blocks, since each adds up its own counts at the end.
  const int64_t blocks = clamp(ceil_divide(sorted.all(), 16 * threads), 1, most_blocks);
  return launch(add_sizes, dim3(static_cast<unsigned>(blocks)), dim3(threads), 0, stream, sorted,
                reinterpret_cast<unsigned long long*>(sizes));
}

}  // namespace warphash::lsh
