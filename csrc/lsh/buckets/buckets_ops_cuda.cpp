// SPDX-License-Identifier: Apache-2.0
// CUDA entries of the bucket tables' operators: stable tensors to pointers, workspaces, outputs. All work goes to the
// current stream; only bucket_query waits for it, since the number of candidates is the size of its output.
#include <torch/csrc/stable/library.h>

#include <stdexcept>
#include <tuple>

#include "common/stream.h"
#include "lsh/buckets/buckets.cuh"
#include "lsh/buckets/buckets_operands.h"

namespace warphash::lsh {
namespace {

std::tuple<Tensor, Tensor, Tensor> bucket_sort_cuda(const Tensor& given, int64_t num_buckets) {
  const CodeOperands operands(given, num_buckets);
  const Codes& codes = operands.codes;
  if (num_buckets == 0 && given.numel() > 0) throw std::out_of_range("codes must be in [0, 0), got some");
  const OnDevice device(given);
  Tensor order = device.empty(operands.items_shape, ScalarType::Long);
  Tensor inverse = device.empty(operands.items_shape, ScalarType::Long);
  Tensor offsets = device.empty(operands.offsets_shape, ScalarType::Long);
  Tensor workspace = device.workspace(bucket_sort_workspace(codes));
  OnDevice::check(bucket_sort(codes, workspace.mutable_data_ptr(), order.mutable_data_ptr<int64_t>(),
                              inverse.mutable_data_ptr<int64_t>(), offsets.mutable_data_ptr<int64_t>(),
                              device.stream()));
  return {order, inverse, offsets};
}

std::tuple<Tensor, Tensor> bucket_query_cuda(const Tensor& order, const Tensor& offsets, const Tensor& query_codes) {
  const QueryOperands operands(order, offsets, query_codes);
  const OnDevice device(order);
  const int64_t* codes = operands.codes.const_data_ptr<int64_t>();
  Tensor row_starts = device.empty({operands.queries + 1}, ScalarType::Long);
  int64_t* starts = row_starts.mutable_data_ptr<int64_t>();
  Tensor workspace = device.workspace(bucket_query_workspace(operands.queries));
  OnDevice::check(bucket_query_count(operands.table, codes, operands.queries, workspace.mutable_data_ptr(), starts,
                                     device.stream()));
  const int64_t count = device.read(starts + operands.queries);
  Tensor candidates = device.empty({count}, ScalarType::Long);
  if (count > 0)
    OnDevice::check(bucket_query_fill(operands.table, codes, operands.queries, starts,
                                      candidates.mutable_data_ptr<int64_t>(), device.stream()));
  return {row_starts, candidates};
}

Tensor bucket_sum_cuda(const Tensor& values, const Tensor& codes, int64_t num_buckets) {
  const SumOperands operands(values, codes, num_buckets);
  const OnDevice device(values);
  Tensor sums = device.empty(operands.shape, values.scalar_type());
  Tensor workspace = device.workspace(sums.numel() > 0 ? bucket_sum_workspace(operands.rows) : 0);
  OnDevice::check(bucket_sum(operands.rows, operands.values.const_data_ptr(), workspace.mutable_data_ptr(),
                             sums.mutable_data_ptr(), device.stream()));
  return sums;
}

Tensor bucket_gather_sum_cuda(const Tensor& table, const Tensor& codes) {
  const SumOperands operands(table, codes);
  const OnDevice device(table);
  Tensor sums = device.empty(operands.shape, table.scalar_type());
  OnDevice::check(
      bucket_gather_sum(operands.rows, operands.values.const_data_ptr(), sums.mutable_data_ptr(), device.stream()));
  return sums;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(warphash, CUDA, m) {
  m.impl("lsh_bucket_sort", TORCH_BOX(&bucket_sort_cuda));
  m.impl("lsh_bucket_query", TORCH_BOX(&bucket_query_cuda));
  m.impl("lsh_bucket_sum", TORCH_BOX(&bucket_sum_cuda));
  m.impl("lsh_bucket_gather_sum", TORCH_BOX(&bucket_gather_sum_cuda));
}

}  // namespace warphash::lsh
