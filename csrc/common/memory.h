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
#include <cstring>
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
    void* memory =
        mmap(nullptr, offset + bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return;
    begin_ = static_cast<std::byte*>(memory), end_ = begin_ + in_pages(offset + bytes);
    prefer_large_pages(begin_, static_cast<size_t>(end_ - begin_));
  }
  Reservation(Reservation&& other) noexcept { *this = std::move(other); }
  Reservation& operator=(Reservation&& other) noexcept {
    std::swap(begin_, other.begin_), std::swap(end_, other.end_);
    return *this;
  }
  ~Reservation() { give_back(begin_, end_); }
  std::byte* data() const { return begin_ == nullptr ? nullptr : begin_ + offset; }
  // Gives back what lies behind the first `bytes`.
  void keep(size_t bytes) {
    std::byte* end = begin_ + in_pages(offset + bytes);
    if (end < end_) give_back(end, end_), end_ = end;
  }
  // Gives the first `bytes` to memory of whatever allocator and ends the reservation. Whole pages change their place
  // where they lie alike, which costs little beside writing them; others are copied, and given back meanwhile.
  void move_to(void* memory, size_t bytes) {
    std::byte *from = data(), *to = static_cast<std::byte*>(memory);
    if ((reinterpret_cast<uintptr_t>(to) - reinterpret_cast<uintptr_t>(from)) % page() == 0) {
      const size_t head = in_pages(reinterpret_cast<uintptr_t>(to)) - reinterpret_cast<uintptr_t>(to);
      const size_t whole = bytes > head ? (bytes - head) / page() * page() : 0;
      if (whole > 0 && mremap(from + head, whole, whole, MREMAP_MAYMOVE | MREMAP_FIXED, to + head) != MAP_FAILED) {
        std::memcpy(to, from, head);
        std::memcpy(to + head + whole, from + head + whole, bytes - head - whole);
        // What has moved belongs to nobody, or already to somebody else.
        give_back(begin_, from + head), give_back(from + head + whole, end_);
        begin_ = end_ = nullptr;
        return;
      }
    }
    for (size_t at = 0; at < bytes;) {
      const size_t piece = std::min(bytes - at, copied_at_once);
      std::memcpy(to + at, from + at, piece);
      at += piece;
      keep_from(from + at);
    }
    give_back(begin_, end_);
    begin_ = end_ = nullptr;
  }

 private:
  static constexpr size_t offset = 64;  // of the data in their page: where malloc puts large arrays
  static constexpr size_t copied_at_once = size_t{4} << 20;

  static size_t page() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }
  static size_t in_pages(size_t bytes) { return (bytes + page() - 1) / page() * page(); }
  static void give_back(std::byte* begin, std::byte* end) {
    if (begin < end) munmap(begin, static_cast<size_t>(end - begin));
  }
  void keep_from(const std::byte* position) {
    std::byte* begin = begin_ + static_cast<size_t>(position - begin_) / page() * page();
    give_back(begin_, begin), begin_ = begin;
  }

  std::byte *begin_ = nullptr, *end_ = nullptr;  // whole pages
};

}  // namespace warphash
