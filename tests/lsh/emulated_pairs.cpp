// SPDX-License-Identifier: Apache-2.0
// Names the launchers of pairs and components for Python: structs taken apart, workspaces of exactly the size asked for,
// so that mode asan sees what goes past them.
#include <cstdlib>

#include "lsh/pairs/pairs.cuh"

namespace warphash::lsh {
namespace {

class Workspace {
 public:
  explicit Workspace(size_t bytes) : data_(std::aligned_alloc(256, (bytes + 255) / 256 * 256)) {
    if (data_ != nullptr) std::memset(data_, 0xa5, bytes);
  }
  ~Workspace() { std::free(data_); }
  operator void*() const { return data_; }

 private:
  void* data_;
};

cudaError_t emulated_count_pairs(const int64_t* keys, const int64_t* items, int64_t columns, int64_t count,
                                 int64_t max_bucket, int mode, int64_t* ends, cudaStream_t stream) {
  const SortedKeys sorted{keys, items, columns, count};
  const Workspace workspace(pairs_workspace(sorted.all()));
  return count_pairs(sorted, max_bucket, static_cast<PairMode>(mode), workspace, ends, stream);
}

cudaError_t emulated_write_pairs(const int64_t* keys, const int64_t* items, int64_t columns, int64_t count, int mode,
                                 const int64_t* ends, int64_t pair_count, int64_t* pairs, cudaStream_t stream) {
  return write_pairs({keys, items, columns, count}, static_cast<PairMode>(mode), ends, pair_count, pairs, stream);
}

cudaError_t emulated_number_distinct(const int64_t* pairs, int64_t count, int64_t* numbers, cudaStream_t stream) {
  return number_distinct(pairs, count, Workspace(pairs_workspace(count)), numbers, stream);
}

cudaError_t emulated_count_sizes(const int64_t* keys, const int64_t* items, int64_t columns, int64_t count,
                                 int64_t* sizes, cudaStream_t stream) {
  return count_sizes({keys, items, columns, count}, sizes, stream);
}

cudaError_t emulated_components(const int64_t* pairs, int64_t count, int64_t items, int64_t* labels,
                                cudaStream_t stream) {
  return connected_components(pairs, count, items, Workspace(connected_components_workspace(items)), labels, stream);
}

cudaError_t emulated_jaccard(const int64_t* tokens, int64_t token_count, const int64_t* offsets, int64_t sets,
                             const int64_t* pairs, int64_t count, double* similarity, cudaStream_t stream) {
  return pair_jaccard({tokens, token_count, offsets, sets}, pairs, count, similarity, stream);
}

}  // namespace
}  // namespace warphash::lsh

EMULATED_LAUNCHER(count_pairs, warphash::lsh::emulated_count_pairs);
EMULATED_LAUNCHER(write_pairs, warphash::lsh::emulated_write_pairs);
EMULATED_LAUNCHER(number_distinct, warphash::lsh::emulated_number_distinct);
EMULATED_LAUNCHER(write_distinct, warphash::lsh::write_distinct);
EMULATED_LAUNCHER(count_sizes, warphash::lsh::emulated_count_sizes);
EMULATED_LAUNCHER(connected_components, warphash::lsh::emulated_components);
EMULATED_LAUNCHER(pair_jaccard, warphash::lsh::emulated_jaccard);
