// SPDX-License-Identifier: Apache-2.0
// Connected components by union and find. Bound: latency of the walks to a root, hidden by many pairs at once.
//
// Every item points to a smaller one of its component, or to itself: it is a root then. A pair's larger root is made to
// point to its smaller one by compare-and-swap, which fails only where another pair has done so with the same root; the
// walk goes on from there. So one pass over the pairs does, nobody waits for anybody, and the last root of a component is
// its smallest member, whatever the order. Walks shorten the paths that they take; what a walk reads may be old, but is an
// item that the true root can be reached from.
#include "common/arena.cuh"
#include "lsh/pairs/pairs.cuh"

namespace warphash::lsh {
namespace {

constexpr int threads = 256;
#if defined(WARPHASH_CUDA_EMULATION)
constexpr int64_t most_blocks = 3;
#else
constexpr int64_t most_blocks = int64_t{1} << 20;
#endif

using Item = unsigned long long;

dim3 blocks_for(int64_t count) {
  return dim3(static_cast<unsigned>(clamp(ceil_divide(count, threads), 1, most_blocks)));
}

__global__ void __launch_bounds__(threads) separate(Item* parents, const int64_t items) {
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < items; i += int64_t(gridDim.x) * threads)
    parents[i] = Item(i);
}

__device__ __forceinline__ Item find_root(Item* parents, Item item) {
  for (;;) {
    const Item parent = load_relaxed(parents + item);
    if (parent == item) return item;
    const Item next = load_relaxed(parents + parent);
    if (next == parent) return parent;
    store_relaxed(parents + item, next);
    item = next;
  }
}

__global__ void __launch_bounds__(threads)
    join(const int64_t* __restrict__ pairs, const int64_t count, const int64_t items, Item* parents) {
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < count; i += int64_t(gridDim.x) * threads) {
    Item a = Item(__ldg(pairs + 2 * i)), b = Item(__ldg(pairs + 2 * i + 1));
    if (a >= Item(items) || b >= Item(items)) continue;
    for (;;) {
      a = find_root(parents, a), b = find_root(parents, b);
      if (a == b) break;
      const Item larger = max(a, b);
      a = min(a, b);
      b = atomicCAS(parents + larger, larger, a);
      if (b == larger) break;
    }
  }
}

__global__ void __launch_bounds__(threads)
    label(const Item* __restrict__ parents, const int64_t items, int64_t* labels) {
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < items; i += int64_t(gridDim.x) * threads) {
    Item root = Item(i);
    for (Item parent = __ldg(parents + root); parent != root; parent = __ldg(parents + root)) root = parent;
    labels[i] = int64_t(root);
  }
}

}  // namespace

size_t connected_components_workspace(int64_t items) { return static_cast<size_t>(items) * sizeof(Item); }

cudaError_t connected_components(const int64_t* pairs, int64_t count, int64_t items, void* workspace, int64_t* labels,
                                 cudaStream_t stream) {
  if (items == 0) return cudaSuccess;
  Item* const parents = static_cast<Item*>(workspace);
  cudaError_t error = launch(separate, blocks_for(items), dim3(threads), 0, stream, parents, items);
  if (error == cudaSuccess && count > 0)
    error = launch(join, blocks_for(count), dim3(threads), 0, stream, pairs, count, items, parents);
  if (error != cudaSuccess) return error;
  return launch(label, blocks_for(items), dim3(threads), 0, stream, parents, items, labels);
}

}  // namespace warphash::lsh
