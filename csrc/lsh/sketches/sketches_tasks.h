// SPDX-License-Identifier: Apache-2.0
// How the work on sets is cut for threads, and how tokens come to the loops.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/parallel.h"
#include "lsh/sketches/sketches.h"

namespace warphash::lsh {

// A run of sets, or the tokens [begin, end) of one long set.
struct Task {
  int64_t first_set, end_set;
  int64_t begin = -1, end = -1;
  bool part() const { return begin >= 0; }
};

// Tasks of about `grain` tokens, a set counting as a few. Sets are cut where they hold up more than their share: at most
// some tens of parts a thread, however many tokens there are.
inline std::vector<Task> cut(const Sets& sets, int64_t grain) {
  constexpr int64_t set_cost = 8;
  const int64_t share = std::max(grain, sets.count / (8 * thread_count()));
  std::vector<Task> tasks;
  int64_t first = 0, cost = 0;
  for (int64_t set = 0; set < sets.sets; ++set) {
    const int64_t begin = sets.offsets[set], end = sets.offsets[set + 1];
    if (end - begin >= 2 * share && thread_count() > 1) {
      if (first < set) tasks.push_back({first, set});
      for (int64_t at = begin; at < end; at += share) tasks.push_back({set, set + 1, at, std::min(at + share, end)});
      first = set + 1, cost = 0;
    } else if ((cost += end - begin + set_cost) >= grain) {
      tasks.push_back({first, set + 1});
      first = set + 1, cost = 0;
    }
  }
  if (first < sets.sets) tasks.push_back({first, sets.sets});
  return tasks;
}

// body(row) for each row of signatures.
template <class Body>
void for_rows(const Signatures& signatures, Body&& body) {
  if (signatures.rows == 0 || signatures.width == 0) return;
  const int64_t block = std::max<int64_t>(1, (int64_t{1} << 15) / signatures.width);
  const int64_t tasks = (signatures.rows + block - 1) / block;
  parallel_tasks_if(tasks > 1, tasks, [&](int64_t task) {
    const int64_t end = std::min(signatures.rows, (task + 1) * block);
    for (int64_t row = task * block; row < end; ++row) body(row);
  });
}

// full: fmix32, or of int64 the low half of fmix64; low_halves: fmix32 of the low half; none: uint64 as they are.
enum class Mixing { full, low_halves, none };

// A piece of the tokens, on a thread's stack.
struct TokenBuffer {
  static constexpr int64_t size = 1024;
  alignas(64) uint64_t words[size];
};

class TokenSource {
 public:
  TokenSource(const SketchKernels& kernels, const Sets& sets, Mixing mixing)
      : kernels_(kernels), tokens_(sets.tokens), wide_(sets.wide), mixing_(mixing) {}

  // Tokens at .. at + count - 1 with count <= TokenBuffer::size: uint64 where they are not mixed, else uint32.
  const void* load(int64_t at, int64_t count, TokenBuffer& buffer) const {
    const uint32_t* narrow = static_cast<const uint32_t*>(tokens_) + at;
    const uint64_t* wide = static_cast<const uint64_t*>(tokens_) + at;
    if (mixing_ == Mixing::none) {
      if (wide_) return wide;
      std::copy_n(narrow, count, buffer.words);
      return buffer.words;
    }
    uint32_t* mixed = reinterpret_cast<uint32_t*>(buffer.words);
    if (mixing_ == Mixing::full && wide_) {
      kernels_.mix_wide(wide, count, mixed);
    } else if (wide_) {
      for (int64_t i = 0; i < count; ++i) mixed[i] = static_cast<uint32_t>(wide[i]);
      kernels_.mix(mixed, count, mixed);
    } else {
      kernels_.mix(narrow, count, mixed);
    }
    return mixed;
  }

 private:
  const SketchKernels& kernels_;
  const void* tokens_;
  bool wide_;
  Mixing mixing_;
};

}  // namespace warphash::lsh
