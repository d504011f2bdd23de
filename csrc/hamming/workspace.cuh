// SPDX-License-Identifier: Apache-2.0
// Host side: how work is cut into batches of queries and splits of the database.
#pragma once

#include "common/arena.cuh"
#include "hamming/keys.cuh"

namespace warphash::hamming {

// Queries of a batch at most, which bounds lists and histograms. The emulation has few, so that tests see several
// batches.
#if defined(WARPHASH_CUDA_EMULATION)
constexpr int64_t most_queries = 64;
#else
constexpr int64_t most_queries = 8192;
#endif

// Queries of a batch: so many that their prepared form stays under 128 MiB, but a whole tile at least.
inline int64_t batch_of(Metric metric, const Problem& problem) {
  const int64_t padding = query_padding(metric, problem.bytes);
  const int64_t each = static_cast<int64_t>(prepared_bytes(metric, padding, problem.bytes)) / padding + 1;
  const int64_t batch = clamp((int64_t{128} << 20) / each / padding * padding, padding, most_queries);
  return batch < problem.query_count ? batch : problem.query_count;
}

// Into how many parts of at least `least` codes the database is cut, so that there are `wanted` parts in all the tiles
// of queries together. No part has 2^31 codes.
struct Splits {
  int count;
  int64_t codes;
};
inline Splits split_database(int64_t database_count, int64_t tiles, int64_t wanted, int64_t least) {
  const int64_t most = ceil_divide(database_count, least), needed = (database_count >> 30) + 1;
  int64_t count = clamp(ceil_divide(wanted, tiles < 1 ? 1 : tiles), 1, most < 1 ? 1 : most);
  if (count < needed) count = needed;
  const int64_t codes = clamp(ceil_divide(database_count, count), 1, int64_t{1} << 31);
  return {static_cast<int>(clamp(ceil_divide(database_count, codes), 1, count)), codes};
}

}  // namespace warphash::hamming
