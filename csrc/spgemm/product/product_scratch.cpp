// SPDX-License-Identifier: Apache-2.0
#include "spgemm/product/product_scratch.h"

#include <algorithm>
#include <cstring>

#include "spgemm/spgemm_workspace.h"

namespace warphash::spgemm {

ZeroedMemory::ZeroedMemory() : memory_(nullptr), data_(nullptr), size_(0) {}
ZeroedMemory::~ZeroedMemory() { release(); }
unsigned char* ZeroedMemory::data() const { return data_; }

void ZeroedMemory::release() {
  delete memory_;
  memory_ = nullptr, data_ = nullptr, size_ = 0;
}

bool ZeroedMemory::reserve(size_t bytes) {
  if (bytes <= size_) return false;
  // By half at least, so that growing costs no more than the rows that make it grow.
  bytes = std::max(bytes, size_ + size_ / 2);
  release();
  memory_ = new Workspace(static_cast<int64_t>(bytes), true);
  data_ = memory_->as<unsigned char>(), size_ = bytes;
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
