// SPDX-License-Identifier: Apache-2.0
// Names the launchers for Python: structs taken apart, workspaces of exactly the size asked for, so that mode asan sees
// what goes past them, and aligned as a device allocator would.
#include <cstdlib>

#include "hamming/hamming.cuh"
#include "hamming/lists.cuh"

namespace warphash::hamming {

// hamming_sm90a.cu is not emulated; mma_topk is its twin.
cudaError_t wgmma_topk(Metric, Algorithm, const Search&, int, const Lists&, cudaStream_t) {
  return cudaErrorNotSupported;
}

namespace {

constexpr int multiprocessors = 2;

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

Problem problem_of(const void* queries, int64_t query_count, const uint8_t* database, int64_t database_count,
                   int64_t bytes, const bool* mask, bool mask_per_query) {
  return {static_cast<const uint8_t*>(queries),
          static_cast<const float*>(queries),
          query_count,
          database,
          database_count,
          bytes,
          reinterpret_cast<const uint8_t*>(mask),
          mask_per_query};
}

cudaError_t emulated_cdist(const uint8_t* a, int64_t a_count, const uint8_t* b, int64_t b_count, int64_t bytes,
                           int32_t* out, cudaStream_t stream) {
  const Problem problem = problem_of(a, a_count, b, b_count, bytes, nullptr, false);
  return cdist(problem, Workspace(cdist_workspace(problem)), out, stream);
}

cudaError_t emulated_histogram(const uint8_t* queries, int64_t query_count, const uint8_t* database,
                               int64_t database_count, int64_t bytes, const bool* mask, bool mask_per_query,
                               int64_t* out, cudaStream_t stream) {
  const Problem problem = problem_of(queries, query_count, database, database_count, bytes, mask, mask_per_query);
  return histogram(problem, multiprocessors, Workspace(histogram_workspace(problem)), out, stream);
}

cudaError_t emulated_topk(int metric, int algorithm, const void* queries, int64_t query_count, const uint8_t* database,
                          int64_t database_count, int64_t bytes, const bool* mask, bool mask_per_query, int64_t k,
                          int processors, void* values, int64_t* indices, cudaStream_t stream) {
  const Problem problem = problem_of(queries, query_count, database, database_count, bytes, mask, mask_per_query);
  const Metric m = static_cast<Metric>(metric);
  const Algorithm a = static_cast<Algorithm>(algorithm);
  return topk(m, problem, k, a, processors, Workspace(topk_workspace(m, problem, k, a, processors)), values, indices,
              stream);
}

cudaError_t emulated_select(int metric, const void* queries, int64_t query_count, const uint8_t* database,
                            int64_t database_count, int64_t bytes, const bool* mask, bool mask_per_query, int64_t k,
                            int64_t* keys, int64_t* indices, cudaStream_t stream) {
  const Problem problem = problem_of(queries, query_count, database, database_count, bytes, mask, mask_per_query);
  const Metric m = static_cast<Metric>(metric);
  const Workspace workspace(select_workspace(m, problem, multiprocessors));
  return select_topk(m, problem, k, multiprocessors, workspace, keys, indices, stream);
}

// keys and indices have room for `room` hits; more is an error.
cudaError_t emulated_range(const uint8_t* queries, int64_t query_count, const uint8_t* database, int64_t database_count,
                           int64_t bytes, const bool* mask, bool mask_per_query, uint32_t radius, int64_t* offsets,
                           int64_t room, int64_t* keys, int64_t* indices, cudaStream_t stream) {
  const Problem problem = problem_of(queries, query_count, database, database_count, bytes, mask, mask_per_query);
  const Workspace workspace(range_workspace(problem, multiprocessors));
  cudaError_t error = range_count(problem, radius, multiprocessors, workspace, offsets, stream);
  if (error != cudaSuccess) return error;
  if (offsets[query_count] > room) return cudaErrorMemoryAllocation;
  return range_fill(problem, radius, multiprocessors, workspace, offsets, keys, indices, stream);
}

cudaError_t emulated_rank(int metric, const int64_t* sorted_keys, const int64_t* order, const int64_t* unsorted,
                          int64_t count, int64_t row_length, void* values, int64_t* indices, cudaStream_t stream) {
  return rank(static_cast<Metric>(metric), sorted_keys, order, unsorted, count, row_length, values, indices, stream);
}

cudaError_t emulated_pack(int type, const void* values, int64_t rows, int64_t bits, double threshold, uint8_t* codes,
                          cudaStream_t stream) {
  return pack(static_cast<ValueType>(type), values, rows, bits, threshold, codes, stream);
}

cudaError_t emulated_unpack(const uint8_t* codes, int64_t rows, int64_t bytes, int64_t bits, bool* out,
                            cudaStream_t stream) {
  return unpack(codes, rows, bytes, bits, out, stream);
}

}  // namespace
}  // namespace warphash::hamming

EMULATED_LAUNCHER(pack, warphash::hamming::emulated_pack);
EMULATED_LAUNCHER(unpack, warphash::hamming::emulated_unpack);
EMULATED_LAUNCHER(cdist, warphash::hamming::emulated_cdist);
EMULATED_LAUNCHER(histogram, warphash::hamming::emulated_histogram);
EMULATED_LAUNCHER(topk, warphash::hamming::emulated_topk);
EMULATED_LAUNCHER(select_topk, warphash::hamming::emulated_select);
EMULATED_LAUNCHER(range_search, warphash::hamming::emulated_range);
EMULATED_LAUNCHER(rank, warphash::hamming::emulated_rank);
