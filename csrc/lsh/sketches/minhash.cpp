// SPDX-License-Identifier: Apache-2.0
// MinHash over all sets. Bound: integer units; for each token and permutation a multiplication, an addition and a minimum.
//
// Tokens are mixed once, in pieces that stay in the first cache, and then folded into one block of permutations after the
// other, whose parameters and minima stay in registers. Threads take runs of sets of about equal work; a set that is a large
// part of all is cut, and its parts meet in their minimum, for which no order matters.
#include <algorithm>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/memory.h"
#include "common/parallel.h"
#include "lsh/sketches/sketches.h"
#include "lsh/sketches/sketches_tasks.h"

namespace warphash::lsh {

const SketchKernels& sketch_kernels(Isa isa) {
  require(isa);
  switch (isa) {
    case Isa::scalar: return sketch_kernels_scalar();
    case Isa::avx2: return sketch_kernels_avx2();
    default: return sketch_kernels_avx512();
  }
}

void check_offsets(const Sets& sets) {
  const auto wrong = [&](int64_t at) {
    throw std::invalid_argument("offsets must ascend from 0 to " + std::to_string(sets.count) +
                                ", the number of tokens, got " + std::to_string(sets.offsets[at]) + " at place " +
                                std::to_string(at));
  };
  if (sets.offsets[0] != 0) wrong(0);
  if (sets.offsets[sets.sets] != sets.count) wrong(sets.sets);
  for (int64_t i = 0; i < sets.sets; ++i)
    if (sets.offsets[i + 1] < sets.offsets[i]) wrong(i + 1);
}

void check_parameters(const Permutations& permutations) {
  constexpr uint64_t prime = (uint64_t{1} << 61) - 1;
  if (permutations.scheme != Scheme::mersenne61) return;
  for (int64_t p = 0; p < permutations.count; ++p)
    if (permutations.a[p] >= prime || permutations.b[p] >= prime)
      throw std::invalid_argument("a and b must be below 2^61 - 1 for mersenne61");
}

namespace {

constexpr int64_t most_at_once = 1024;  // permutations, whose minima lie on the stack

// Parameters as the loops want them: padded, and of 32 bits for affine permutations.
class Parameters {
 public:
  Parameters(const SketchKernels& kernels, const Permutations& given)
      : scheme_(given.scheme),
        count_((given.count + permutation_block - 1) / permutation_block * permutation_block),
        width_(is_affine() ? 4 : 8),
        a_(static_cast<size_t>(count_ * width_)),
        b_(static_cast<size_t>(count_ * width_)),
        fold_(fold_of(kernels)) {
    copy(given.a, given.count, a_);
    copy(given.b, given.count, b_);
  }
  int64_t count() const { return count_; }
  Mixing mixing() const {
    if (scheme_ == Scheme::datasketch) return Mixing::low_halves;
    return scheme_ == Scheme::datasketch_legacy ? Mixing::none : Mixing::full;
  }
  // Of the `count` permutations from `first` on.
  void fold(const void* tokens, int64_t token_count, int64_t first, int64_t count, uint32_t* row) const {
    fold_(tokens, token_count, a_.as<char>() + first * width_, b_.as<char>() + first * width_, count, row);
  }

 private:
  bool is_affine() const { return scheme_ == Scheme::affine32 || scheme_ == Scheme::datasketch; }
  Fold fold_of(const SketchKernels& kernels) const {
    switch (scheme_) {
      case Scheme::multiply_shift64: return kernels.multiply_shift64;
      case Scheme::mersenne61: return kernels.mersenne61;
      case Scheme::datasketch_legacy: return kernels.datasketch_legacy;
      default: return kernels.affine32;
    }
  }
  void copy(const uint64_t* from, int64_t count, const AlignedBuffer& to) const {
    std::memset(to.data(), 0, to.size());
    if (is_affine())
      std::transform(from, from + count, to.as<uint32_t>(), [](uint64_t x) { return static_cast<uint32_t>(x); });
    else
      std::copy_n(from, count, to.as<uint64_t>());
  }

  Scheme scheme_;
  int64_t count_, width_;  // width_: bytes of a parameter
  AlignedBuffer a_, b_;
  Fold fold_;
};

}  // namespace

void minhash(Isa isa, const Sets& sets, const Permutations& permutations, uint32_t* signatures) {
  check_offsets(sets);
  const int64_t width = permutations.count;
  if (sets.sets == 0 || width == 0) return;
  const SketchKernels& kernels = sketch_kernels(isa);
  const Parameters parameters(kernels, permutations);
  const TokenSource source(kernels, sets, parameters.mixing());
  const std::vector<Task> tasks = cut(sets, std::max<int64_t>(256, (int64_t{1} << 21) / width));
  for (const Task& task : tasks)
    if (task.part()) std::fill_n(signatures + task.first_set * width, width, no_value);

  std::mutex merging;
  const bool worth_it = (sets.count + sets.sets) > (int64_t{1} << 19) / width;
  parallel_tasks_if(worth_it, static_cast<int64_t>(tasks.size()), [&](int64_t index) {
    const Task& task = tasks[static_cast<size_t>(index)];
    TokenBuffer buffer;
    alignas(64) uint32_t row[most_at_once];
    for (int64_t set = task.first_set; set < task.end_set; ++set) {
      const int64_t begin = task.part() ? task.begin : sets.offsets[set];
      const int64_t end = task.part() ? task.end : sets.offsets[set + 1];
      for (int64_t first = 0; first < width; first += most_at_once) {
        const int64_t padded = std::min(most_at_once, parameters.count() - first);
        std::fill_n(row, padded, no_value);
        for (int64_t at = begin; at < end; at += TokenBuffer::size) {
          const int64_t count = std::min<int64_t>(TokenBuffer::size, end - at);
          parameters.fold(source.load(at, count, buffer), count, first, padded, row);
        }
        uint32_t* to = signatures + set * width + first;
        const int64_t size = std::min(most_at_once, width - first);
        if (task.part()) {
          const std::lock_guard lock(merging);
          for (int64_t p = 0; p < size; ++p) to[p] = std::min(to[p], row[p]);
        } else {
          std::memcpy(to, row, static_cast<size_t>(size) * 4);
        }
      }
    }
  });
}

}  // namespace warphash::lsh
