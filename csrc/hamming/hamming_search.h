// SPDX-License-Identifier: Apache-2.0
// Hamming search over any number of queries and codes: choice of the kernel, tiles, threads, selection, merging.
// Torch-free: pointers and sizes. Rows are contiguous; sizes may be zero.
#pragma once

#include <cstdint>
#include <vector>

#include "hamming/hamming.h"

namespace warphash::hamming {

enum class Metric { distance, jaccard, score };

struct Problem {
  const uint8_t* queries;  // [query_count, bytes]; Metric::score: null
  const float* weights;    // [query_count, 8 * bytes]; Metric::score alone
  int64_t query_count;
  const uint8_t* database;  // [database_count, bytes]
  int64_t database_count;
  int64_t bytes;
  const uint8_t* mask = nullptr;  // bools, any byte but 0 is true: [database_count], or [query_count, database_count]
  bool mask_per_query = false;
};

// Which kernels serve: the best of the chosen ISA, or a given one (tests, benches).
struct Choice {
  const Kernels* kernels;
  const AmxKernels* amx;  // null: not used
};
Choice best_kernels();
Choice kernels_for(Isa isa);  // throws std::runtime_error where the machine lacks it

struct Hit {
  uint32_t key;
  int64_t index;
};

// The k best of each query by (key, index); rows [query] of at most k hits each are handed to row().
// Workspace: 16 k bytes a query of those in work (a block a thread: at most 64 MiB of entries, or one query), a tile a thread.
void topk(const Choice& choice, Metric metric, const Problem& problem, int64_t k,
          void (*row)(void* context, int64_t query, const Hit* hits, int64_t count), void* context);

// All codes at a distance <= radius: hits[query], sorted by (distance, index).
void range_search(const Choice& choice, const Problem& problem, uint32_t radius, std::vector<std::vector<Hit>>& hits);

// out [query_count, database_count]
void cdist(const Choice& choice, const Problem& problem, int32_t* out);

// out [query_count, 8 * bytes + 1]
void histogram(const Choice& choice, const Problem& problem, int64_t* out);

}  // namespace warphash::hamming
