// SPDX-License-Identifier: Apache-2.0
#include "spgemm/product/product_scratch.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "common/memory.h"

namespace warphash::spgemm {
namespace {
constexpr size_t mapped_from = size_t{1} << 20, line = 64;
}

ZeroedMemory::ZeroedMemory() : memory_(nullptr), data_(nullptr), size_(0), mapped_(false) {}
ZeroedMemory::~ZeroedMemory() { release(); }
unsigned char* ZeroedMemory::data() const { return data_; }

void ZeroedMemory::release() {
  if (mapped_)
    munmap(memory_, size_);
  else
    std::free(memory_);
  memory_ = data_ = nullptr, size_ = 0, mapped_ = false;
}

bool ZeroedMemory::reserve(size_t bytes) {
  if (bytes <= size_) return false;
  // By half at least, so that growing costs no more than the rows that make it grow.
  bytes = std::max(bytes, size_ + size_ / 2);
  release();
  if (bytes >= mapped_from) {
    memory_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) {
      memory_ = nullptr;
      throw std::bad_alloc();
    }
    prefer_large_pages(memory_, bytes);
    mapped_ = true, data_ = static_cast<unsigned char*>(memory_);
  } else {
    // Not aligned_alloc, whose fragments let a process grow over many calls.
    memory_ = std::calloc(bytes + line, 1);
    if (memory_ == nullptr) throw std::bad_alloc();
    data_ = reinterpret_cast<unsigned char*>((reinterpret_cast<uintptr_t>(memory_) + line - 1) / line * line);
  }
  size_ = bytes;
  return true;
}

Scratch::Scratch() = default;
Scratch::~Scratch() = default;

void sort_keys(uint64_t* keys, uint64_t* spare, int64_t count, int low, int bits) {
  constexpr int digit = 8, buckets = 1 << digit;
  const int passes = (bits + digit - 1) / digit;
  if (count < 256) return std::sort(keys, keys + count);
  uint64_t *from = keys, *to = spare;
  for (int pass = 0; pass < passes; ++pass) {
    const int shift = low + pass * digit;
    int64_t places[buckets] = {};
    for (int64_t i = 0; i < count; ++i) ++places[from[i] >> shift & (buckets - 1)];
    int64_t place = 0;
    for (int64_t& bucket : places) {
      const int64_t size = bucket;
      bucket = place, place += size;
    }
    for (int64_t i = 0; i < count; ++i) to[places[from[i] >> shift & (buckets - 1)]++] = from[i];
    std::swap(from, to);
  }
  if (from != keys) std::memcpy(keys, from, static_cast<size_t>(count) * sizeof(uint64_t));
}

}  // namespace warphash::spgemm
