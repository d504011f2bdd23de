// SPDX-License-Identifier: Apache-2.0
// How a search is cut into tasks, and which kernels a task uses. Torch-free.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#include "hamming/hamming_search.h"

namespace warphash::hamming {

inline int word_count(int64_t bytes) { return static_cast<int>((bytes + 7) / 8); }

// Memory on a cache line's boundary.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size)
      : size_((std::max<size_t>(size, 1) + 63) / 64 * 64), data_(std::aligned_alloc(64, size_)) {
    if (data_ == nullptr) throw std::bad_alloc();
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept { *this = std::move(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(size_, other.size_), std::swap(data_, other.data_);
    return *this;
  }
  ~AlignedBuffer() { std::free(data_); }
  void* data() const { return data_; }
  size_t size() const { return size_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  size_t size_ = 0;
  void* data_ = nullptr;
};

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
