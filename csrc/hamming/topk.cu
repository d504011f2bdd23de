// SPDX-License-Identifier: Apache-2.0
// Which way a top-k goes, and its steps: prepare the queries, scan the database into lists, merge the lists.
#include "hamming/lists.cuh"
#include "hamming/workspace.cuh"

namespace warphash::hamming {
namespace {

// The thresholds are arithmetic from instruction rates and bandwidths (docs/gpu_status.md), not measurements.
// Up to 4 queries the popcs take less time than reading the database (popc 16 a clock and multiprocessor).
constexpr int64_t stream_queries = 4;
// From there to half a tensor-core tile, which costs as much as a full one, popc tiles do less work.
constexpr int64_t tile_queries = 32;
// Warps of a scan per multiprocessor: two blocks of 8, enough loads in flight for the memory's latency.
constexpr int64_t scan_warps = 16;
// Blocks of a tensor-core kernel per multiprocessor, so that the last ones to end leave little idle.
constexpr int64_t mma_blocks = 4;
// A split must repay its list: at least so many codes for each place in it.
constexpr int64_t codes_a_place = 8;

Algorithm choose(Metric metric, const Problem& problem) {
  if (problem.query_count <= stream_queries) return Algorithm::stream;
  const bool wide = problem.bytes > widest_mma_bytes;
  if (metric == Metric::score || problem.query_count <= tile_queries || wide) return Algorithm::tile;
  return Algorithm::mma_b1;
}

struct Plan {
  Algorithm algorithm;
  bool scans;  // on the ordinary cores
  int64_t batch;
  int capacity;
  Splits splits;
};

Plan plan_topk(Metric metric, const Problem& problem, int64_t k, Algorithm algorithm, int multiprocessors) {
  Plan plan{};
  plan.algorithm = algorithm == Algorithm::automatic ? choose(metric, problem) : algorithm;
  plan.scans = plan.algorithm == Algorithm::stream || plan.algorithm == Algorithm::tile;
  plan.batch = batch_of(metric, problem);
  plan.capacity = plan.scans ? scan_capacity(static_cast<int>(k)) : mma_capacity(static_cast<int>(k));
  const bool tiles = plan.algorithm == Algorithm::tile;
  const int64_t queries_a_scan = metric == Metric::score ? (tiles ? 4 : 1) : (tiles ? 8 : 4);
  const int64_t queries_a_tile = plan.scans ? queries_a_scan : 64;
  const int64_t wanted = multiprocessors * (plan.scans ? scan_warps : mma_blocks);
  plan.splits = split_database(problem.database_count, ceil_divide(plan.batch, queries_a_tile), wanted,
                               codes_a_place * plan.capacity);
  return plan;
}

Lists take_lists(const Plan& plan, int64_t k, Arena& arena) {
  Lists lists{};
  lists.entries = arena.take<Entry>(plan.batch * plan.splits.count * plan.capacity);
  lists.counts = arena.take<unsigned>(plan.batch * plan.splits.count);
  lists.key_limits = arena.take<unsigned>(plan.batch);
  lists.split_codes = plan.splits.codes;
  lists.splits = plan.splits.count;
  lists.k = static_cast<int>(k);
  lists.capacity = plan.capacity;
  return lists;
}

bool served(Metric metric, const Problem& problem, const Plan& plan) {
  return plan.scans || (metric != Metric::score && problem.bytes <= widest_mma_bytes);
}

}  // namespace

size_t topk_workspace(Metric metric, const Problem& problem, int64_t k, Algorithm algorithm, int multiprocessors) {
  const Plan plan = plan_topk(metric, problem, k, algorithm, multiprocessors);
  Arena arena(nullptr);
  arena.take<char>(static_cast<int64_t>(prepared_bytes(metric, plan.batch, problem.bytes)));
  take_lists(plan, k, arena);
  return arena.used();
}

cudaError_t topk(Metric metric, const Problem& problem, int64_t k, Algorithm algorithm, int multiprocessors,
                 void* workspace, void* values, int64_t* indices, cudaStream_t stream) {
  if (k < 0 || k > one_pass_k) return cudaErrorInvalidValue;
  if (problem.query_count == 0 || k == 0) return cudaSuccess;
  const Plan plan = plan_topk(metric, problem, k, algorithm, multiprocessors);
  if (!served(metric, problem, plan)) return cudaErrorNotSupported;
  Arena arena(workspace);
  void* prepared = arena.take<char>(static_cast<int64_t>(prepared_bytes(metric, plan.batch, problem.bytes)));
  const Lists lists = take_lists(plan, k, arena);
  const int alignment = alignment_of(problem);
  for (int64_t first = 0; first < problem.query_count; first += plan.batch) {
    const int64_t count = clamp(problem.query_count - first, 1, plan.batch);
    Search search;
    cudaError_t error = prepare(metric, problem, first, count, prepared, &search, stream);
    if (error == cudaSuccess)
      error = cudaMemsetAsync(lists.key_limits, 0xff, static_cast<size_t>(count) * sizeof(unsigned), stream);
    if (error == cudaSuccess) {
      if (plan.scans)
        error = scan_topk(metric, plan.algorithm, search, alignment, lists, stream);
      else if (plan.algorithm == Algorithm::mma_b1 || plan.algorithm == Algorithm::mma_s8)
        error = mma_topk(metric, plan.algorithm, search, alignment, lists, stream);
      else
        error = wgmma_topk(metric, plan.algorithm, search, alignment, lists, stream);
    }
    if (error == cudaSuccess)
      error =
          merge_lists(metric, lists, count, static_cast<uint32_t*>(values) + first * k, indices + first * k, stream);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace warphash::hamming
