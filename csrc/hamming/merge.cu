// SPDX-License-Identifier: Apache-2.0
// The k best of each query out of its splits' lists. Bound: latency, of reading splits * k entries by one block a
// query; so each thread has 8 loads in flight. The scans leave a bound on the k-th key behind, which turns most entries
// away.
//
// Lists are sorted and their splits follow one another in the database: (key, split, position in the list) orders as
// (key, index) does, and fits 64 bits whatever the index.
#include "hamming/lists.cuh"

namespace warphash::hamming {
namespace {

constexpr int threads = 256, loads = 8, room = 4096;
static_assert(room >= one_pass_k + threads * loads);

__global__ void __launch_bounds__(threads)
    merge(const Lists lists, const Metric metric, unsigned* __restrict__ values, int64_t* __restrict__ indices) {
  __shared__ Entry best[room];
  __shared__ Entry limit;
  __shared__ int count;
  const int64_t query = blockIdx.x;
  const int k = lists.k, slots = lists.splits * k;
  auto shorten = [&] {  // all threads, behind a barrier; another one follows
    const int size = power_of_two_from(count);
    for (int i = count + threadIdx.x; i < size; i += threads) best[i] = no_entry;
    __syncthreads();
    sort_entries(best, size, threadIdx.x, threads, [] { __syncthreads(); });
    if (threadIdx.x == 0 && count >= k) count = k, limit = best[k - 1];
  };
  if (threadIdx.x == 0) count = 0, limit = Entry(lists.key_limits[query]) << 32 | 0xffffffffu;
  __syncthreads();
  for (int first = 0; first < slots; first += threads * loads) {
    Entry candidates[loads];
#pragma unroll
    for (int i = 0; i < loads; ++i) {
      const int slot = first + i * threads + int(threadIdx.x), split = slot / k;
      candidates[i] = no_entry;
      if (slot < slots && slot % k < int(lists.counts[query * lists.splits + split]))
        candidates[i] = (lists.list(query, split)[slot % k] & ~Entry(0xffffffffu)) | unsigned(slot);
    }
    bool full = false;
    const Entry bound = limit;
#pragma unroll
    for (int i = 0; i < loads; ++i)
      if (candidates[i] != no_entry && candidates[i] <= bound) {
        const int position = atomicAdd(&count, 1);
        best[position] = candidates[i];
        full |= position + 1 > room - threads * loads;
      }
    if (__syncthreads_or(full)) {
      shorten();
      __syncthreads();
    }
  }
  shorten();
  __syncthreads();
  for (int i = threadIdx.x; i < k; i += threads) {
    unsigned key = rejected;
    int64_t index = -1;
    if (i < count) {
      const int slot = int(unsigned(best[i])), split = slot / k;
      key = unsigned(best[i] >> 32);
      index = split * lists.split_codes + unsigned(lists.list(query, split)[slot % k]);
    }
    values[query * k + i] = value_bits(metric, key);
    indices[query * k + i] = index;
  }
}

}  // namespace

cudaError_t merge_lists(Metric metric, const Lists& lists, int64_t query_count, void* values, int64_t* indices,
                        cudaStream_t stream) {
  return launch(merge, dim3(unsigned(query_count)), dim3(threads), 0, stream, lists, metric,
                static_cast<unsigned*>(values), indices);
}

}  // namespace warphash::hamming
