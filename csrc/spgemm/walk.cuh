// SPDX-License-Identifier: Apache-2.0
// How a group of threads, a warp or a block, walks the products of a row together, and how it adds them up in their order.
//
// The group takes as many entries of A at once as it has threads and lays the rows of B that they name end to end: each
// thread then has a product, however short the rows are. Products of the same sum may meet in such a step; they are added
// in the order of A's columns, so that the sum has the bits of the CPU's: of those that want a slot (a few sums share one)
// the first one gets it, the others come in the next turn. Where all products of a step are of one entry of A, their
// columns differ and one turn does.
#pragma once

#include "spgemm/rows.cuh"

namespace warphash::spgemm {
namespace {

#if defined(WARPHASH_CUDA_EMULATION)
constexpr int block_threads = 64;
#else
constexpr int block_threads = 512;
#endif
constexpr int most_group = 512;

template <int threads>
struct Group {
  static constexpr int size = threads, warps = threads / 32;
  static_assert(threads % 32 == 0 && threads <= most_group);

  static __device__ __forceinline__ int rank() { return threadIdx.x % size; }
  static __device__ __forceinline__ void sync() {
    if constexpr (size == 32)
      __syncwarp();
    else
      __syncthreads();
  }
  // Also a barrier.
  static __device__ __forceinline__ bool any(bool own) {
    if constexpr (size == 32) {
      __syncwarp();
      return __any_sync(all_lanes, own) != 0;
    } else {
      return __syncthreads_or(own) != 0;
    }
  }
  // The sum over the threads up to the caller. sums [warps] is shared; a barrier comes before it is used again.
  template <class Number>
  static __device__ __forceinline__ Number running_sum(Number sum, Number* sums) {
    const int lane = threadIdx.x % 32, warp = rank() / 32;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const Number left = __shfl_up_sync(all_lanes, sum, step);
      if (lane >= step) sum += left;
    }
    if constexpr (size > 32) {
      if (lane == 31) sums[warp] = sum;
      __syncthreads();
      for (int w = 0; w < warp; ++w) sum += sums[w];
    }
    return sum;
  }
};
using Warp = Group<32>;
using Block = Group<block_threads>;

// Shared, one a group: the entries of A that it is at.
template <int size>
struct Chunk {
  int64_t ends[size];     // running sums of the lengths of their rows of B
  int64_t offsets[size];  // product q of the chunk is B's entry offsets[its entry of A] + q
  int64_t sums[size / 32];
};

// Product of a[entry] and b[at]. All threads of the group get one at the same time; those that are not active do nothing
// but take part in barriers.
struct Product {
  int64_t entry, at, number;  // number: which one of the walk
  int32_t column;
  bool active;
  bool alone;  // the group's products are all of one entry of A
};

// Calls visit(product) in the order of A's columns for the products of a row whose columns are in [low, high).
template <class Group, class Visit>
__device__ __forceinline__ void for_products(Chunk<Group::size>& chunk, const Pattern& a, const Pattern& b, int64_t row,
                                             int32_t low, int32_t high, const Visit& visit) {
  const Range entries = row_range(a, row);
  const int rank = Group::rank();
  int64_t before = 0;
  for (int64_t first = entries.begin; first < entries.end; first += Group::size) {
    Range part{0, 0};
    if (first + rank < entries.end) part = row_range(b, __ldg(a.col + first + rank), low, high);
    const int64_t length = part.end - part.begin, end = Group::running_sum(length, chunk.sums);
    chunk.ends[rank] = end, chunk.offsets[rank] = part.begin - (end - length);
    Group::sync();
    const int64_t all = chunk.ends[Group::size - 1];
    for (int64_t step = 0; step < all; step += Group::size) {
      const int64_t q = min(step + rank, all - 1);
      int entry = 0, high_entry = Group::size - 1;  // the first whose end is above q
      while (entry < high_entry) {
        const int middle = (entry + high_entry) / 2;
        if (chunk.ends[middle] <= q)
          entry = middle + 1;
        else
          high_entry = middle;
      }
      const int64_t begin = entry == 0 ? 0 : chunk.ends[entry - 1];
      Product product{};
      product.entry = first + entry, product.at = chunk.offsets[entry] + q, product.number = before + q;
      product.column = __ldg(b.col + product.at);
      product.active = step + rank < all && product.column >= low && product.column < high;
      product.alone = begin <= step && chunk.ends[entry] >= min(step + Group::size, all);
      visit(product);
    }
    before += all;
    Group::sync();
  }
}

// Turns of a group. claims [slots], shared; begin() before the first use.
template <class Group>
struct Turns {
  static constexpr int slots = 4 * Group::size;
#if defined(WARPHASH_CUDA_EMULATION)
  static constexpr unsigned most = 5;  // so that tests see slots cleared again
#else
  static constexpr unsigned most = (~0u / most_group) - 1;
#endif

  unsigned* claims;
  unsigned left;

  __device__ __forceinline__ void begin() {
    for (int i = Group::rank(); i < slots; i += Group::size) claims[i] = ~0u;
    left = most;
    Group::sync();
  }
  // Calls add() in the threads whose place is not negative: those with equal places one after the other, in the order of
  // their ranks. alone: all places are different. All threads call it, and find what was added when it returns.
  template <class Add>
  __device__ __forceinline__ void in_order(int place, bool alone, const Add& add) {
    if (alone) {
      if (place >= 0) add();
      Group::sync();
      return;
    }
    bool waiting = place >= 0;
    while (Group::any(waiting)) {
      if (left == 0) begin();
      --left;  // claims of earlier turns are larger: none needs to be taken back
      unsigned* const slot = claims + (waiting ? place % slots : 0);
      const unsigned claim = left * most_group + Group::rank();
      if (waiting) atomicMin(slot, claim);
      Group::sync();
      if (waiting && *slot == claim) {
        add();
        waiting = false;
      }
    }
  }
};

}  // namespace
}  // namespace warphash::spgemm
