// SPDX-License-Identifier: Apache-2.0
// Schemas of the bucket tables and their CPU entries.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <numeric>
#include <tuple>

#include "lsh/buckets/buckets_operands.h"

namespace warphash::lsh {
namespace {

std::tuple<Tensor, Tensor, Tensor> bucket_sort_cpu(const Tensor& given, int64_t num_buckets) {
  const CodeOperands operands(given, num_buckets);
  const Codes& codes = operands.codes;
  Tensor order = empty_on_cpu(operands.items_shape, ScalarType::Long);
  Tensor inverse = empty_on_cpu(operands.items_shape, ScalarType::Long);
  Tensor offsets = empty_on_cpu(operands.offsets_shape, ScalarType::Long);
  bucket_sort(codes, order.mutable_data_ptr<int64_t>(), inverse.mutable_data_ptr<int64_t>(),
              offsets.mutable_data_ptr<int64_t>());
  return {order, inverse, offsets};
}

std::tuple<Tensor, Tensor> bucket_query_cpu(const Tensor& order, const Tensor& offsets, const Tensor& query_codes) {
  const QueryOperands operands(order, offsets, query_codes);
  Tensor row_starts = empty_on_cpu({operands.queries + 1}, ScalarType::Long);
  int64_t* starts = row_starts.mutable_data_ptr<int64_t>();
  starts[0] = 0;
  const auto found = bucket_query(chosen_isa(), operands.table, operands.codes.const_data_ptr<int64_t>(),
                                  operands.queries, starts + 1);
  std::partial_sum(starts, starts + operands.queries + 1, starts);
  Tensor candidates = empty_on_cpu({starts[operands.queries]}, ScalarType::Long);
  int64_t* to = candidates.mutable_data_ptr<int64_t>();
  for (const std::vector<int64_t>& block : found) to = std::copy(block.begin(), block.end(), to);
  return {row_starts, candidates};
}

Tensor bucket_sum_cpu(const Tensor& values, const Tensor& codes, int64_t num_buckets) {
  const SumOperands operands(values, codes, num_buckets);
  Tensor sums = empty_on_cpu(operands.shape, values.scalar_type());
  if (sums.numel() > 0)
    bucket_sum(chosen_isa(), operands.rows, operands.values.const_data_ptr(), sums.mutable_data_ptr());
  return sums;
}

Tensor bucket_gather_sum_cpu(const Tensor& table, const Tensor& codes) {
  const SumOperands operands(table, codes);
  Tensor sums = empty_on_cpu(operands.shape, table.scalar_type());
  if (sums.numel() > 0)
    bucket_gather_sum(chosen_isa(), operands.rows, operands.values.const_data_ptr(), sums.mutable_data_ptr());
  return sums;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(warphash, m) {
  m.def("lsh_bucket_sort(Tensor codes, SymInt num_buckets) -> (Tensor, Tensor, Tensor)");
  m.def("lsh_bucket_query(Tensor order, Tensor offsets, Tensor query_codes) -> (Tensor, Tensor)");
  m.def("lsh_bucket_sum(Tensor values, Tensor codes, SymInt num_buckets) -> Tensor");
  m.def("lsh_bucket_gather_sum(Tensor table, Tensor codes) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(warphash, CPU, m) {
  m.impl("lsh_bucket_sort", TORCH_BOX(&bucket_sort_cpu));
  m.impl("lsh_bucket_query", TORCH_BOX(&bucket_query_cpu));
  m.impl("lsh_bucket_sum", TORCH_BOX(&bucket_sum_cpu));
  m.impl("lsh_bucket_gather_sum", TORCH_BOX(&bucket_gather_sum_cpu));
}

}  // namespace warphash::lsh
