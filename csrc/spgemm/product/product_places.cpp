// SPDX-License-Identifier: Apache-2.0
#include "spgemm/product/product_places.h"

namespace warphash::spgemm {

Places::Places(int64_t blocks)
    : entries_(static_cast<size_t>(blocks), -1), begins_(static_cast<size_t>(blocks) + 1, 0) {}

bool Places::known(int64_t block, int64_t& begin) {
  const std::lock_guard lock(mutex_);
  if (block > known_) return false;
  begin = begins_[block];
  return true;
}

bool Places::wait(int64_t block, int64_t& begin) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return block <= known_ || failed_; });
  if (block > known_) return false;
  begin = begins_[block];
  return true;
}

void Places::done(int64_t block, int64_t entries) {
  {
    const std::lock_guard lock(mutex_);
    entries_[block] = entries;
    const int64_t blocks = static_cast<int64_t>(entries_.size());
    for (; known_ < blocks && entries_[known_] >= 0; ++known_) begins_[known_ + 1] = begins_[known_] + entries_[known_];
  }
  changed_.notify_all();
}

bool Places::failed() {
  const std::lock_guard lock(mutex_);
  return failed_;
}

void Places::fail() {
  {
    const std::lock_guard lock(mutex_);
    failed_ = true;
  }
  changed_.notify_all();
}

}  // namespace warphash::spgemm
