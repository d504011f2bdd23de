// SPDX-License-Identifier: Apache-2.0
// Top-k for few queries, on the ordinary cores.
//
// Bound, up to 4 queries: reading the database once (one query's popcs take 1/4 of that time on an H200). So each
// lane has several codes' 16-byte loads in flight, and the database is split over as many warps as the device holds at
// once. From 5 queries on: popc, 16 a clock and multiprocessor. So 8 queries share each load, and carry-save adders
// turn four popcs into one. Asymmetric scores are bound by table look-ups, one a nibble and query; 16 sums lie side by
// side, so that a warp's look-ups fall into 64 bytes.
//
// Every warp owns a stretch of the database and a list a query; nothing is shared in a block, so nothing waits.
#include "hamming/lists.cuh"

namespace warphash::hamming {
namespace {

constexpr int warps = 8;

// What a warp keeps a query, in shared memory: the k-th best entry so far and how long the list is.
struct State {
  Entry limit;
  int count;
};

template <Metric metric, int queries, int codes, int alignment>
__global__ void __launch_bounds__(32 * warps, 2) scan(const Search search, const Lists lists, const int blocks_a_tile) {
  __shared__ State states[warps][queries];
  DYNAMIC_SHARED(Entry, scratches);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t first_query = int64_t(blockIdx.x / blocks_a_tile) * queries;
  const int split = int(blockIdx.x % blocks_a_tile) * warps + warp;
  if (split >= lists.splits) return;
  Entry* const scratch = scratches + warp * lists.capacity;
  State* const state = states[warp];
  const int64_t begin = split * lists.split_codes;
  int64_t end = begin + lists.split_codes;
  if (end > search.database_count) end = search.database_count;

  // What keys must not exceed: a bound from this warp's list, or from another's that has got further.
  unsigned key_limits[queries];
  auto refresh = [&](bool first) {
#pragma unroll
    for (int q = 0; q < queries; ++q) {
      key_limits[q] = rejected - 1;
      if (first_query + q < search.query_count) {
        const unsigned common = load_acquire(lists.key_limits + first_query + q);
        const unsigned own = first ? rejected : unsigned(state[q].limit >> 32);
        key_limits[q] = min(key_limits[q], min(common, own));
      }
    }
  };
  auto shorten = [&](int q) {
    Entry limit;
    const int kept = keep_best(lists.list(first_query + q, split), state[q].count, lists.k, scratch, &limit);
    if (lane == 0) {
      state[q] = {limit, kept};
      if (limit != no_entry) atomicMin(lists.key_limits + first_query + q, unsigned(limit >> 32));
    }
    __syncwarp();
  };
  if (lane < queries) state[lane] = {no_entry, 0};
  __syncwarp();
  refresh(true);

  for (int64_t first = begin; first < end; first += 32 * codes) {
    int64_t index[codes];
#pragma unroll
    for (int c = 0; c < codes; ++c) index[c] = min(first + 32 * c + lane, end - 1);
    unsigned keys[queries][codes];
    compute_keys<metric, queries, codes, alignment>(search, first_query, index, keys);
    bool passes = false;
#pragma unroll
    for (int q = 0; q < queries; ++q)
#pragma unroll
      for (int c = 0; c < codes; ++c) passes |= keys[q][c] <= key_limits[q];
    if (!__any_sync(all_lanes, passes)) continue;

    bool full = false;
#pragma unroll
    for (int q = 0; q < queries; ++q) {
      const int64_t query = first_query + q;
      if (query >= search.query_count) continue;
      const Entry limit = state[q].limit;
      int count = state[q].count;
#pragma unroll
      for (int c = 0; c < codes; ++c) {
        const int64_t place = first + 32 * c + lane;
        const Entry entry = Entry(keys[q][c]) << 32 | unsigned(place - begin);
        const bool taken =
            place < end && keys[q][c] <= key_limits[q] && entry < limit && search.allowed(query, index[c]);
        const unsigned takers = __ballot_sync(all_lanes, taken);
        if (taken) lists.list(query, split)[count + __popc(takers & ((1u << lane) - 1))] = entry;
        count += __popc(takers);
      }
      __syncwarp();
      if (lane == 0) state[q].count = count;
      full |= count > lists.capacity - 32 * codes;
    }
    __syncwarp();
    if (!full) continue;
    for (int q = 0; q < queries; ++q)
      if (first_query + q < search.query_count && state[q].count > lists.capacity - 32 * codes) shorten(q);
    refresh(false);
  }
  for (int q = 0; q < queries && first_query + q < search.query_count; ++q) {
    shorten(q);
    if (lane == 0) lists.counts[(first_query + q) * lists.splits + split] = unsigned(state[q].count);
  }
}

// Queries and codes a thread. Few queries: more codes, for more loads in flight.
struct Shape {
  int queries, codes;
};
Shape shape_of(Metric metric, Algorithm algorithm, int64_t query_count) {
  if (metric == Metric::score) return algorithm == Algorithm::stream ? Shape{1, 2} : Shape{4, 1};
  if (algorithm == Algorithm::tile) return {8, 1};
  return query_count == 1 ? Shape{1, 4} : Shape{4, 2};
}

template <Metric metric, int queries, int codes>
cudaError_t launch_scan(const Search& search, int alignment, const Lists& lists, cudaStream_t stream) {
  const int64_t tiles = (search.query_count + queries - 1) / queries;
  const int blocks_a_tile = (lists.splits + warps - 1) / warps;
  const size_t shared_bytes = size_t(warps) * lists.capacity * sizeof(Entry);
  return with_alignment<16, 8, 4, 1>(alignment, [&](auto constant) {
    constexpr int alignment_known = constant.value;
    // Single bytes are slow whatever is done about it; then at least the code stays small.
    constexpr int codes_a_lane = alignment_known == 1 ? 1 : codes;
    auto kernel = scan<metric, queries, codes_a_lane, alignment_known>;
    cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_bytes));
    if (error != cudaSuccess) return error;
    return launch(kernel, dim3(unsigned(tiles * blocks_a_tile)), dim3(32 * warps), shared_bytes, stream, search, lists,
                  blocks_a_tile);
  });
}

}  // namespace

// Room for 32 * 4 arrivals, the most codes a thread, behind the k that stay; at least as many again, so that sorting is
// rare.
int scan_capacity(int k) { return power_of_two_from(k + (k < 128 ? 128 : k)); }

cudaError_t scan_topk(Metric metric, Algorithm algorithm, const Search& search, int alignment, const Lists& lists,
                      cudaStream_t stream) {
  const Shape shape = shape_of(metric, algorithm, search.query_count);
  return with_metric(metric, [&](auto constant) {
    constexpr Metric m = constant.value;
    if constexpr (m == Metric::score) {
      if (shape.queries == 1) return launch_scan<m, 1, 2>(search, alignment, lists, stream);
      return launch_scan<m, 4, 1>(search, alignment, lists, stream);
    } else {
      if (shape.queries == 1) return launch_scan<m, 1, 4>(search, alignment, lists, stream);
      if (shape.queries == 4) return launch_scan<m, 4, 2>(search, alignment, lists, stream);
      return launch_scan<m, 8, 1>(search, alignment, lists, stream);
    }
  });
}

}  // namespace warphash::hamming
