// SPDX-License-Identifier: Apache-2.0
// Working memory of a call: one piece a worker, however many blocks of rows it does. Large pieces come straight from the
// system and go straight back, so that many calls leave nothing behind; what is never touched of them costs nothing.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "common/memory.h"

namespace warphash::spgemm {

class Workspace {
 public:
  // All bytes are 0. Large pages pay where most of it will be used.
  explicit Workspace(int64_t size, bool large_pages = false) : size_(static_cast<size_t>(std::max<int64_t>(size, 64))) {
    if (size_ >= from_the_system) {
      data_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (data_ == MAP_FAILED) throw std::bad_alloc();
      if (large_pages) prefer_large_pages(data_, size_);
    } else {
      size_ = (size_ + 63) / 64 * 64;
      data_ = std::aligned_alloc(64, size_);
      if (data_ == nullptr) throw std::bad_alloc();
      std::memset(data_, 0, size_);
    }
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace() {
    if (size_ >= from_the_system)
      munmap(data_, size_);
    else
      std::free(data_);
  }
  std::byte* data() const { return static_cast<std::byte*>(data_); }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  static constexpr size_t from_the_system = size_t{1} << 20;
  size_t size_;
  void* data_;
};

}  // namespace warphash::spgemm
