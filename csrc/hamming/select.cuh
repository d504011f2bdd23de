// SPDX-License-Identifier: Apache-2.0
// Selection by counting: what does not depend on k. Kernels shared by top-k for large k, range search and histograms.
#pragma once

#include "hamming/workspace.cuh"

namespace warphash::hamming {

constexpr int digit_bits = 11, digits = 1 << digit_bits;

// Where the search for a query's k-th key stands: `digit_bits` more of its leading bits are known after each pass.
struct Progress {
  unsigned prefix;  // the known bits of the key
  int64_t
      remaining;  // which of the keys with this prefix it is, from 1; 0: fewer than k keys in all, every one is taken
};

// counts[query, bin] += codes whose key has (key >> shift) == bin, with progress: (key >> shift) == prefix << 11 | bin.
cudaError_t count_keys(Metric metric, const Search& search, int alignment, int multiprocessors, int bins, int shift,
                       const Progress* progress, int64_t* counts, cudaStream_t stream);

// Keys below a query's threshold are taken, and the first `budget` equal to it.
struct Thresholds {
  const Progress* progress;  // prefix and remaining are threshold and budget; null: `uniform` and 0 for all
  unsigned uniform;
};

// below and equal [query_count, splits]: keys of each split; then, by sum_splits, of the splits before it.
struct SplitCounts {
  int64_t* below;
  int64_t* equal;
  Splits splits;
};
Splits selection_splits(int64_t query_count, int64_t database_count, int multiprocessors);
cudaError_t count_taken(Metric metric, const Search& search, int alignment, const Thresholds& thresholds,
                        const SplitCounts& counts, cudaStream_t stream);
// totals [query_count]: how many are taken
cudaError_t sum_splits(int64_t query_count, const Thresholds& thresholds, const SplitCounts& counts, int64_t* totals,
                       cudaStream_t stream);

// Writes those taken in the order of their index, from row_starts[query] (null: query * row_length) on. With
// `with_query`, keys carry the query in their high half, counted from first_query on.
struct Rows {
  const int64_t* starts;
  int64_t length, first_query;
  bool with_query;
  int64_t* keys;
  int64_t* indices;
};
cudaError_t write_taken(Metric metric, const Search& search, int alignment, const Thresholds& thresholds,
                        const SplitCounts& counts, const Rows& rows, cudaStream_t stream);

}  // namespace warphash::hamming
