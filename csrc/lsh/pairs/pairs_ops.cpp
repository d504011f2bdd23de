// SPDX-License-Identifier: Apache-2.0
// Schemas of pairs and components and their CPU entries.
#include <torch/csrc/stable/library.h>

#include <algorithm>

#include "lsh/pairs/pairs_operands.h"

namespace warphash::lsh {
namespace {

Tensor candidate_pairs_cpu(const Tensor& given, int64_t max_bucket, int64_t mode) {
  const KeyOperands operands(given);
  const PairPieces pieces = candidate_pairs(operands.keys, max_bucket, pair_mode(mode));
  Tensor pairs = empty_on_cpu({pieces.count(), 2}, ScalarType::Long);
  pieces.write(pairs.mutable_data_ptr<int64_t>());
  return pairs;
}

Tensor bucket_sizes_cpu(const Tensor& given) {
  const KeyOperands operands(given);
  const std::vector<int64_t> sizes = bucket_sizes(operands.keys);
  Tensor out = empty_on_cpu({static_cast<int64_t>(sizes.size())}, ScalarType::Long);
  std::copy(sizes.begin(), sizes.end(), out.mutable_data_ptr<int64_t>());
  return out;
}

Tensor connected_components_cpu(const Tensor& given, int64_t n) {
  const Tensor pairs = checked_pairs(given);
  STD_TORCH_CHECK(n >= 0, "n must not be negative, got ", n);
  Tensor labels = empty_on_cpu({n}, ScalarType::Long);
  connected_components(pairs.const_data_ptr<int64_t>(), pairs.size(0), n, labels.mutable_data_ptr<int64_t>());
  return labels;
}

Tensor pair_jaccard_cpu(const Tensor& tokens, const Tensor& offsets, const Tensor& given) {
  const SortedSetOperands operands(tokens, offsets);
  const Tensor pairs = checked_pairs(given);
  Tensor similarity = empty_on_cpu({pairs.size(0)}, ScalarType::Double);
  pair_jaccard(chosen_isa(), operands.sets, pairs.const_data_ptr<int64_t>(), pairs.size(0),
               similarity.mutable_data_ptr<double>());
  return similarity;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(warphash, m) {
  m.def("lsh_candidate_pairs(Tensor keys, int max_bucket, int mode) -> Tensor");
  m.def("lsh_bucket_sizes(Tensor keys) -> Tensor");
  m.def("lsh_connected_components(Tensor pairs, SymInt n) -> Tensor");
  m.def("lsh_pair_jaccard(Tensor tokens, Tensor offsets, Tensor pairs) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(warphash, CPU, m) {
  m.impl("lsh_candidate_pairs", TORCH_BOX(&candidate_pairs_cpu));
  m.impl("lsh_bucket_sizes", TORCH_BOX(&bucket_sizes_cpu));
  m.impl("lsh_connected_components", TORCH_BOX(&connected_components_cpu));
  m.impl("lsh_pair_jaccard", TORCH_BOX(&pair_jaccard_cpu));
}

}  // namespace warphash::lsh
