// SPDX-License-Identifier: Apache-2.0
// All distances as a matrix. Bound: writing it, 4 bytes a pair. Lane = code, so a warp writes 128 bytes in a row; 8
// queries share what is read of the codes.
#include "hamming/workspace.cuh"

namespace warphash::hamming {
namespace {

constexpr int threads = 256, queries = 8;

template <int alignment>
__global__ void __launch_bounds__(threads) distances(const Search search, const int64_t first_query, int32_t* out) {
  const int64_t columns = search.database_count, column_tiles = (columns + threads - 1) / threads;
  const int64_t tiles = column_tiles * ((search.query_count + queries - 1) / queries);
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t column = tile % column_tiles * threads + threadIdx.x, query = tile / column_tiles * queries;
    const int64_t index[1] = {min(column, columns - 1)};
    unsigned keys[queries][1];
    compute_keys<Metric::distance, queries, 1, alignment>(search, query, index, keys);
    if (column >= columns) continue;
#pragma unroll
    for (int q = 0; q < queries; ++q)
      if (query + q < search.query_count)
        __stcs(out + (first_query + query + q) * columns + column, static_cast<int32_t>(keys[q][0]));
  }
}

constexpr int64_t most_blocks = int64_t{1} << 20;

}  // namespace

size_t cdist_workspace(const Problem& problem) {
  return prepared_bytes(Metric::distance, batch_of(Metric::distance, problem), problem.bytes);
}

cudaError_t cdist(const Problem& problem, void* workspace, int32_t* out, cudaStream_t stream) {
  const int64_t batch = batch_of(Metric::distance, problem);
  if (problem.query_count == 0 || problem.database_count == 0) return cudaSuccess;
  for (int64_t first = 0; first < problem.query_count; first += batch) {
    const int64_t count = clamp(problem.query_count - first, 1, batch);
    Search search;
    cudaError_t error = prepare(Metric::distance, problem, first, count, workspace, &search, stream);
    if (error != cudaSuccess) return error;
    const int64_t tiles = ceil_divide(problem.database_count, threads) * ceil_divide(count, queries);
    error = with_alignment<16, 4, 1>(alignment_of(problem), [&](auto constant) {
      return launch(distances<constant.value>, dim3(unsigned(clamp(tiles, 1, most_blocks))), dim3(threads), 0, stream,
                    search, first, out);
    });
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace warphash::hamming
