// SPDX-License-Identifier: Apache-2.0
// Each CUDA thread is a fiber; one OS thread runs them all. This file holds the state of a launch, the fibers' stacks
// and the switch between them. A seed picks which fiber goes next at each barrier, warp intrinsic and atomic, so that a
// run can be repeated exactly: seed 0 prefers low threads, seed 1 high ones, the other even seeds draw uniformly, and
// the other odd seeds let one warp run far ahead.
#pragma once
#include <sys/mman.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include "language.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

extern "C" char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern "C" void cuda_emulation_switch(void** save_stack_pointer, void* load_stack_pointer);
#if !defined(__x86_64__)
#error "write cuda_emulation_switch for this processor"
#endif
asm(R"(
.pushsection .text
.weak cuda_emulation_switch
.hidden cuda_emulation_switch
.type cuda_emulation_switch, @function
cuda_emulation_switch:
  push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
  ret
.popsection
)");

namespace cuda_emulation {

using Site = std::source_location;

enum class State : uint8_t { fresh, ready, at_warp, at_block, at_cluster, exited };
struct Stack {
  char* bottom;
  size_t size;
};
struct Copy {  // an asynchronous copy under way; the bytes from `bytes` to `filled` become zero
  void* to;
  const void* from;
  size_t bytes, filled;
  unsigned group;
};
struct BulkCopy {  // from shared to global memory, under way
  void* to;
  const void* from;
  size_t bytes;
  unsigned group;
  std::vector<char> source;  // as it was when the copy began
};
struct Block;
struct Cluster;

struct Thread {
  uint3 index{};
  unsigned number = 0;  // within the block
  Block* block = nullptr;
  State state = State::fresh;
  Stack* stack = nullptr;
  void* stack_pointer = nullptr;
  void* fake_stack = nullptr;       // AddressSanitizer's
  const char* operation = nullptr;  // what it waits at:
  unsigned mask = 0;
  Site site;
  void* input = nullptr;
  void* output = nullptr;
  unsigned polls = 0, copy_group = 0, bulk_group = 0;
  std::vector<Copy> copies;
  std::vector<BulkCopy> bulk_copies;
  std::array<unsigned, 32> clock{};  // races.h: what it knows of its warp's lanes
  unsigned fences = 0, proxy_fences = 0;
};

struct Block {
  uint3 index{};
  unsigned serial = 0, epoch = 0, alive = 0, arrived = 0;
  Cluster* cluster = nullptr;
  unsigned rank = 0;       // within the cluster
  unsigned lent_in = ~0u;  // the cluster's epoch when another block last asked for this one's shared memory
  std::vector<Thread> threads;
  std::vector<unsigned> ready;  // the last one runs next
  char* dynamic_shared = nullptr;
  std::vector<char> static_shared;  // kept here while another block runs
  ~Block() { std::free(dynamic_shared); }
};

// Blocks that start together and see each other's shared memory; without clusters each block is one of its own.
struct Cluster {
  std::vector<std::unique_ptr<Block>> blocks;
  unsigned arrived = 0, epoch = 0;  // epoch: how many times all of its threads have met
};

inline Thread* current = nullptr;
inline bool busy = true;  // false only while kernel code runs

struct Engine {
  dim3 grid_size, block_size;
  size_t dynamic_shared_bytes = 0;
  uint64_t seed = 0, random_state = 1;
  unsigned launches = 0, first_launch = 0, resident_limit = 0;
  enum { low_first, high_first, uniform, ahead } policy = low_first;
  bool eager_copies = false;
  void (*invoke)(void*) = nullptr;
  void* arguments = nullptr;
  unsigned cluster_size = 1;
  int compute_major = 9;  // of the emulated card
  unsigned largest_cluster = 8;
  std::vector<std::unique_ptr<Cluster>> clusters;
  std::vector<Block*> resident;
  Block* loaded = nullptr;  // whose static shared memory is in place
  unsigned idle_polls = 0;
  std::string failure;
  bool failed = false;
  void* main_stack_pointer = nullptr;
  void* main_fake_stack = nullptr;
  const void* main_bottom = nullptr;
  size_t main_size = 0;
  bool from_main = true;
  std::vector<Stack*> free_stacks;
  std::map<const void*, size_t> dynamic_shared_limit;
  std::mutex mutex;

  uint64_t random() {
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1dull >> 16;
  }
  bool is_random() const { return policy == uniform || policy == ahead; }
};
inline Engine engine;

// Engine code runs inside one of these, so that races.h does not look at it.
struct Busy {
  bool before;
  __attribute__((no_sanitize("thread"), noinline)) Busy() : before(busy) { busy = true; }
  __attribute__((no_sanitize("thread"), noinline)) ~Busy() { busy = before; }
};

#if defined(CUDA_EMULATION_RACES)
inline void note_access(const void* address, size_t bytes, bool write, bool atomic);
inline void join_clocks(Thread* const* lanes, unsigned mask);
inline void forget_accesses(const void* address, size_t bytes);
inline void check_proxy_fences(const void* address, size_t bytes);
#else
inline void note_access(const void*, size_t, bool, bool) {}
inline void join_clocks(Thread* const*, unsigned) {}
inline void forget_accesses(const void*, size_t) {}
inline void check_proxy_fences(const void*, size_t) {}
#endif

// AddressSanitizer poisons the gaps between shared arrays, which these copy along: hence no memcpy.
inline void copy_raw(void* to, const void* from, size_t n) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
}
inline void fill_raw(void* to, int byte, size_t n) {
  asm volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(byte) : "memory");
}
inline size_t static_shared_bytes() { return __start_cuda_shared ? __stop_cuda_shared - __start_cuda_shared : 0; }

// ---- Stacks and the switch ------------------------------------------------------------------------------------------

void fiber_main();

inline Stack* take_stack() {
  if (engine.free_stacks.empty()) {
#if defined(__SANITIZE_ADDRESS__)
    constexpr size_t size = 256 << 10;
#else
    constexpr size_t size = 64 << 10;
#endif
    constexpr size_t guard = 4096;
    void* pages =
        mmap(nullptr, guard + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) std::perror("cuda_emulation: stack"), std::abort();
    mprotect(pages, guard, PROT_NONE);
    // Stacks end at different offsets, or their hot ends would all fall into the same cache sets.
    size_t colour = reinterpret_cast<uintptr_t>(pages) / (guard + size) % 16 * 192;
    return new Stack{static_cast<char*>(pages) + guard, size - colour};
  }
  Stack* stack = engine.free_stacks.back();
  engine.free_stacks.pop_back();
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(stack->bottom, stack->size);
#endif
  return stack;
}

// The first thing a fiber does after each switch.
inline void landed([[maybe_unused]] void* fake_stack) {
#if defined(__SANITIZE_ADDRESS__)
  const void* bottom;
  size_t size;
  __sanitizer_finish_switch_fiber(fake_stack, &bottom, &size);
  if (engine.from_main) engine.main_bottom = bottom, engine.main_size = size;
#endif
}

// Both may be null, which means the launching thread's own stack.
inline void switch_to(Thread* from, Thread* to) {
  if (from == to) return;
  if (to && to->state == State::fresh) {
    to->stack = take_stack();
    uintptr_t end = reinterpret_cast<uintptr_t>(to->stack->bottom) + to->stack->size;
    void** top = reinterpret_cast<void**>(end & ~uintptr_t(15));
    std::fill(top - 8, top, nullptr);
    top[-2] = reinterpret_cast<void*>(&fiber_main);
    to->stack_pointer = top - 8;
  }
  if (to) to->state = State::ready;
  current = to;
  engine.from_main = !from;
  bool leaves_for_good = from && from->state == State::exited;
  if (leaves_for_good) engine.free_stacks.push_back(from->stack), from->stack = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  void** fake = leaves_for_good ? nullptr : from ? &from->fake_stack : &engine.main_fake_stack;
  __sanitizer_start_switch_fiber(fake, to ? to->stack->bottom : engine.main_bottom,
                                 to ? to->stack->size : engine.main_size);
#endif
  cuda_emulation_switch(from ? &from->stack_pointer : &engine.main_stack_pointer,
                        to ? to->stack_pointer : engine.main_stack_pointer);
  landed(from ? from->fake_stack : engine.main_fake_stack);
}

// The block's next fiber; null: back to run(), which may change blocks.
inline Thread* pick(Block& block) {
  std::vector<unsigned>& ready = block.ready;
  if (ready.empty()) return nullptr;
  if (engine.resident.size() > 1 && engine.is_random() && engine.random() % 64 == 0) return nullptr;
  if (engine.policy == Engine::uniform) std::swap(ready[engine.random() % ready.size()], ready.back());
  Thread* thread = &block.threads[ready.back()];
  ready.pop_back();
  return thread;
}

__attribute__((no_sanitize("thread"))) inline void fiber_main() {
  landed(nullptr);
  for (;;) {
    Thread* self = current;
    busy = false;
    engine.invoke(engine.arguments);
    busy = true;
    self->state = State::exited;
    --self->block->alive;
    engine.idle_polls = 0;
    Thread* next = pick(*self->block);
    if (next && next->state == State::fresh) {  // run it on this stack: no switch at all
      next->stack = std::exchange(self->stack, nullptr);
      next->state = State::ready;
      current = next;
    } else {
      switch_to(self, next);  // does not return
    }
  }
}

}  // namespace cuda_emulation
