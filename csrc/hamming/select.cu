// SPDX-License-Identifier: Apache-2.0
// Exact selection for any k, and range search: the taken codes are counted a split, the counts summed, and the codes
// written at their places, in the order of their index.
//
// Bound: computing the keys again in every pass: of top-k, one for distances up to 2047 bits (three otherwise) to find
// the k-th key, one to count, one to write. A warp owns a split and walks it in order, so that ties need no other care.
#include "hamming/select.cuh"

namespace warphash::hamming {
namespace {

constexpr int warps = 8, threads = 32 * warps, queries = 4;

// One warp a query: finds the digit in which the k-th key lies.
__global__ void __launch_bounds__(threads)
    find_digit(const int64_t* __restrict__ counts, const int64_t query_count, const int bins, Progress* progress) {
  const int64_t query = int64_t(blockIdx.x) * warps + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  if (query >= query_count) return;
  const Progress known = progress[query];
  __syncwarp();  // all lanes have read what lane 0 will overwrite
  if (known.remaining == 0) return;
  int64_t before = 0;
  for (int first = 0; first < bins; first += 32) {
    int64_t sum = first + lane < bins ? counts[query * bins + first + lane] : 0;
    for (int step = 1; step < 32; step *= 2) {
      const int64_t left = __shfl_up_sync(0xffffffffu, sum, step);
      if (lane >= step) sum += left;
    }
    const unsigned reached = __ballot_sync(0xffffffffu, before + sum >= known.remaining);
    const int64_t all = __shfl_sync(0xffffffffu, sum, 31);
    if (reached != 0) {
      const int digit = __ffs(reached) - 1;
      const int64_t earlier = __shfl_sync(0xffffffffu, sum, digit == 0 ? 0 : digit - 1);
      if (lane == 0)
        progress[query] = {known.prefix << digit_bits | unsigned(first + digit),
                           known.remaining - before - (digit == 0 ? 0 : earlier)};
      return;
    }
    before += all;
  }
  if (lane == 0) progress[query] = {rejected, 0};
}

__global__ void __launch_bounds__(threads)
    begin_search(const int64_t query_count, const int64_t k, Progress* progress) {
  const int64_t query = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (query < query_count) progress[query] = {0, k};
}

__device__ __forceinline__ Progress threshold_of(const Thresholds& thresholds, int64_t query) {
  return thresholds.progress != nullptr ? thresholds.progress[query] : Progress{thresholds.uniform, 0};
}

// One warp a split and 4 queries, 32 codes at a time: counts those taken, or writes them behind the counts before.
template <Metric metric, int alignment, bool writes>
__global__ void __launch_bounds__(threads, 2) walk(const Search search, const Thresholds thresholds,
                                                   const SplitCounts counts, const Rows rows, const int blocks_a_tile) {
  const int lane = threadIdx.x % 32, split = int(blockIdx.x % blocks_a_tile) * warps + int(threadIdx.x / 32);
  const int64_t first_query = int64_t(blockIdx.x / blocks_a_tile) * queries;
  if (split >= counts.splits.count) return;
  const int64_t begin = split * counts.splits.codes, end = min(begin + counts.splits.codes, search.database_count);
  int64_t below[queries] = {}, equal[queries] = {};
  Progress limits[queries];
#pragma unroll
  for (int q = 0; q < queries; ++q) {
    limits[q] = {0, 0};
    if (first_query + q >= search.query_count) continue;
    limits[q] = threshold_of(thresholds, first_query + q);
    if constexpr (writes) {
      below[q] = counts.below[(first_query + q) * counts.splits.count + split];
      equal[q] = counts.equal[(first_query + q) * counts.splits.count + split];
    }
  }
  const unsigned earlier_lanes = (1u << lane) - 1;
  for (int64_t first = begin; first < end; first += 32) {
    const int64_t place = first + lane;
    const int64_t index[1] = {min(place, end - 1)};
    unsigned keys[queries][1];
    compute_keys<metric, queries, 1, alignment>(search, first_query, index, keys);
#pragma unroll
    for (int q = 0; q < queries; ++q) {
      const int64_t query = first_query + q;
      const unsigned key = keys[q][0];
      bool candidate = query < search.query_count && place < end && key != rejected && key <= limits[q].prefix;
      if (candidate) candidate = search.allowed(query, place);
      const unsigned less = __ballot_sync(0xffffffffu, candidate && key < limits[q].prefix);
      const unsigned same = __ballot_sync(0xffffffffu, candidate && key == limits[q].prefix);
      if constexpr (writes) {
        const int64_t equal_before = equal[q] + __popc(same & earlier_lanes);
        if (candidate && (key < limits[q].prefix || equal_before < limits[q].remaining)) {
          const int64_t start = rows.starts != nullptr ? rows.starts[query] : query * rows.length;
          const int64_t at = start + below[q] + __popc(less & earlier_lanes) + min(equal_before, limits[q].remaining);
          rows.keys[at] = (rows.with_query ? (rows.first_query + query) << 32 : 0) | int64_t(key);
          rows.indices[at] = place;
        }
      }
      below[q] += __popc(less);
      equal[q] += __popc(same);
    }
  }
  if constexpr (!writes) {
#pragma unroll
    for (int q = 0; q < queries; ++q)
      if (lane == 0 && first_query + q < search.query_count) {
        counts.below[(first_query + q) * counts.splits.count + split] = below[q];
        counts.equal[(first_query + q) * counts.splits.count + split] = equal[q];
      }
  }
}

// One warp a query: counts of the splits become sums over the splits before.
__global__ void __launch_bounds__(threads)
    exclusive_sums(const int64_t query_count, const Thresholds thresholds, const SplitCounts counts, int64_t* totals) {
  const int64_t query = int64_t(blockIdx.x) * warps + threadIdx.x / 32;
  const int lane = threadIdx.x % 32, splits = counts.splits.count;
  if (query >= query_count) return;
  int64_t sums[2] = {0, 0};
  for (int first = 0; first < splits; first += 32)
#pragma unroll
    for (int which = 0; which < 2; ++which) {
      int64_t* row = (which == 0 ? counts.below : counts.equal) + query * splits;
      const int64_t own = first + lane < splits ? row[first + lane] : 0;
      int64_t sum = own;
      for (int step = 1; step < 32; step *= 2) {
        const int64_t left = __shfl_up_sync(0xffffffffu, sum, step);
        if (lane >= step) sum += left;
      }
      if (first + lane < splits) row[first + lane] = sums[which] + sum - own;
      sums[which] += __shfl_sync(0xffffffffu, sum, 31);
    }
  if (lane == 0) totals[query] = sums[0] + min(sums[1], threshold_of(thresholds, query).remaining);
}

// Rows of length k end with no key and index -1 behind what is taken.
__global__ void __launch_bounds__(threads)
    pad_rows(const int64_t query_count, const int64_t k, const int64_t* __restrict__ totals, int64_t* keys,
             int64_t* indices) {
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < query_count * k; i += int64_t(gridDim.x) * threads)
    if (i % k >= totals[i / k]) keys[i] = int64_t(rejected), indices[i] = -1;
}

// offsets[0] = 0, offsets[i + 1] = totals[0] + … + totals[i], by one warp
__global__ void __launch_bounds__(32)
    row_offsets(const int64_t query_count, const int64_t* __restrict__ totals, int64_t* offsets) {
  const int lane = threadIdx.x;
  int64_t before = 0;
  if (lane == 0) offsets[0] = 0;
  for (int64_t first = 0; first < query_count; first += 32) {
    int64_t sum = first + lane < query_count ? totals[first + lane] : 0;
    for (int step = 1; step < 32; step *= 2) {
      const int64_t left = __shfl_up_sync(0xffffffffu, sum, step);
      if (lane >= step) sum += left;
    }
    if (first + lane < query_count) offsets[first + lane + 1] = before + sum;
    before += __shfl_sync(0xffffffffu, sum, 31);
  }
}

__global__ void __launch_bounds__(threads)
    rank_entries(const Metric metric, const int64_t* __restrict__ sorted_keys, const int64_t* __restrict__ order,
                 const int64_t* __restrict__ unsorted, const int64_t count, const int64_t row_length, unsigned* values,
                 int64_t* indices) {
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < count; i += int64_t(gridDim.x) * threads) {
    values[i] = value_bits(metric, unsigned(sorted_keys[i]));
    indices[i] = unsorted[i / row_length * row_length + order[i]];
  }
}

template <bool writes>
cudaError_t launch_walk(Metric metric, const Search& search, int alignment, const Thresholds& thresholds,
                        const SplitCounts& counts, const Rows& rows, cudaStream_t stream) {
  const int blocks_a_tile = static_cast<int>(ceil_divide(counts.splits.count, warps));
  const dim3 grid(unsigned(ceil_divide(search.query_count, queries) * blocks_a_tile));
  return with_metric(metric, [&](auto which) {
    return with_alignment<16, 4, 1>(alignment, [&](auto constant) {
      return launch(walk<which.value, constant.value, writes>, grid, dim3(threads), 0, stream, search, thresholds,
                    counts, rows, blocks_a_tile);
    });
  });
}

unsigned blocks_for(int64_t count, int64_t each) {
  return unsigned(clamp(ceil_divide(count, each), 1, int64_t{1} << 20));
}

}  // namespace

Splits selection_splits(int64_t query_count, int64_t database_count, int multiprocessors) {
  return split_database(database_count, ceil_divide(query_count, queries), int64_t{16} * multiprocessors, 1024);
}

cudaError_t count_taken(Metric metric, const Search& search, int alignment, const Thresholds& thresholds,
                        const SplitCounts& counts, cudaStream_t stream) {
  return launch_walk<false>(metric, search, alignment, thresholds, counts, {}, stream);
}
cudaError_t write_taken(Metric metric, const Search& search, int alignment, const Thresholds& thresholds,
                        const SplitCounts& counts, const Rows& rows, cudaStream_t stream) {
  return launch_walk<true>(metric, search, alignment, thresholds, counts, rows, stream);
}
cudaError_t sum_splits(int64_t query_count, const Thresholds& thresholds, const SplitCounts& counts, int64_t* totals,
                       cudaStream_t stream) {
  return launch(exclusive_sums, dim3(unsigned(ceil_divide(query_count, warps))), dim3(threads), 0, stream, query_count,
                thresholds, counts, totals);
}

namespace {

// ---- Top-k for large k --------------------------------------------------------------------------------------------
struct Selection {
  int64_t batch;
  int passes;
  void* prepared;
  Progress* progress;
  int64_t* histogram;
  int64_t* totals;
  SplitCounts counts;
};

Selection plan_selection(Metric metric, const Problem& problem, int multiprocessors, Arena& arena) {
  Selection plan{};
  plan.batch = batch_of(metric, problem);
  for (uint32_t key = largest_key(metric, problem.bytes); key != 0; key >>= digit_bits) ++plan.passes;
  if (plan.passes == 0) plan.passes = 1;
  plan.prepared = arena.take<char>(static_cast<int64_t>(prepared_bytes(metric, plan.batch, problem.bytes)));
  plan.progress = arena.take<Progress>(plan.batch);
  plan.histogram = arena.take<int64_t>(plan.batch * digits);
  plan.totals = arena.take<int64_t>(plan.batch);
  plan.counts.splits = selection_splits(plan.batch, problem.database_count, multiprocessors);
  plan.counts.below = arena.take<int64_t>(plan.batch * plan.counts.splits.count);
  plan.counts.equal = arena.take<int64_t>(plan.batch * plan.counts.splits.count);
  return plan;
}

struct RangePlan {
  void* prepared;
  int64_t* totals;
  SplitCounts counts;
};

RangePlan plan_range(const Problem& problem, int multiprocessors, Arena& arena) {
  RangePlan plan{};
  const int64_t queries = problem.query_count;
  plan.prepared = arena.take<char>(static_cast<int64_t>(prepared_bytes(Metric::distance, queries, problem.bytes)));
  plan.totals = arena.take<int64_t>(queries);
  plan.counts.splits = selection_splits(queries, problem.database_count, multiprocessors);
  plan.counts.below = arena.take<int64_t>(queries * plan.counts.splits.count);
  plan.counts.equal = arena.take<int64_t>(queries * plan.counts.splits.count);
  return plan;
}

}  // namespace

size_t select_workspace(Metric metric, const Problem& problem, int multiprocessors) {
  Arena arena(nullptr);
  plan_selection(metric, problem, multiprocessors, arena);
  return arena.used();
}

cudaError_t select_topk(Metric metric, const Problem& problem, int64_t k, int multiprocessors, void* workspace,
                        int64_t* keys, int64_t* indices, cudaStream_t stream) {
  if (problem.query_count == 0 || k == 0) return cudaSuccess;
  Arena arena(workspace);
  const Selection plan = plan_selection(metric, problem, multiprocessors, arena);
  const int alignment = alignment_of(problem);
  for (int64_t first = 0; first < problem.query_count; first += plan.batch) {
    const int64_t count = clamp(problem.query_count - first, 1, plan.batch);
    Search search;
    cudaError_t error = prepare(metric, problem, first, count, plan.prepared, &search, stream);
    if (error == cudaSuccess)
      error = launch(begin_search, dim3(blocks_for(count, threads)), dim3(threads), 0, stream, count, k, plan.progress);
    for (int pass = plan.passes - 1; pass >= 0 && error == cudaSuccess; --pass) {
      error = count_keys(metric, search, alignment, multiprocessors, digits, pass * digit_bits, plan.progress,
                         plan.histogram, stream);
      if (error == cudaSuccess)
        error = launch(find_digit, dim3(blocks_for(count, warps)), dim3(threads), 0, stream, plan.histogram, count,
                       digits, plan.progress);
    }
    const Thresholds thresholds{plan.progress, 0};
    const Rows rows{nullptr, k, 0, false, keys + first * k, indices + first * k};
    if (error == cudaSuccess) error = count_taken(metric, search, alignment, thresholds, plan.counts, stream);
    if (error == cudaSuccess) error = sum_splits(count, thresholds, plan.counts, plan.totals, stream);
    if (error == cudaSuccess) error = write_taken(metric, search, alignment, thresholds, plan.counts, rows, stream);
    if (error == cudaSuccess)
      error = launch(pad_rows, dim3(blocks_for(count * k, threads)), dim3(threads), 0, stream, count, k, plan.totals,
                     rows.keys, rows.indices);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

// ---- Range search -------------------------------------------------------------------------------------------------
size_t range_workspace(const Problem& problem, int multiprocessors) {
  Arena arena(nullptr);
  plan_range(problem, multiprocessors, arena);
  return arena.used();
}

cudaError_t range_count(const Problem& problem, uint32_t radius, int multiprocessors, void* workspace, int64_t* offsets,
                        cudaStream_t stream) {
  Arena arena(workspace);
  const RangePlan plan = plan_range(problem, multiprocessors, arena);
  const Thresholds thresholds{nullptr, radius + 1};
  if (problem.query_count > 0) {
    Search search;
    cudaError_t error = prepare(Metric::distance, problem, 0, problem.query_count, plan.prepared, &search, stream);
    if (error == cudaSuccess)
      error = count_taken(Metric::distance, search, alignment_of(problem), thresholds, plan.counts, stream);
    if (error == cudaSuccess) error = sum_splits(problem.query_count, thresholds, plan.counts, plan.totals, stream);
    if (error != cudaSuccess) return error;
  }
  return launch(row_offsets, dim3(1), dim3(32), 0, stream, problem.query_count, plan.totals, offsets);
}

cudaError_t range_fill(const Problem& problem, uint32_t radius, int multiprocessors, void* workspace,
                       const int64_t* offsets, int64_t* keys, int64_t* indices, cudaStream_t stream) {
  if (problem.query_count == 0) return cudaSuccess;
  Arena arena(workspace);
  const RangePlan plan = plan_range(problem, multiprocessors, arena);
  Search search;
  cudaError_t error = prepare(Metric::distance, problem, 0, problem.query_count, plan.prepared, &search, stream);
  if (error != cudaSuccess) return error;
  return write_taken(Metric::distance, search, alignment_of(problem), {nullptr, radius + 1}, plan.counts,
                     {offsets, 0, 0, true, keys, indices}, stream);
}

cudaError_t rank(Metric metric, const int64_t* sorted_keys, const int64_t* order, const int64_t* unsorted,
                 int64_t count, int64_t row_length, void* values, int64_t* indices, cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  return launch(rank_entries, dim3(blocks_for(count, threads)), dim3(threads), 0, stream, metric, sorted_keys, order,
                unsorted, count, row_length, static_cast<unsigned*>(values), indices);
}

}  // namespace warphash::hamming
