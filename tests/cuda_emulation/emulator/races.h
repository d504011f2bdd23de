// SPDX-License-Identifier: Apache-2.0
// Finds data races from one run, whatever the schedule. The compiler's thread-sanitizer pass calls a hook at every load
// and store (compile with -fsanitize=thread, link without it); this file defines the hooks. Two accesses of one launch
// race if they touch the same byte, at least one writes, not both are atomic, and no __syncthreads, nor a __syncwarp
// that both lanes joined, nor, between blocks, a cluster_sync lies between them.
#pragma once
#include <dlfcn.h>

#include <unordered_map>

#include "engine.h"
#include "meeting.h"

#define CUDA_EMULATION_RAW __attribute__((no_sanitize("thread")))
namespace cuda_emulation {

struct Access {
  unsigned launch = 0, block = 0, thread = 0, epoch = 0, clock = 0, cluster_epoch = 0, proxy_fences = 0;
  uint8_t bytes = 0;
  bool atomic = false;
  const void* code = nullptr;
};
struct Shadow {
  Access write, reads[2];  // of blocks of even and of odd number, lest one's reads hide its neighbour's
};
inline std::unordered_map<uintptr_t, Shadow> shadow;  // by 4-byte word

CUDA_EMULATION_RAW inline bool within(uintptr_t address, const void* low, size_t n) {
  return address - reinterpret_cast<uintptr_t>(low) < n;
}
CUDA_EMULATION_RAW inline bool is_dynamic_shared(uintptr_t address) {
  for (auto& block : current->block->cluster->blocks)
    if (within(address, block->dynamic_shared, engine.dynamic_shared_bytes)) return true;
  return false;
}
// The same addresses in all blocks.
CUDA_EMULATION_RAW inline bool is_static_shared(uintptr_t address) {
  return within(address, __start_cuda_shared, static_shared_bytes());
}
CUDA_EMULATION_RAW inline bool is_shared(uintptr_t address) {
  return is_static_shared(address) || is_dynamic_shared(address);
}

CUDA_EMULATION_RAW inline bool unordered(const Access& old, const Thread& now, uint8_t bytes, bool atomic,
                                         uintptr_t address) {
  if (old.launch != engine.launches || !(old.bytes & bytes) || (old.atomic && atomic)) return false;
  if (old.block != now.block->serial) {
    if (is_static_shared(address)) return false;
    const bool same_cluster = (old.block - 1) / engine.cluster_size == (now.block->serial - 1) / engine.cluster_size;
    if (same_cluster && old.cluster_epoch != now.block->cluster->epoch) return false;
    // A thread that fences may know better about other blocks' global memory.
    return same_cluster && is_dynamic_shared(address) ? true : !is_shared(address) && !now.fences;
  }
  if (old.thread == now.number || old.epoch != now.block->epoch) return false;
  bool same_warp = old.thread / 32 == now.number / 32;
  return !(same_warp && now.clock[old.thread % 32] >= old.clock);
}

// Library and offset, for addr2line -e.
CUDA_EMULATION_RAW inline std::string code_name(const void* code) {
  Dl_info info;
  char offset[64];
  dladdr(code, &info);
  std::snprintf(offset, sizeof offset, "+0x%zx",
                size_t(static_cast<const char*>(code) - static_cast<const char*>(info.dli_fbase) - 1));
  return std::string(info.dli_fname) + offset;
}

[[noreturn]] inline void fail_race(const Access& old, bool old_writes, bool write, uintptr_t address,
                                   const void* code) {
  const Thread& now = *current;
  auto who = [](unsigned block, unsigned thread) {
    return "block " + std::to_string(block) + " thread " + std::to_string(thread);
  };
  fail(std::string("race on ") + (is_shared(address) ? "shared" : "global") +
       " memory: " + who(old.block - 1, old.thread) + (old_writes ? " wrote at " : " read at ") + code_name(old.code) +
       ", " + who(now.block->serial - 1, now.number) + (write ? " writes at " : " reads at ") + code_name(code));
}

inline void note(uintptr_t address, size_t size, bool write, bool atomic, const void* code) {
  Thread& now = *current;
  uintptr_t stack = reinterpret_cast<uintptr_t>(now.stack->bottom);
  if (address >= stack && address < stack + now.stack->size) return;
  for (uintptr_t word = address / 4; word <= (address + size - 1) / 4; ++word) {
    uint8_t bytes = 0;
    for (uintptr_t b = 0; b < 4; ++b) bytes |= (4 * word + b >= address && 4 * word + b < address + size) << b;
    Shadow& s = shadow[word];
    if (unordered(s.write, now, bytes, atomic, address)) fail_race(s.write, true, write, address, code);
    for (const Access& read : s.reads)
      if (write && unordered(read, now, bytes, atomic, address)) fail_race(read, false, write, address, code);
    unsigned launch = engine.launches, block = now.block->serial, epoch = now.block->epoch;
    Access access{launch,           block, now.number, epoch, now.clock[now.number % 32], now.block->cluster->epoch,
                  now.proxy_fences, bytes, atomic,     code};
    Access& read = s.reads[block % 2];
    bool read_is_past = read.launch != launch || read.block != block || read.epoch != epoch;
    // Keep the earlier reader if a later write could still race with it alone.
    if (write)
      s.write = access;
    else if (read_is_past || read.thread / 32 == now.number / 32)
      read = access;
  }
}

CUDA_EMULATION_RAW inline void hook(const void* address, size_t size, bool write, const void* code) {
  if (busy || size == 0) return;
  Busy guard;
  note(reinterpret_cast<uintptr_t>(address), size, write, false, code);
}

inline void note_access(const void* address, size_t bytes, bool write, bool atomic) {
  Busy guard;
  note(reinterpret_cast<uintptr_t>(address), bytes, write, atomic, __builtin_return_address(0));
}

// A block has ended: the heap may give its memory to something else.
inline void forget_accesses(const void* address, size_t bytes) {
  uintptr_t first = reinterpret_cast<uintptr_t>(address);
  for (uintptr_t word = first / 4; bytes && word <= (first + bytes - 1) / 4; ++word) shadow.erase(word);
}

// A bulk copy begins to read: each thread of the block has fenced after what it wrote there.
inline void check_proxy_fences(const void* address, size_t bytes) {
  const Block& block = *current->block;
  uintptr_t first = reinterpret_cast<uintptr_t>(address);
  for (uintptr_t word = first / 4; word <= (first + bytes - 1) / 4; ++word) {
    const Access& write = shadow[word].write;
    if (write.launch == engine.launches && write.block == block.serial &&
        write.proxy_fences == block.threads[write.thread].proxy_fences)
      fail_here("bulk copy",
                "reads what thread " + std::to_string(write.thread) + " wrote without fence_shared_for_async()");
  }
}

inline void join_clocks(Thread* const* lanes, unsigned mask) {
  std::array<unsigned, 32> all{};
  for (int l = 0; l < 32; ++l)
    for (int k = 0; (mask >> l & 1) && k < 32; ++k) all[k] = std::max(all[k], lanes[l]->clock[k]);
  for (int l = 0; l < 32; ++l)
    if (mask >> l & 1) lanes[l]->clock = all, ++lanes[l]->clock[l];
}

}  // namespace cuda_emulation

#define CUDA_EMULATION_HOOK(name, size, write)                                   \
  extern "C" __attribute__((weak)) CUDA_EMULATION_RAW void name(void* address) { \
    cuda_emulation::hook(address, size, write, __builtin_return_address(0));     \
  }
#define CUDA_EMULATION_HOOKS(size)                              \
  CUDA_EMULATION_HOOK(__tsan_read##size, size, false)           \
  CUDA_EMULATION_HOOK(__tsan_write##size, size, true)           \
  CUDA_EMULATION_HOOK(__tsan_unaligned_read##size, size, false) \
  CUDA_EMULATION_HOOK(__tsan_unaligned_write##size, size, true) \
  CUDA_EMULATION_HOOK(__tsan_volatile_read##size, size, false)  \
  CUDA_EMULATION_HOOK(__tsan_volatile_write##size, size, true)
CUDA_EMULATION_HOOKS(1)
CUDA_EMULATION_HOOKS(2)
CUDA_EMULATION_HOOKS(4)
CUDA_EMULATION_HOOKS(8)
CUDA_EMULATION_HOOKS(16)
extern "C" __attribute__((weak)) CUDA_EMULATION_RAW void __tsan_read_range(void* address, size_t n) {
  cuda_emulation::hook(address, n, false, __builtin_return_address(0));
}
extern "C" __attribute__((weak)) CUDA_EMULATION_RAW void __tsan_write_range(void* address, size_t n) {
  cuda_emulation::hook(address, n, true, __builtin_return_address(0));
}
extern "C" __attribute__((weak)) void __tsan_init() {}
extern "C" __attribute__((weak)) void __tsan_func_entry(void*) {}
extern "C" __attribute__((weak)) void __tsan_func_exit() {}
extern "C" __attribute__((weak)) void __tsan_vptr_update(void**, void*) {}
extern "C" __attribute__((weak)) void __tsan_vptr_read(void**) {}
