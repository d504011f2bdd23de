// SPDX-License-Identifier: Apache-2.0
// Where fibers meet: block barriers, warp collectives with their mask checks, and the points at which another thread
// may go first. A meeting that can never happen ends the launch with a message that says who waits where.
#pragma once
#include <bit>

#include "engine.h"

namespace cuda_emulation {

// ---- Failures -------------------------------------------------------------------------------------------------------

inline std::string text(uint3 v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

// Ends the launch: the message is kept, every fiber is dropped, run() returns an error.
[[noreturn]] inline void fail(const std::string& what) {
  engine.failed = true;
  engine.failure = what;
  switch_to(current, nullptr);
  std::abort();  // never resumed
}
[[noreturn]] inline void fail_here(const std::string& operation, const std::string& what) {
  fail(operation + ", block " + text(blockIdx) + " thread " + text(threadIdx) + ": " + what);
}
[[noreturn]] inline void fail_here(const char* operation, const Site& site, const std::string& what) {
  fail_here(std::string(operation) + " at " + site.file_name() + ":" + std::to_string(site.line()), what);
}

inline std::string where(const Thread& thread) {
  if (thread.state == State::exited) return "exited the kernel";
  if (thread.state == State::fresh || thread.state == State::ready) return "runs";
  char mask[32] = "";
  if (thread.state == State::at_warp) std::snprintf(mask, sizeof mask, "(mask %08x)", thread.mask);
  return std::string("waits at ") + thread.operation + mask + " " + thread.site.file_name() + ":" +
         std::to_string(thread.site.line());
}

inline std::string describe(const Block& block) {
  std::map<std::string, std::string> threads;
  for (size_t i = 0, next; i < block.threads.size(); i = next) {
    std::string at = where(block.threads[i]);
    for (next = i + 1; next < block.threads.size() && where(block.threads[next]) == at;) ++next;
    threads[at] += " " + std::to_string(i) + (next > i + 1 ? "-" + std::to_string(next - 1) : "");
  }
  std::string all = "divergent barrier, block " + text(block.index) + " can never go on:";
  for (auto& [at, who] : threads)
    all += "\n  " + at + ": threads" + (who.size() > 200 ? who.substr(0, 200) + " ..." : who);
  return all;
}

// ---- Meetings -------------------------------------------------------------------------------------------------------

// Threads first to first + count - 1; of up to 32, those that the mask names.
inline void make_ready(Block& block, unsigned first, unsigned mask, unsigned count) {
  std::vector<unsigned>& ready = block.ready;
  size_t old = ready.size();
  for (unsigned i = 0; i < count; ++i)
    if (count > 32 || mask >> i & 1) block.threads[first + i].state = State::ready, ready.push_back(first + i);
  if (engine.policy == Engine::low_first) std::reverse(ready.begin() + old, ready.end());
  if (engine.policy == Engine::ahead)
    for (size_t i = ready.size() - 1; i > old; --i) std::swap(ready[i], ready[old + engine.random() % (i - old + 1)]);
}

inline void make_all_ready(Block& block) {
  if (block.threads.size() > 32)
    make_ready(block, 0, 0, block.threads.size());
  else
    make_ready(block, 0, ~0u >> (32 - block.threads.size()), 32);
}

// The lanes named in mask meet; the last to arrive runs complete(inputs, outputs, mask).
template <class Output, class Input, class Complete>
Output warp_collective(const char* operation, unsigned mask, const Site& site, Input input, Complete complete,
                       bool any_site = false) {
  Busy guard;
  Thread& self = *current;
  Block& block = *self.block;
  Output output{};
  unsigned first = self.number & ~31u;
  if (!(mask >> (self.number & 31) & 1)) fail_here(operation, site, "the mask does not name the calling lane");
  self.operation = operation, self.mask = mask, self.site = site;
  self.input = &input, self.output = &output, self.polls = 0;
  self.state = State::at_warp;
  Thread* lanes[32]{};
  bool all_here = true;
  for (unsigned rest = mask; rest && all_here; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    bool exists = first + lane < block.threads.size();
    if (!exists || block.threads[first + lane].state == State::exited)
      fail_here(operation, site,
                "the mask names lane " + std::to_string(lane) +
                    (exists ? ", which exited the kernel" : ", which the block does not have"));
    Thread* other = lanes[lane] = &block.threads[first + lane];
    all_here = other->state == State::at_warp && other->mask == mask &&
               (other->operation == operation || !std::strcmp(other->operation, operation)) &&
               (any_site || (other->site.line() == site.line() && other->site.column() == site.column()));
  }
  if (all_here) {
    Input* inputs[32]{};
    Output* outputs[32]{};
    for (unsigned lane = 0; lane < 32; ++lane)
      if (lanes[lane]) {
        inputs[lane] = static_cast<Input*>(lanes[lane]->input);
        outputs[lane] = static_cast<Output*>(lanes[lane]->output);
      }
    complete(inputs, outputs, mask);
    if (any_site) join_clocks(lanes, mask);  // only __syncwarp orders memory, not the shuffles and votes
    engine.idle_polls = 0;
    make_ready(block, first, mask, 32);
  }
  switch_to(&self, pick(block));
  return output;
}

// All threads of the block meet; returns how many predicates hold.
inline int block_collective(const char* operation, int predicate, const Site& site) {
  Busy guard;
  Thread& self = *current;
  Block& block = *self.block;
  int count = 0;
  self.operation = operation, self.site = site, self.input = &predicate, self.output = &count, self.polls = 0;
  self.state = State::at_block;
  if (++block.arrived == block.threads.size()) {
    for (Thread& t : block.threads) {
      bool same_site = t.site.line() == site.line() && t.site.column() == site.column();
      if (!same_site || std::strcmp(t.operation, operation)) fail(describe(block));
      count += *static_cast<int*>(t.input) != 0;
    }
    for (Thread& t : block.threads) *static_cast<int*>(t.output) = count;
    block.arrived = 0, ++block.epoch, engine.idle_polls = 0;
    make_all_ready(block);
  }
  switch_to(&self, pick(block));
  return count;
}

// All threads of the cluster meet.
inline void cluster_collective(const char* operation, const Site& site) {
  Busy guard;
  Thread& self = *current;
  Cluster& cluster = *self.block->cluster;
  self.operation = operation, self.site = site, self.polls = 0, self.state = State::at_cluster;
  if (++cluster.arrived == cluster.blocks.size() * self.block->threads.size()) {
    for (auto& block : cluster.blocks)
      for (Thread& t : block->threads)
        if (t.site.line() != site.line() || t.site.column() != site.column()) fail(describe(*block));
    cluster.arrived = 0, ++cluster.epoch, engine.idle_polls = 0;
    for (auto& block : cluster.blocks) ++block->epoch, make_all_ready(*block);
  }
  switch_to(&self, pick(*self.block));
}

// At atomics, fences and polling loads: another thread may go first. A thread that only polls goes to the end of the
// queue, and from time to time another block gets a turn, so that spinning ends.
inline void yield_point(bool poll = false) {
  Busy guard;
  Thread& self = *current;
  bool spins = poll || ++self.polls % 64 == 0;
  if (!spins && !(engine.is_random() && engine.random() % 8 == 0)) return;
  if (spins && ++engine.idle_polls > 300000)
    fail("no progress: block " + text(blockIdx) + " thread " + text(threadIdx) + " and others spin; " +
         std::to_string(engine.resident.size()) +
         " blocks are resident, and blocks start in order only when an earlier one has ended");
  std::vector<unsigned>& ready = self.block->ready;
  if (spins)
    ready.insert(ready.begin(), self.number);
  else
    ready.insert(ready.begin() + engine.random() % (ready.size() + 1), self.number);
  switch_to(&self, spins && engine.idle_polls % 16 == 0 ? nullptr : pick(*self.block));
}

inline void fence() {
  {
    Busy guard;
    ++current->fences;
  }
  yield_point();
}

}  // namespace cuda_emulation
