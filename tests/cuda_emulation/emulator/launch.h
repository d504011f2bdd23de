// SPDX-License-Identifier: Apache-2.0
// Runs one launch: starts blocks in index order, up to four alive at once, and gives them turns until all have ended.
#pragma once
#include <tuple>

#include "meeting.h"

namespace cuda_emulation {

// Brings the block's static shared memory into place.
inline void load(Block& block) {
  size_t n = static_shared_bytes();
  if (n == 0 || engine.loaded == &block) return;
  if (engine.loaded) {
    engine.loaded->static_shared.resize(n);
    copy_raw(engine.loaded->static_shared.data(), __start_cuda_shared, n);
  }
  if (block.static_shared.empty())
    fill_raw(__start_cuda_shared, 0xff, n);  // a fresh block finds NaN and -1
  else
    copy_raw(__start_cuda_shared, block.static_shared.data(), n);
  engine.loaded = &block;
}

inline bool is_legal(dim3 grid, dim3 block, size_t shared_bytes, const void* kernel) {
  auto limit = engine.dynamic_shared_limit.find(kernel);
  size_t most_shared = limit == engine.dynamic_shared_limit.end() ? 49152 : limit->second;
  size_t threads = size_t(block.x) * block.y * block.z;
  return grid.x && grid.y && grid.z && grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535 && threads &&
         threads <= 1024 && block.z <= 64 && shared_bytes <= most_shared;
}

inline bool start_block(size_t k) {
  dim3 grid = engine.grid_size, size = engine.block_size;
  Block& block = *engine.resident.emplace_back(std::make_unique<Block>());
  block.serial = k + 1;
  block.index = {unsigned(k % grid.x), unsigned(k / grid.x % grid.y), unsigned(k / grid.x / grid.y)};
  block.threads.resize(block.alive = size.x * size.y * size.z);
  for (unsigned i = 0; i < block.alive; ++i) {
    Thread& thread = block.threads[i];
    thread.number = i, thread.block = &block, thread.clock[i % 32] = 1;
    thread.index = {i % size.x, i / size.x % size.y, i / size.x / size.y};
  }
  make_ready(block, 0, block.alive < 32 ? ~(~0u << block.alive) : ~0u, std::max(32u, block.alive));
  for (Thread& thread : block.threads) thread.state = State::fresh;
  if (engine.dynamic_shared_bytes == 0) return true;
  void* memory = nullptr;
  if (posix_memalign(&memory, 128, engine.dynamic_shared_bytes)) return false;
  block.dynamic_shared = static_cast<char*>(memory);
  std::memset(memory, 0xff, engine.dynamic_shared_bytes);
  return true;
}

inline void begin(uint64_t seed) {
  engine.random_state = (seed + 1) * 0x9e3779b97f4a7c15ull ^ (++engine.launches - engine.first_launch);
  for (int i = 0; i < 8; ++i) engine.random();
  engine.policy = seed == 0   ? Engine::low_first
                  : seed == 1 ? Engine::high_first
                  : seed % 2  ? Engine::ahead
                              : Engine::uniform;
  engine.eager_copies = engine.is_random() ? engine.random() & 1 : seed == 1;
  engine.failed = false, engine.idle_polls = 0, engine.loaded = nullptr;
}

inline cudaError_t run(dim3 grid, dim3 block_size, size_t shared_bytes, const void* kernel, void (*invoke)(void*),
                       void* arguments) {
  if (current) std::fprintf(stderr, "cuda_emulation: launch inside a kernel\n"), std::abort();
  std::lock_guard lock(engine.mutex);
  if (!is_legal(grid, block_size, shared_bytes, kernel)) {
    engine.failure = "invalid launch configuration";
    return cudaErrorInvalidConfiguration;
  }
  engine.grid_size = grid, engine.block_size = block_size, engine.dynamic_shared_bytes = shared_bytes;
  engine.invoke = invoke, engine.arguments = arguments;
  begin(engine.seed);
  unsigned residents = engine.resident_limit ? engine.resident_limit : engine.seed < 2 ? 1 : 1 + engine.random() % 4;
  if (!__start_cuda_shared) residents = 1;  // linked without shared_section.ld: one copy of the shared memory
  size_t blocks = size_t(grid.x) * grid.y * grid.z, next = 0, turn = 0;
  while (!engine.failed) {
    while (engine.resident.size() < residents && next < blocks)
      if (!start_block(next++)) {
        engine.resident.clear();
        return cudaErrorMemoryAllocation;
      }
    if (engine.resident.empty()) break;
    turn = engine.is_random() ? engine.random() : turn + 1;
    size_t place = turn % engine.resident.size();
    Block& block = *engine.resident[place];
    load(block);
    if (Thread* thread = pick(block)) switch_to(nullptr, thread);
    if (engine.failed) break;
    if (block.alive == 0) {
      engine.loaded = nullptr;
      forget_accesses(block.dynamic_shared, shared_bytes);
      engine.resident.erase(engine.resident.begin() + place);
    } else if (block.ready.empty()) {
      engine.failed = true, engine.failure = describe(block);
    }
  }
  for (auto& block : engine.resident)
    for (Thread& thread : block->threads)
      if (thread.stack) engine.free_stacks.push_back(thread.stack);
  engine.resident.clear();
  current = nullptr;
  return engine.failed ? cudaErrorLaunchFailure : cudaSuccess;
}

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t,
                   Arguments&&... arguments) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> parameters;
  } call{kernel, {static_cast<Arguments&&>(arguments)...}};
  auto invoke = [](void* p) { std::apply(static_cast<Call*>(p)->kernel, static_cast<Call*>(p)->parameters); };
  return run(grid, block, shared_bytes, reinterpret_cast<const void*>(kernel), invoke, &call);
}

}  // namespace cuda_emulation
