// SPDX-License-Identifier: Apache-2.0
// Names the launchers of the bucket tables for Python: structs taken apart, workspaces of exactly the size asked for, so
// that mode asan sees what goes past them.
#include <cstdlib>

#include "common/scan.cuh"
#include "lsh/buckets/buckets.cuh"

namespace warphash::lsh {
namespace {

class Workspace {
 public:
  explicit Workspace(size_t bytes) : data_(std::aligned_alloc(256, (bytes + 255) / 256 * 256)) {
    if (data_ != nullptr) std::memset(data_, 0xa5, bytes);
  }
  ~Workspace() { std::free(data_); }
  operator void*() const { return data_; }

 private:
  void* data_;
};

cudaError_t emulated_sort(const void* data, int bytes, int64_t tables, int64_t items, int64_t buckets, int64_t* order,
                          int64_t* inverse, int64_t* offsets, cudaStream_t stream) {
  const Codes codes{data, bytes, tables, items, buckets};
  return bucket_sort(codes, Workspace(bucket_sort_workspace(codes)), order, inverse, offsets, stream);
}

cudaError_t emulated_query_count(const int64_t* order, const int64_t* offsets, int64_t tables, int64_t items,
                                 int64_t buckets, const int64_t* codes, int64_t queries, int64_t* row_starts,
                                 cudaStream_t stream) {
  const Table table{order, offsets, tables, items, buckets};
  return bucket_query_count(table, codes, queries, Workspace(bucket_query_workspace(queries)), row_starts, stream);
}

cudaError_t emulated_query_fill(const int64_t* order, const int64_t* offsets, int64_t tables, int64_t items,
                                int64_t buckets, const int64_t* codes, int64_t queries, const int64_t* row_starts,
                                int64_t* candidates, cudaStream_t stream) {
  const Table table{order, offsets, tables, items, buckets};
  return bucket_query_fill(table, codes, queries, row_starts, candidates, stream);
}

Rows rows_of(int type, int64_t batch, int64_t tables, int64_t buckets, int64_t width, int64_t count, const void* codes,
             bool long_codes) {
  return {static_cast<ValueType>(type), batch, tables, buckets, width, count, codes, long_codes};
}

cudaError_t emulated_sum(int type, int64_t batch, int64_t tables, int64_t buckets, int64_t width, int64_t count,
                         const void* codes, bool long_codes, const void* values, void* sums, cudaStream_t stream) {
  const Rows rows = rows_of(type, batch, tables, buckets, width, count, codes, long_codes);
  return bucket_sum(rows, values, Workspace(bucket_sum_workspace(rows)), sums, stream);
}

cudaError_t emulated_gather_sum(int type, int64_t batch, int64_t tables, int64_t buckets, int64_t width, int64_t count,
                                const void* codes, bool long_codes, const void* table, void* sums,
                                cudaStream_t stream) {
  const Rows rows = rows_of(type, batch, tables, buckets, width, count, codes, long_codes);
  return bucket_gather_sum(rows, table, sums, stream);
}

cudaError_t emulated_running_sums(int64_t* values, int64_t count, cudaStream_t stream) {
  return running_sums(values, count, Workspace(running_sums_workspace(count)), stream);
}

}  // namespace
}  // namespace warphash::lsh

EMULATED_LAUNCHER(bucket_sort, warphash::lsh::emulated_sort);
EMULATED_LAUNCHER(bucket_query_count, warphash::lsh::emulated_query_count);
EMULATED_LAUNCHER(bucket_query_fill, warphash::lsh::emulated_query_fill);
EMULATED_LAUNCHER(bucket_sum, warphash::lsh::emulated_sum);
EMULATED_LAUNCHER(bucket_gather_sum, warphash::lsh::emulated_gather_sum);
EMULATED_LAUNCHER(running_sums, warphash::lsh::emulated_running_sums);
