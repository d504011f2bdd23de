// SPDX-License-Identifier: Apache-2.0
// Look-ups in many tables: the distinct items of a query's buckets, ascending. Counted first, then found once more and
// written: that costs less than keeping lists whose length is not known.
//
// Bound: latency of a code, two offsets and a run of items for each table, which a block's threads wait for together. A
// block has a query. Up to 2048 candidates are sorted in its shared memory. More are marked there as bits, a window of
// 131072 items after the other; buckets ascend, so a search finds what of them lies in a window, and windows in which
// nothing does are skipped.
#include "common/arena.cuh"
#include "common/scan.cuh"
#include "lsh/buckets/buckets.cuh"

namespace warphash::lsh {
namespace {

constexpr int threads = 128, warps = threads / 32;
#if defined(WARPHASH_CUDA_EMULATION)
constexpr int most_sorted = 64;  // so that tests see windows
constexpr int64_t most_blocks = 16;
#else
constexpr int most_sorted = 2048;
constexpr int64_t most_blocks = int64_t{1} << 30;
#endif
constexpr int window_words = most_sorted * 2;
constexpr int64_t window_items = int64_t{window_words} * 32;
constexpr unsigned all_lanes = 0xffffffffu;

using Entry = unsigned long long;
constexpr Entry no_entry = ~Entry(0);

struct Run {
  int64_t begin, count;  // within the table
};

// What a block shares.
struct Shared {
  Entry entries[most_sorted];  // or bits
  int64_t ends[threads];       // of the runs of a group of tables, one after the other
  int64_t begins[threads];     // in all tables' order
  int64_t warp_sums[warps];
  unsigned long long next;
};

__device__ __forceinline__ Run find_run(const Table& table, const int64_t* codes, int64_t queries, int64_t query,
                                        int64_t number) {
  if (number >= table.tables) return {0, 0};
  const int64_t code = __ldg(codes + number * queries + query);
  if (code < 0 || code >= table.buckets) return {0, 0};
  const int64_t* offsets = table.offsets + number * (table.buckets + 1) + code;
  const int64_t begin = min(max(__ldg(offsets), int64_t{0}), table.items);
  return {begin, min(max(__ldg(offsets + 1), begin), table.items) - begin};
}

// The sum of values up to and including the caller's; *total is that of all threads.
__device__ __forceinline__ int64_t block_sums(int64_t value, int64_t* warp_sums, int64_t* total) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int64_t left = __shfl_up_sync(all_lanes, value, step);
    if (lane >= step) value += left;
  }
  if (lane == 31) warp_sums[warp] = value;
  __syncthreads();
  int64_t sum = 0;
#pragma unroll
  for (int w = 0; w < warps; ++w) {
    if (w == warp) value += sum;
    sum += warp_sums[w];
  }
  *total = sum;
  __syncthreads();
  return value;
}

// Calls use(item, place) for the items of the threads' runs, each of a table from `first_table` on, all together.
template <class Use>
__device__ __forceinline__ void for_items(const Table& table, int64_t first_table, const Run& run, Shared& shared,
                                          const Use& use) {
  int64_t total;
  shared.ends[threadIdx.x] = block_sums(run.count, shared.warp_sums, &total);
  shared.begins[threadIdx.x] = (first_table + threadIdx.x) * table.items + run.begin;
  __syncthreads();
  const int runs = int(min(int64_t{threads}, table.tables - first_table));
  for (int64_t i = threadIdx.x; i < total; i += threads) {
    int low = 0, high = runs - 1;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (shared.ends[middle] > i)
        high = middle;
      else
        low = middle + 1;
    }
    use(table.order[shared.begins[low] + i - (low == 0 ? 0 : shared.ends[low - 1])], i);
  }
  __syncthreads();
}

// Sorted entries, of which `total` are candidates: how many are distinct, written to `out` where that is not null.
__device__ __forceinline__ int64_t take_distinct(const Shared& shared, int total, int64_t* warp_sums, int64_t* out) {
  int64_t taken = 0;
  for (int first = 0; first < total; first += threads) {
    const int i = first + int(threadIdx.x);
    const bool is_new = i < total && (i == 0 || shared.entries[i] != shared.entries[i - 1]);
    if (out == nullptr) {
      taken += __syncthreads_count(is_new);
    } else {
      int64_t sum;
      const int64_t place = taken + block_sums(is_new, warp_sums, &sum);
      if (is_new) out[place - 1] = int64_t(shared.entries[i]);
      taken += sum;
    }
  }
  return taken;
}

__device__ __forceinline__ void sort_entries(Entry* entries, int size) {
  for (int width = 2; width <= size; width *= 2)
    for (int stride = width / 2; stride > 0; stride /= 2) {
      for (int i = threadIdx.x; i < size / 2; i += threads) {
        const int low = 2 * i - (i & (stride - 1)), high = low + stride;
        const Entry a = entries[low], b = entries[high];
        if ((a > b) == ((low & width) == 0)) entries[low] = b, entries[high] = a;
      }
      __syncthreads();
    }
}

// How many of a run's items are below `item`, if they ascend.
__device__ __forceinline__ int64_t count_below(const int64_t* items, int64_t count, int64_t item) {
  int64_t low = 0, high = count;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (items[middle] < item)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

__device__ __forceinline__ int64_t take_windows(const Table& table, const int64_t* codes, int64_t queries,
                                                int64_t query, Shared& shared, int64_t* out) {
  unsigned* const bits = reinterpret_cast<unsigned*>(shared.entries);
  int64_t taken = 0, window = 0;
  while (window < table.items) {
    const int64_t window_end = window + window_items;
    for (int i = threadIdx.x; i < window_words; i += threads) bits[i] = 0;
    if (threadIdx.x == 0) shared.next = static_cast<unsigned long long>(table.items);
    __syncthreads();
    for (int64_t group = 0; group < table.tables; group += threads) {
      Run run = find_run(table, codes, queries, query, group + threadIdx.x);
      if (run.count > 0) {
        const int64_t* items = table.order + (group + threadIdx.x) * table.items + run.begin;
        const int64_t low = count_below(items, run.count, window);
        const int64_t high = low + count_below(items + low, run.count - low, window_end);
        // Where items do not ascend, as they should, the next window still comes after this one.
        if (high < run.count) atomicMin(&shared.next, static_cast<unsigned long long>(max(items[high], window_end)));
        run = {run.begin + low, high - low};
      }
      for_items(table, group, run, shared, [&](int64_t item, int64_t) {
        const unsigned long long bit = static_cast<unsigned long long>(item - window);
        if (bit < static_cast<unsigned long long>(window_items) && item < table.items)
          atomicOr(bits + bit / 32, 1u << (bit % 32));
      });
    }
    for (int first = 0; first < window_words; first += threads) {
      unsigned word = bits[first + threadIdx.x];
      int64_t sum;
      int64_t place = taken + block_sums(__popc(word), shared.warp_sums, &sum) - __popc(word);
      if (out != nullptr)
        for (; word != 0; word &= word - 1)
          out[place++] = window + 32 * (first + int64_t(threadIdx.x)) + __ffs(int(word)) - 1;
      taken += sum;
    }
    window = int64_t(shared.next);
    __syncthreads();
  }
  return taken;
}

// Counts go to row_starts[query + 1]; or candidates to where its row starts.
template <bool writes>
__global__ void __launch_bounds__(threads) look_up(const Table table, const int64_t* __restrict__ codes,
                                                   const int64_t queries, int64_t* row_starts, int64_t* candidates) {
  static_assert(window_words % threads == 0);
  __shared__ Shared shared;
  if (!writes && blockIdx.x == 0 && threadIdx.x == 0) row_starts[0] = 0;
  for (int64_t query = blockIdx.x; query < queries; query += gridDim.x) {
    int64_t* const out = writes ? candidates + row_starts[query] : nullptr;
    int64_t total = 0;
    for (int64_t group = 0; group < table.tables; group += threads) {
      int64_t sum;
      block_sums(find_run(table, codes, queries, query, group + threadIdx.x).count, shared.warp_sums, &sum);
      total += sum;
    }
    int64_t taken;
    if (total <= most_sorted) {
      int64_t filled = 0;
      for (int64_t group = 0; group < table.tables; group += threads) {
        const Run run = find_run(table, codes, queries, query, group + threadIdx.x);
        for_items(table, group, run, shared,
                  [&](int64_t item, int64_t place) { shared.entries[filled + place] = Entry(item); });
        filled += shared.ends[threads - 1];
        __syncthreads();
      }
      int size = 1;
      while (size < total) size *= 2;
      for (int i = int(total) + int(threadIdx.x); i < size; i += threads) shared.entries[i] = no_entry;
      __syncthreads();
      sort_entries(shared.entries, size);
      taken = take_distinct(shared, int(total), shared.warp_sums, out);
    } else {
      taken = take_windows(table, codes, queries, query, shared, out);
    }
    if (!writes && threadIdx.x == 0) row_starts[query + 1] = taken;
    __syncthreads();
  }
}

template <bool writes>
cudaError_t launch_look_up(const Table& table, const int64_t* codes, int64_t queries, int64_t* row_starts,
                           int64_t* candidates, cudaStream_t stream) {
  return launch(look_up<writes>, dim3(static_cast<unsigned>(clamp(queries, 1, most_blocks))), dim3(threads), 0, stream,
                table, codes, queries, row_starts, candidates);
}

}  // namespace

size_t bucket_query_workspace(int64_t queries) { return running_sums_workspace(queries); }

cudaError_t bucket_query_count(const Table& table, const int64_t* codes, int64_t queries, void* workspace,
                               int64_t* row_starts, cudaStream_t stream) {
  const cudaError_t error = launch_look_up<false>(table, codes, queries, row_starts, nullptr, stream);
  return error == cudaSuccess ? running_sums(row_starts + 1, queries, workspace, stream) : error;
}

cudaError_t bucket_query_fill(const Table& table, const int64_t* codes, int64_t queries, const int64_t* row_starts,
                              int64_t* candidates, cudaStream_t stream) {
  if (queries == 0) return cudaSuccess;
  return launch_look_up<true>(table, codes, queries, const_cast<int64_t*>(row_starts), candidates, stream);
}

}  // namespace warphash::lsh
