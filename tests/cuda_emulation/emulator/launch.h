// SPDX-License-Identifier: Apache-2.0
// Runs one launch: starts blocks in index order, up to four, or clusters, alive at once, and gives them turns until all
// have ended.
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

inline bool start_block(Cluster& cluster, size_t k) {
  dim3 grid = engine.grid_size, size = engine.block_size;
  Block& block = *cluster.blocks.emplace_back(std::make_unique<Block>());
  engine.resident.push_back(&block);
  block.serial = k + 1;
  block.cluster = &cluster, block.rank = cluster.blocks.size() - 1;
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

inline bool start_cluster(size_t first) {
  Cluster& cluster = *engine.clusters.emplace_back(std::make_unique<Cluster>());
  for (size_t k = 0; k < engine.cluster_size; ++k)
    if (!start_block(cluster, first + k)) return false;
  return true;
}

// Says what is wrong with how a block has ended; empty if nothing is. The other blocks of its cluster no longer find what
// was in its shared memory.
inline std::string end_block(Block& block) {
  engine.loaded = nullptr;
  for (const Thread& thread : block.threads)
    if (!thread.bulk_copies.empty())
      return "bulk copy: block " + text(block.index) + " thread " + text(thread.index) +
             " ended before it waited for its copies";
  if (block.lent_in == block.cluster->epoch)
    return "block " + text(block.index) +
           " ended while another one may use its shared memory: cluster_sync() comes between";
  if (block.dynamic_shared) std::memset(block.dynamic_shared, 0xff, engine.dynamic_shared_bytes);
  Cluster* cluster = block.cluster;
  for (auto& other : cluster->blocks)
    if (other->alive) {
#if defined(__SANITIZE_ADDRESS__)
      ASAN_POISON_MEMORY_REGION(block.dynamic_shared, engine.dynamic_shared_bytes);
#endif
      return "";
    }
  for (auto& ended : cluster->blocks) {
    forget_accesses(ended->dynamic_shared, engine.dynamic_shared_bytes);
#if defined(__SANITIZE_ADDRESS__)
    ASAN_UNPOISON_MEMORY_REGION(ended->dynamic_shared, engine.dynamic_shared_bytes);
#endif
  }
  std::erase_if(engine.clusters, [&](auto& candidate) { return candidate.get() == cluster; });
  return "";
}

// None of the cluster's threads can go on: what each of its blocks waits for. Empty if one can.
inline std::string describe_stuck(const Cluster& cluster) {
  std::string all;
  for (auto& block : cluster.blocks) {
    if (!block->ready.empty()) return "";
    all += (all.empty() ? "" : "\n") + describe(*block);
  }
  return all;
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

inline cudaError_t run(dim3 grid, dim3 block_size, unsigned cluster_size, size_t shared_bytes, const void* kernel,
                       void (*invoke)(void*), void* arguments) {
  if (current) std::fprintf(stderr, "cuda_emulation: launch inside a kernel\n"), std::abort();
  std::lock_guard lock(engine.mutex);
  bool is_legal_cluster = cluster_size == 1 || (engine.compute_major >= 9 && cluster_size >= 1 &&
                                                cluster_size <= engine.largest_cluster && grid.x % cluster_size == 0);
  if (!is_legal(grid, block_size, shared_bytes, kernel) || !is_legal_cluster) {
    engine.failure = "invalid launch configuration";
    return cudaErrorInvalidConfiguration;
  }
  engine.grid_size = grid, engine.block_size = block_size, engine.dynamic_shared_bytes = shared_bytes;
  engine.cluster_size = cluster_size;
  engine.invoke = invoke, engine.arguments = arguments;
  begin(engine.seed);
  unsigned residents = engine.resident_limit ? engine.resident_limit : engine.seed < 2 ? 1 : 1 + engine.random() % 4;
  if (!__start_cuda_shared) residents = 1;  // linked without shared_section.ld: one copy of the shared memory
  residents = engine.resident_limit ? std::max(residents, cluster_size) : residents * cluster_size;
  size_t blocks = size_t(grid.x) * grid.y * grid.z, next = 0, turn = 0;
  while (!engine.failed) {
    for (; engine.resident.size() + cluster_size <= residents && next < blocks; next += cluster_size)
      if (!start_cluster(next)) {
        engine.resident.clear(), engine.clusters.clear();
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
      engine.resident.erase(engine.resident.begin() + place);
      if (std::string wrong = end_block(block); !wrong.empty()) engine.failed = true, engine.failure = wrong;
    } else if (block.ready.empty()) {
      std::string stuck = describe_stuck(*block.cluster);
      if (!stuck.empty()) engine.failed = true, engine.failure = stuck;
    }
  }
  for (auto& cluster : engine.clusters)
    for (auto& block : cluster->blocks) {
      for (Thread& thread : block->threads)
        if (thread.stack) engine.free_stacks.push_back(thread.stack);
#if defined(__SANITIZE_ADDRESS__)
      ASAN_UNPOISON_MEMORY_REGION(block->dynamic_shared, shared_bytes);
#endif
    }
  engine.resident.clear(), engine.clusters.clear();
  current = nullptr;
  return engine.failed ? cudaErrorLaunchFailure : cudaSuccess;
}

template <class... Parameters, class... Arguments>
cudaError_t launch_clusters(void (*kernel)(Parameters...), unsigned cluster_size, dim3 grid, dim3 block,
                            size_t shared_bytes, cudaStream_t, Arguments&&... arguments) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> parameters;
  } call{kernel, {static_cast<Arguments&&>(arguments)...}};
  auto invoke = [](void* p) { std::apply(static_cast<Call*>(p)->kernel, static_cast<Call*>(p)->parameters); };
  return run(grid, block, cluster_size, shared_bytes, reinterpret_cast<const void*>(kernel), invoke, &call);
}

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                   Arguments&&... arguments) {
  return launch_clusters(kernel, 1, grid, block, shared_bytes, stream, static_cast<Arguments&&>(arguments)...);
}

}  // namespace cuda_emulation
