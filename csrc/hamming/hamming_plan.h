// SPDX-License-Identifier: Apache-2.0
// How a search is cut into tasks, and which kernels a task uses. Torch-free.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/memory.h"
#include "hamming/hamming_search.h"

namespace warphash::hamming {

inline int word_count(int64_t bytes) { return static_cast<int>((bytes + 7) / 8); }

// Rows of bytes as rows of whole words, padded with zeros.
AlignedBuffer padded_words(const uint8_t* rows, int64_t count, int64_t bytes);

// The kernels of one task.
struct Family {
  const Layout* layout;
  Scan scan;
  void (*sizes)(const void* tile, int codes, int words, uint32_t* sizes);
  decltype(Kernels::scan_rows) scan_rows;  // null: never
  int row_queries;                         // scan_rows serves up to this many queries
};
Family family_for(const Choice& choice, Metric metric, int queries);

struct Plan {
  int64_t block;  // queries a task, at most
  int64_t blocks;
  int64_t parts;  // of the database, each below 2^31 codes
  int64_t codes;  // of the database
  int64_t part_begin(int64_t part) const {
    return part >= parts ? codes : codes / parts * part + std::min(part, codes % parts);
  }
};
Plan make_plan(const Problem& problem, Metric metric, int64_t k);

}  // namespace warphash::hamming
