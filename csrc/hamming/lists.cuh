// SPDX-License-Identifier: Apache-2.0
// Lists of the best entries seen, one a (query, split of the database), in global memory. An entry is a key and, in its
// low half, the code's place within the split, so that entries order as (key, index) do and no two are equal.
//
// Scans append whatever beats the list's limit; when a list is nearly full a warp sorts it in its shared scratch and
// keeps the k best. Appending costs one comparison a pair; of random keys only about k * ln(n / k) get through. The
// order in which entries arrive changes nothing.
#pragma once

#include "hamming/keys.cuh"

namespace warphash::hamming {

using Entry = unsigned long long;
constexpr Entry no_entry = ~Entry(0);
constexpr unsigned all_lanes = 0xffffffffu;

struct Lists {
  Entry* entries;    // [query_count, splits, capacity]
  unsigned* counts;  // [query_count, splits], written at the end; the entries are sorted then
  unsigned*
      key_limits;       // [query_count]: no better known bound on the k-th best key of all splits; larger keys are lost
  int64_t split_codes;  // < 2^32
  int splits, k, capacity;

  __device__ __forceinline__ Entry* list(int64_t query, int split) const {
    return entries + (query * splits + split) * capacity;
  }
};

__host__ __device__ constexpr int power_of_two_from(int n) {
  int power = 32;
  while (power < n) power *= 2;
  return power;
}

// Bitonic sort of `size` entries, a power of two, by `threads` threads of which the caller is `thread`.
template <class Barrier>
__device__ __forceinline__ void sort_entries(Entry* entries, int size, int thread, int threads,
                                             const Barrier& barrier) {
  for (int width = 2; width <= size; width *= 2)
    for (int stride = width / 2; stride > 0; stride /= 2) {
      for (int i = thread; i < size / 2; i += threads) {
        const int low = 2 * i - (i & (stride - 1)), high = low + stride;
        const Entry a = entries[low], b = entries[high];
        if ((a > b) == ((low & width) == 0)) entries[low] = b, entries[high] = a;
      }
      barrier();
    }
}

// By a whole warp: sorts the list's count entries and keeps the k best. Returns how many are left; *limit becomes the
// k-th, which later entries must beat. scratch: capacity entries of shared memory, the warp's own.
__device__ __forceinline__ int keep_best(Entry* list, int count, int k, Entry* scratch, Entry* limit) {
  const int lane = threadIdx.x % 32, size = power_of_two_from(count);
  __syncwarp();
  for (int i = lane; i < size; i += 32) scratch[i] = i < count ? list[i] : no_entry;
  __syncwarp();
  sort_entries(scratch, size, lane, 32, [] { __syncwarp(); });
  const int kept = count < k ? count : k;
  for (int i = lane; i < kept; i += 32) list[i] = scratch[i];
  *limit = kept == k ? scratch[k - 1] : no_entry;
  __syncwarp();
  return kept;
}

// Launchers of the parts of topk(); search, lists and results hold a batch of queries.
int scan_capacity(int k);
cudaError_t scan_topk(Metric metric, Algorithm algorithm, const Search& search, int alignment, const Lists& lists,
                      cudaStream_t stream);
int mma_capacity(int k);
cudaError_t mma_topk(Metric metric, Algorithm algorithm, const Search& search, int alignment, const Lists& lists,
                     cudaStream_t stream);
cudaError_t wgmma_topk(Metric metric, Algorithm algorithm, const Search& search, int alignment, const Lists& lists,
                       cudaStream_t stream);
cudaError_t merge_lists(Metric metric, const Lists& lists, int64_t query_count, void* values, int64_t* indices,
                        cudaStream_t stream);

}  // namespace warphash::hamming
