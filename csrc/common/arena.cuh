// SPDX-License-Identifier: Apache-2.0
// Host side of launchers: how a workspace is carved up, and the arithmetic of grids.
#pragma once

#include <cstddef>
#include <cstdint>

namespace warphash {

// Hands out consecutive pieces, each aligned to 256 bytes. Over a null base it only adds sizes up.
class Arena {
 public:
  explicit Arena(void* base) : base_(static_cast<char*>(base)) {}
  template <class T>
  T* take(int64_t count) {
    char* piece = base_ + used_;
    used_ += (static_cast<size_t>(count) * sizeof(T) + 255) / 256 * 256;
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(piece);
  }
  size_t used() const { return used_; }

 private:
  char* base_;
  size_t used_ = 0;
};

inline int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t clamp(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}

}  // namespace warphash
