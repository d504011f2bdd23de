// SPDX-License-Identifier: Apache-2.0
// Memory of exactly the size asked for, so that mode asan sees what goes past it.
#pragma once

#include <cstdlib>
#include <cstring>

namespace warphash::spgemm {
namespace {

class Memory {
 public:
  explicit Memory(size_t bytes) : data_(std::malloc(bytes)) {
    if (data_ != nullptr) std::memset(data_, 0xa5, bytes);
  }
  ~Memory() { std::free(data_); }
  operator void*() const { return data_; }
  void copy_to(void* to, size_t bytes) const {
    if (to != nullptr && bytes > 0) std::memcpy(to, data_, bytes);
  }

 private:
  void* data_;
};

}  // namespace
}  // namespace warphash::spgemm
