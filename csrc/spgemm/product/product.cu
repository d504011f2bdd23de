// SPDX-License-Identifier: Apache-2.0
// The steps of a product: work of rows, counts, their running sums; later columns and values. The kernels of a step write
// different rows.
#include "common/scan.cuh"
#include "spgemm/product/product_kernels.cuh"

namespace warphash::spgemm {
namespace {

struct Workspace {
  RowBins bins;
  int64_t* part_counts;
  void* sums;

  Workspace(Arena& arena, int64_t rows) : bins(RowBins::take(arena, rows)) {
    part_counts = arena.take<int64_t>(most_split * parts);
    sums = arena.take<char>(static_cast<int64_t>(running_sums_workspace(rows + 1)));
  }
};

ProductJob job_of(const ProductTask& task, const Workspace& workspace) {
  ProductJob job{};
  job.a = task.a, job.b = task.b, job.excluded = task.excluded, job.bins = workspace.bins;
  job.part_counts = workspace.part_counts;
  job.multiprocessors = task.multiprocessors;
  return job;
}

cudaError_t run(ProductJob job, cudaStream_t stream) {
  if (job.a.rows == 0 || job.a.entries == 0 || job.b.entries == 0) return cudaSuccess;
  cudaError_t error = choose_cluster(&job.cluster_blocks);
  if (error == cudaSuccess && job.cluster_blocks > 0) error = run_huge_rows(job, stream);  // the longest rows first
  if (error == cudaSuccess) error = run_slices(job, stream);
  return error == cudaSuccess ? run_lists(job, stream) : error;
}

}  // namespace

size_t product_workspace(int64_t rows) {
  Arena arena(nullptr);
  const Workspace workspace(arena, rows);
  return arena.used();
}

cudaError_t count_product(const ProductTask& task, void* workspace, int64_t* crow, cudaStream_t stream) {
  Arena arena(workspace);
  const Workspace own(arena, task.a.rows);
  cudaError_t error = cudaMemsetAsync(crow, 0, static_cast<size_t>(task.a.rows + 1) * sizeof(int64_t), stream);
  if (error == cudaSuccess) error = sort_rows(task.a, task.b, own.bins, stream);
  if (error != cudaSuccess) return error;
  ProductJob job = job_of(task, own);
  job.crow = crow;
  error = run(job, stream);
  return error == cudaSuccess ? running_sums(crow, task.a.rows + 1, own.sums, stream) : error;
}

cudaError_t write_product(const ProductTask& task, const ProductValues& values, void* workspace, const int64_t* crow,
                          const ProductOutput& output, cudaStream_t stream) {
  Arena arena(workspace);
  const Workspace own(arena, task.a.rows);
  ProductJob job = job_of(task, own);
  job.crow = const_cast<int64_t*>(crow);
  job.output = output, job.values = values;
  return run(job, stream);
}

}  // namespace warphash::spgemm
