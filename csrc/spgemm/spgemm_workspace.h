// SPDX-License-Identifier: Apache-2.0
// Working memory of a call: one piece a worker, however many blocks of rows it does. Large pieces come straight from the
// system and go straight back, so that many calls leave nothing behind; what is never touched of them costs nothing.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "common/memory.h"

namespace warphash::spgemm {

class Workspace {
 public:
  // All bytes are 0. Large pages pay where most of it will be used; then the system must have as much, too.
  explicit Workspace(int64_t size, bool large_pages = false) : size_(static_cast<size_t>(std::max<int64_t>(size, 64))) {
    if (size_ >= from_the_system) {
      memory_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | (large_pages ? 0 : MAP_NORESERVE), -1, 0);
      if (memory_ == MAP_FAILED) refuse();
      if (large_pages) prefer_large_pages(memory_, size_);
      data_ = memory_;
    } else {
      // Not aligned_alloc, whose fragments let a process grow over many calls.
      size_ = (size_ + line - 1) / line * line;
      memory_ = std::calloc(size_ + line, 1);
      if (memory_ == nullptr) refuse();
      data_ = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(memory_) + line - 1) / line * line);
    }
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace() {
    if (size_ >= from_the_system)
      munmap(memory_, size_);
    else
      std::free(memory_);
  }
  std::byte* data() const { return static_cast<std::byte*>(data_); }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  [[noreturn]] void refuse() const { throw NotEnoughMemory(size_, "working memory of a sparse product"); }

  static constexpr size_t from_the_system = size_t{1} << 20, line = 64;
  size_t size_;
  void *memory_, *data_;  // data_ is on a cache line's boundary
};

}  // namespace warphash::spgemm
