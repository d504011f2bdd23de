// SPDX-License-Identifier: Apache-2.0
// What the kernels of a product are given, and how their blocks are launched.
#pragma once

#include "spgemm/product/product.cuh"

namespace warphash::spgemm {

enum ProductCounter : int { count_slices, count_lists, write_slices, write_lists, count_huge, write_huge };

// Columns of a slice: a bit each. Rows above small_class and up to list_class are sorted as lists where they would go
// over more than most_slices of them. Of the rows above huge_class up to most_split are done by several blocks each, so that
// no single row keeps the others waiting at the end: by a cluster of up to most_cluster, or where there are none, in parts.
#if defined(WARPHASH_CUDA_EMULATION)
constexpr int slice_columns = 512, most_sum_bytes = 128 * 8, list_class = 8, most_slices = 2;
constexpr int huge_class = 10, most_split = 3, parts = 3, most_cluster = 4, most_at_once = 2;
#else
constexpr int slice_columns = 1 << 17, most_sum_bytes = 48 << 10, list_class = 12, most_slices = 2;
constexpr int huge_class = 18, most_split = 1024, parts = 16, most_cluster = 8, most_at_once = most_split;
#endif

struct ProductJob {
  Pattern a, b, excluded;
  RowBins bins;
  int64_t* part_counts;  // [most_split, parts]: entries of the parts, written and read as crow is
  int64_t* crow;         // written where rows are counted, read where they are written
  ProductOutput output;
  ProductValues values;
  int multiprocessors;
  int cluster_blocks;  // 0: no clusters

#if defined(WARPHASH_CUDA_EMULATION) || defined(__CUDACC__)
  // How many rows several blocks do together.
  __device__ int64_t split_rows() const {
    return min(static_cast<int64_t>(bins.above[huge_class]), static_cast<int64_t>(most_split));
  }
#endif
  bool has_lists() const { return b.columns > int64_t{most_slices} * slice_columns; }
};

// Blocks of the clusters that do the longest rows; 0 where the device has none.
cudaError_t choose_cluster(int* blocks);

// Of rows up to small_class and of lists; of slices; of rows done by clusters. Without columns to write to they count.
cudaError_t run_lists(const ProductJob& job, cudaStream_t stream);
cudaError_t run_slices(const ProductJob& job, cudaStream_t stream);
cudaError_t run_huge_rows(const ProductJob& job, cudaStream_t stream);

#if defined(WARPHASH_CUDA_EMULATION) || defined(__CUDACC__)
namespace {

// Blocks that take rows until none is left: as many as are on the device at once.
template <class Job>
cudaError_t launch_persistent(void (*kernel)(const Job), int threads, size_t shared_bytes, int64_t most, const Job& job,
                              cudaStream_t stream) {
  cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
  int blocks = 0;
  if (error == cudaSuccess)
    error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, shared_bytes);
  if (error != cudaSuccess) return error;
  const int64_t all = clamp(int64_t{blocks} * job.multiprocessors, 1, most);
  return launch(kernel, blocks_for(all, 1), dim3(threads), shared_bytes, stream, job);
}

}  // namespace
#endif

}  // namespace warphash::spgemm
