// SPDX-License-Identifier: Apache-2.0
// CUDA entries of the pairs' and components' operators: stable tensors to pointers, workspaces, outputs. Keys and pairs
// are sorted by torch. All work goes to the current stream; candidate_pairs waits for it twice and bucket_sizes once, since
// numbers found there are sizes of tensors.
#include <torch/csrc/stable/library.h>

#include <limits>
#include <stdexcept>
#include <string>
#include <tuple>

#include "common/stream.h"
#include "common/torch_sort.h"
#include "lsh/pairs/pairs.cuh"
#include "lsh/pairs/pairs_operands.h"

namespace warphash::lsh {
namespace {

// Columns of keys, sorted.
struct SortedOperands {
  Tensor keys, items;
  SortedKeys sorted{};

  explicit SortedOperands(const KeyOperands& operands) {
    STD_TORCH_CHECK(operands.keys.items <= std::numeric_limits<int32_t>::max(),
                    "keys must have less than 2^31 rows on CUDA, got ", operands.keys.items);
    std::tie(keys, items) = sort_stable(torch::stable::contiguous(torch::stable::transpose(operands.held, 0, 1)));
    keys = torch::stable::contiguous(keys), items = torch::stable::contiguous(items);
    sorted = {keys.const_data_ptr<int64_t>(), items.const_data_ptr<int64_t>(), operands.keys.columns,
              operands.keys.items};
  }
};

// All pairs, equal ones of several columns each.
Tensor pairs_of(const OnDevice& device, const KeyOperands& operands, int64_t max_bucket, PairMode mode) {
  const SortedOperands columns(operands);
  const int64_t all = columns.sorted.all();
  Tensor ends = device.empty({all}, ScalarType::Long);
  Tensor workspace = device.workspace(pairs_workspace(all));
  int64_t* const to = ends.mutable_data_ptr<int64_t>();
  OnDevice::check(count_pairs(columns.sorted, max_bucket, mode, workspace.mutable_data_ptr(), to, device.stream()));
  const int64_t count = device.read(to + all - 1);
  if (count > most_pairs)
    throw std::length_error("keys have " + std::to_string(count) +
                            " pairs, more than 2^31 - 1: pass max_bucket, or mode=\"chain\"");
  Tensor pairs = device.empty({count}, ScalarType::Long);
  OnDevice::check(write_pairs(columns.sorted, mode, to, count, pairs.mutable_data_ptr<int64_t>(), device.stream()));
  return pairs;
}

Tensor candidate_pairs_cuda(const Tensor& given, int64_t max_bucket, int64_t mode) {
  const KeyOperands operands(given);
  const PairMode which = pair_mode(mode);
  const OnDevice device(given);
  if (given.numel() == 0) return device.empty({0, 2}, ScalarType::Long);
  Tensor pairs = pairs_of(device, operands, max_bucket, which);
  const int64_t count = pairs.numel();
  if (count == 0) return device.empty({0, 2}, ScalarType::Long);
  pairs = std::get<0>(sort_stable(pairs));
  Tensor numbers = device.empty({count}, ScalarType::Long);
  Tensor workspace = device.workspace(pairs_workspace(count));
  const int64_t* const from = pairs.const_data_ptr<int64_t>();
  int64_t* const to = numbers.mutable_data_ptr<int64_t>();
  OnDevice::check(number_distinct(from, count, workspace.mutable_data_ptr(), to, device.stream()));
  Tensor distinct = device.empty({device.read(to + count - 1), 2}, ScalarType::Long);
  OnDevice::check(write_distinct(from, to, count, distinct.mutable_data_ptr<int64_t>(), device.stream()));
  return distinct;
}

Tensor bucket_sizes_cuda(const Tensor& given) {
  const KeyOperands operands(given);
  const OnDevice device(given);
  const SortedOperands columns(operands);
  const int64_t items = columns.sorted.count;
  Tensor counted = device.empty({items + 2}, ScalarType::Long);
  int64_t* const counts = counted.mutable_data_ptr<int64_t>();
  OnDevice::check(count_sizes(columns.sorted, counts, device.stream()));
  const int64_t entries = device.read(counts + items + 1) + 1;
  Tensor sizes = device.empty({entries}, ScalarType::Long);
  OnDevice::check(cudaMemcpyAsync(sizes.mutable_data_ptr(), counts, static_cast<size_t>(entries) * sizeof(int64_t),
                                  cudaMemcpyDeviceToDevice, device.stream()));
  return sizes;
}

Tensor connected_components_cuda(const Tensor& given, int64_t n) {
  const Tensor pairs = checked_pairs(given);
  STD_TORCH_CHECK(n >= 0, "n must not be negative, got ", n);
  const OnDevice device(given);
  Tensor labels = device.empty({n}, ScalarType::Long);
  Tensor workspace = device.workspace(connected_components_workspace(n));
  OnDevice::check(connected_components(pairs.const_data_ptr<int64_t>(), pairs.size(0), n, workspace.mutable_data_ptr(),
                                       labels.mutable_data_ptr<int64_t>(), device.stream()));
  return labels;
}

Tensor pair_jaccard_cuda(const Tensor& tokens, const Tensor& offsets, const Tensor& given) {
  const SortedSetOperands operands(tokens, offsets);
  const Tensor pairs = checked_pairs(given);
  check_same_device(tokens, "tokens", pairs, "pairs");
  const OnDevice device(tokens);
  Tensor similarity = device.empty({pairs.size(0)}, ScalarType::Double);
  OnDevice::check(pair_jaccard(operands.sets, pairs.const_data_ptr<int64_t>(), pairs.size(0),
                               similarity.mutable_data_ptr<double>(), device.stream()));
  return similarity;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(warphash, CUDA, m) {
  m.impl("lsh_candidate_pairs", TORCH_BOX(&candidate_pairs_cuda));
  m.impl("lsh_bucket_sizes", TORCH_BOX(&bucket_sizes_cuda));
  m.impl("lsh_connected_components", TORCH_BOX(&connected_components_cuda));
  m.impl("lsh_pair_jaccard", TORCH_BOX(&pair_jaccard_cuda));
}

}  // namespace warphash::lsh
