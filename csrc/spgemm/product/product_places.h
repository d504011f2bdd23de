// SPDX-License-Identifier: Apache-2.0
// Where blocks of rows begin in a product that is made at once: a block's place is known when all before it are done.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <vector>

namespace warphash::spgemm {

class Places {
 public:
  explicit Places(int64_t blocks);

  // False where the place is not known yet.
  bool known(int64_t block, int64_t& begin);
  // Waits for it: blocks are taken in order, so whoever has an earlier one is at work. False where a worker failed.
  bool wait(int64_t block, int64_t& begin);
  void done(int64_t block, int64_t entries);
  bool failed();

  // Lets nobody wait for a block whose worker an exception ends.
  class Failure {
   public:
    explicit Failure(Places& places) : places_(places), exceptions_(std::uncaught_exceptions()) {}
    Failure(const Failure&) = delete;
    Failure& operator=(const Failure&) = delete;
    ~Failure() {
      if (std::uncaught_exceptions() > exceptions_) places_.fail();
    }

   private:
    Places& places_;
    int exceptions_;
  };

 private:
  void fail();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int64_t> entries_, begins_;  // of blocks; begins are known up to and with known_
  int64_t known_ = 0;
  bool failed_ = false;
};

}  // namespace warphash::spgemm
