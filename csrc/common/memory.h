// SPDX-License-Identifier: Apache-2.0
// Memory of kernels: aligned buffers; large pages for large outputs, since the first write to each small page costs more
// than the kernels that fill it.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>
#include <utility>

namespace warphash {

// A wish; whether the system grants it changes no result.
inline void prefer_large_pages(void* memory, size_t bytes) {
  constexpr uintptr_t large_page = uintptr_t{2} << 20;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + large_page - 1) / large_page * large_page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) / large_page * large_page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

// Python meets it as MemoryError with this text, through torch's operators too.
class NotEnoughMemory : public std::bad_alloc {
 public:
  NotEnoughMemory(uint64_t bytes, const std::string& purpose)
      : text_("not enough memory: " + std::to_string(bytes) + " bytes wanted for " + purpose) {}
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

// Memory on a cache line's boundary.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size)
      : size_((std::max<size_t>(size, 1) + 63) / 64 * 64), data_(std::aligned_alloc(64, size_)) {
    if (data_ == nullptr) throw NotEnoughMemory(size_, "a kernel's working memory");
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

// Room for more than will be needed: the system provides only what is written to.
class Reservation {
 public:
  Reservation() = default;
  // None where the system refuses.
  explicit Reservation(size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return;
    data_ = memory, size_ = bytes;
    prefer_large_pages(data_, size_);
  }
  Reservation(Reservation&& other) noexcept { *this = std::move(other); }
  Reservation& operator=(Reservation&& other) noexcept {
    std::swap(size_, other.size_), std::swap(data_, other.data_);
    return *this;
  }
  ~Reservation() {
    if (data_ != nullptr) munmap(data_, size_);
  }
  void* data() const { return data_; }
  size_t size() const { return size_; }
  // Gives back what lies behind the first `bytes`.
  void keep(size_t bytes) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    bytes = (std::max<size_t>(bytes, 1) + page - 1) / page * page;
    if (bytes < size_) munmap(static_cast<char*>(data_) + bytes, size_ - bytes), size_ = bytes;
  }
  // Whoever takes it unmaps it.
  void release() { data_ = nullptr, size_ = 0; }

 private:
  size_t size_ = 0;
  void* data_ = nullptr;
};

}  // namespace warphash
