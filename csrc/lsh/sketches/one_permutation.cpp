// SPDX-License-Identifier: Apache-2.0
// One-permutation MinHash over all sets, and densification over all rows. Bound: units for integers and stores, then memory.
#include <algorithm>
#include <mutex>
#include <vector>

#include "common/memory.h"
#include "common/parallel.h"
#include "lsh/sketches/sketches_densify.h"
#include "lsh/sketches/sketches_tasks.h"

namespace warphash::lsh {

void one_permutation(Isa isa, const Sets& sets, int64_t bins, uint32_t a, uint32_t b, uint32_t* signatures) {
  check_offsets(sets);
  if (sets.sets == 0) return;
  const SketchKernels& kernels = sketch_kernels(isa);
  const TokenSource source(kernels, sets, Mixing::full);
  // A task's rows are written too.
  const std::vector<Task> tasks = cut(sets, std::max<int64_t>(int64_t{1} << 15, 4 * bins));
  for (const Task& task : tasks)
    if (task.part()) std::fill_n(signatures + task.first_set * bins, bins, no_value);

  std::mutex merging;
  const bool worth_it = sets.count + sets.sets * (bins / 16) > int64_t{1} << 15;
  parallel_tasks_if(worth_it, static_cast<int64_t>(tasks.size()), [&](int64_t index) {
    const Task& task = tasks[static_cast<size_t>(index)];
    TokenBuffer buffer;
    const auto sketch = [&](int64_t begin, int64_t end, uint32_t* row) {
      std::fill_n(row, bins, no_value);
      for (int64_t at = begin; at < end; at += TokenBuffer::size) {
        const int64_t count = std::min<int64_t>(TokenBuffer::size, end - at);
        kernels.bins(static_cast<const uint32_t*>(source.load(at, count, buffer)), count, a, b,
                     static_cast<uint32_t>(bins), row);
      }
    };
    if (!task.part()) {
      for (int64_t set = task.first_set; set < task.end_set; ++set)
        sketch(sets.offsets[set], sets.offsets[set + 1], signatures + set * bins);
      return;
    }
    const AlignedBuffer held(static_cast<size_t>(bins) * 4);
    sketch(task.begin, task.end, held.as<uint32_t>());
    uint32_t* to = signatures + task.first_set * bins;
    const std::lock_guard lock(merging);
    for (int64_t bin = 0; bin < bins; ++bin) to[bin] = std::min(to[bin], held.as<uint32_t>()[bin]);
  });
}

void densify(Isa isa, const Signatures& signatures, uint64_t seed, uint32_t* filled) {
  const SketchKernels& kernels = sketch_kernels(isa);
  const uint32_t start = static_cast<uint32_t>(fmix64(seed));
  for_rows(signatures, [&](int64_t row) {
    kernels.densify(signatures.values + row * signatures.width, static_cast<uint32_t>(signatures.width), start,
                    filled + row * signatures.width);
  });
}

}  // namespace warphash::lsh
