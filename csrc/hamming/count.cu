// SPDX-License-Identifier: Apache-2.0
// Histograms of keys: of distances for users, of 11-bit digits for the selection of large k.
//
// Bound: computing the keys, and additions to the same bin, since random distances lie close together: up to four of a
// warp's 32 meet. Bins of 4 queries lie in shared memory (64-bit sums in global memory, once a block); with very wide
// codes they do not fit, and the additions go to global memory.
#include "hamming/select.cuh"

namespace warphash::hamming {
namespace {

constexpr int threads = 256, queries = 4;
constexpr int64_t least_codes = 8192;  // of a block, to repay clearing and adding up its bins
constexpr int most_shared_bins = 3072;

template <Metric metric, int alignment>
__global__ void __launch_bounds__(threads, 2)
    histograms(const Search search, const int bins, const int shift, const Progress* __restrict__ progress,
               const int64_t block_codes, const int blocks_a_tile, const bool shared, unsigned long long* counts) {
  DYNAMIC_SHARED(unsigned, local);
  const int64_t first_query = int64_t(blockIdx.x / blocks_a_tile) * queries;
  const int64_t begin = int64_t(blockIdx.x % blocks_a_tile) * block_codes;
  const int64_t end = min(begin + block_codes, search.database_count);
  if (shared) {
    for (int bin = threadIdx.x; bin < queries * bins; bin += threads) local[bin] = 0;
    __syncthreads();
  }
  for (int64_t first = begin; first < end; first += threads) {
    const int64_t place = first + threadIdx.x;
    const int64_t index[1] = {min(place, end - 1)};
    unsigned keys[queries][1];
    compute_keys<metric, queries, 1, alignment>(search, first_query, index, keys);
#pragma unroll
    for (int q = 0; q < queries; ++q) {
      const int64_t query = first_query + q;
      const unsigned key = keys[q][0];
      if (query >= search.query_count || place >= end || key == rejected || !search.allowed(query, place)) continue;
      unsigned bin = key >> shift;
      if (progress != nullptr) {
        const Progress known = progress[query];
        if (known.remaining == 0 || bin >> digit_bits != known.prefix) continue;
        bin &= digits - 1;
      }
      if (shared)
        atomicAdd(local + q * bins + bin, 1u);
      else
        atomicAdd(counts + query * bins + bin, 1ull);
    }
  }
  if (!shared) return;
  __syncthreads();
  for (int bin = threadIdx.x; bin < queries * bins; bin += threads) {
    const int64_t query = first_query + bin / bins;
    if (query < search.query_count && local[bin] != 0)
      atomicAdd(counts + query * bins + bin % bins, static_cast<unsigned long long>(local[bin]));
  }
}

}  // namespace

cudaError_t count_keys(Metric metric, const Search& search, int alignment, int multiprocessors, int bins, int shift,
                       const Progress* progress, int64_t* counts, cudaStream_t stream) {
  const int64_t cells = search.query_count * bins;
  cudaError_t error = cudaMemsetAsync(counts, 0, static_cast<size_t>(cells) * sizeof(int64_t), stream);
  if (error != cudaSuccess || search.database_count == 0 || cells == 0) return error;
  const int64_t tiles = ceil_divide(search.query_count, queries);
  const Splits splits = split_database(search.database_count, tiles, int64_t{8} * multiprocessors, least_codes);
  const bool shared = bins <= most_shared_bins;
  return with_metric(metric, [&](auto which) {
    return with_alignment<16, 4, 1>(alignment, [&](auto constant) {
      return launch(histograms<which.value, constant.value>, dim3(unsigned(tiles * splits.count)), dim3(threads),
                    shared ? size_t(queries) * bins * sizeof(unsigned) : 0, stream, search, bins, shift, progress,
                    splits.codes, splits.count, shared, reinterpret_cast<unsigned long long*>(counts));
    });
  });
}

size_t histogram_workspace(const Problem& problem) {
  return prepared_bytes(Metric::distance, batch_of(Metric::distance, problem), problem.bytes);
}

cudaError_t histogram(const Problem& problem, int multiprocessors, void* workspace, int64_t* out, cudaStream_t stream) {
  const int64_t batch = batch_of(Metric::distance, problem);
  const int bins = static_cast<int>(8 * problem.bytes + 1);
  for (int64_t first = 0; first < problem.query_count; first += batch) {
    const int64_t count = clamp(problem.query_count - first, 1, batch);
    Search search;
    cudaError_t error = prepare(Metric::distance, problem, first, count, workspace, &search, stream);
    if (error == cudaSuccess)
      error = count_keys(Metric::distance, search, alignment_of(problem), multiprocessors, bins, 0, nullptr,
                         out + first * bins, stream);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace warphash::hamming
