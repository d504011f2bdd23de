// SPDX-License-Identifier: Apache-2.0
// What the drivers share: checks, threads, memory that ends where it ends.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "common/amx_tiles.h"
#include "common/parallel.h"

#define ENTRY extern "C" __attribute__((visibility("default")))

namespace {

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "driver: %s\n", what);
  std::abort();
}

}  // namespace

// In place of torch's threads. No thread may keep its tiles.
namespace warphash {

int thread_count() { return 2; }

void run_tasks(int64_t tasks, void (*body)(void* context, int64_t task), void* context) {
  std::atomic<int64_t> next{0};
  auto work = [&] {
    for (int64_t task; (task = next.fetch_add(1)) < tasks;) {
      body(context, task);
      expect(!amx::tiles_are_configured(), "a task has kept its tiles");
    }
  };
  std::thread other(work);
  work();
  other.join();
}

}  // namespace warphash

namespace {

// A copy that ends where its memory ends: a read past it is a fault, in masked loads too, which no sanitizer sees.
class GuardedCopy {
 public:
  GuardedCopy(const uint8_t* from, size_t size) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    inner_ = (size + page - 1) / page * page;
    void* memory = mmap(nullptr, inner_ + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    expect(memory != MAP_FAILED, "out of memory");
    base_ = static_cast<uint8_t*>(memory);
    expect(mprotect(base_ + inner_, page, PROT_NONE) == 0, "no guard page");
    mapped_ = inner_ + page;
    if (size > 0) std::memcpy(base_ + inner_ - size, from, size);
    data_ = base_ + inner_ - size;
  }
  ~GuardedCopy() { munmap(base_, mapped_); }
  GuardedCopy(const GuardedCopy&) = delete;
  GuardedCopy& operator=(const GuardedCopy&) = delete;
  const uint8_t* data() const { return data_; }

 private:
  uint8_t* base_;
  const uint8_t* data_;
  size_t inner_, mapped_;
};

}  // namespace
