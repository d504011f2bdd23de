// SPDX-License-Identifier: Apache-2.0
// Launchers of Hamming search on CUDA: raw pointers, sizes, a stream; they return the launch's error and never wait.
// All pointers of a Problem, workspaces and outputs are device memory. Any size may be zero; then nothing is launched
// that would read. Workspaces are the caller's, of the size that the function beside tells, aligned to 256 bytes.
// `multiprocessors` is the device's count: it sets how finely the database is split, never a result.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/portable.h"
#include "hamming/hamming_pack.h"
#include "hamming/hamming_search.h"

namespace warphash::hamming {

// How a top-k compares. Every one gives the same bits; plan_topk() chooses for `automatic`.
enum class Algorithm : int {
  automatic,
  stream,    // popc, few queries: the database is read once, at memory speed
  tile,      // popc with carry-save adders, 8 queries a thread
  mma_b1,    // mma.sync on bits
  mma_s8,    // mma.sync on bits expanded to bytes
  wgmma_b1,  // sm_90a alone; not yet run on a card, so never chosen by itself
  wgmma_s8,
};

// Up to this k topk() serves; above, select_topk(), whose cost does not depend on k.
constexpr int64_t one_pass_k = 256;

// values [rows, bits] to codes [rows, ceil(bits / 8)], as hamming_pack.h defines it.
cudaError_t pack(ValueType type, const void* values, int64_t rows, int64_t bits, double threshold, uint8_t* codes,
                 cudaStream_t stream);
cudaError_t unpack(const uint8_t* codes, int64_t rows, int64_t bytes, int64_t bits, bool* out, cudaStream_t stream);

// out [query_count, database_count]; the mask is not looked at.
size_t cdist_workspace(const Problem& problem);
cudaError_t cdist(const Problem& problem, void* workspace, int32_t* out, cudaStream_t stream);

// out [query_count, 8 * bytes + 1]
size_t histogram_workspace(const Problem& problem);
cudaError_t histogram(const Problem& problem, int multiprocessors, void* workspace, int64_t* out, cudaStream_t stream);

// values [query_count, k]: int32 distances or float32 similarities or scores; indices [query_count, k]. k <=
// one_pass_k. cudaErrorNotSupported: the algorithm does not serve this metric, or the device lacks it.
size_t topk_workspace(Metric metric, const Problem& problem, int64_t k, Algorithm algorithm, int multiprocessors);
cudaError_t topk(Metric metric, const Problem& problem, int64_t k, Algorithm algorithm, int multiprocessors,
                 void* workspace, void* values, int64_t* indices, cudaStream_t stream);

// Any k: keys [query_count, k] (as int64) and indices of the k best of each query in the order of their indices; short
// rows end with key 2^32 - 1 and index -1. A stable sort of each row by key then gives the order of a top-k.
size_t select_workspace(Metric metric, const Problem& problem, int multiprocessors);
cudaError_t select_topk(Metric metric, const Problem& problem, int64_t k, int multiprocessors, void* workspace,
                        int64_t* keys, int64_t* indices, cudaStream_t stream);

// Range search: range_count() writes offsets [query_count + 1]; range_fill(), with the same workspace untouched, the
// offsets[query_count] hits in the order of (query, index), with keys query << 32 | distance.
size_t range_workspace(const Problem& problem, int multiprocessors);
cudaError_t range_count(const Problem& problem, uint32_t radius, int multiprocessors, void* workspace, int64_t* offsets,
                        cudaStream_t stream);
cudaError_t range_fill(const Problem& problem, uint32_t radius, int multiprocessors, void* workspace,
                       const int64_t* offsets, int64_t* keys, int64_t* indices, cudaStream_t stream);

// After a stable sort: values[i] of sorted_keys[i], and indices[i] = unsorted[order[i]], where order counts from the
// beginning of its row of `row_length` entries.
cudaError_t rank(Metric metric, const int64_t* sorted_keys, const int64_t* order, const int64_t* unsorted,
                 int64_t count, int64_t row_length, void* values, int64_t* indices, cudaStream_t stream);

}  // namespace warphash::hamming
