// SPDX-License-Identifier: Apache-2.0
// CUDA entries of the room's operators: stable tensors to pointers, workspaces, outputs. All work goes to the current
// stream; only range_search waits for it, since the number of hits is the size of its outputs.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>

#include "common/stream.h"
#include "common/torch_sort.h"
#include "hamming/hamming.cuh"
#include "hamming/hamming_operands.h"

namespace warphash::hamming {
namespace {

Tensor pack_cuda(const Tensor& x, double threshold) {
  STD_TORCH_CHECK(x.dim() >= 1, "x must have at least one dimension");
  const OnDevice device(x);
  const Tensor values = torch::stable::contiguous(x);
  int64_t rows = 0;
  const int64_t bits = x.size(-1);
  Tensor codes = device.empty(with_last(x, (bits + 7) / 8, &rows), ScalarType::Byte);
  OnDevice::check(pack(value_type(x), values.const_data_ptr(), rows, bits, threshold, codes.mutable_data_ptr<uint8_t>(),
                       device.stream()));
  return codes;
}

Tensor unpack_cuda(const Tensor& packed, int64_t bits) {
  STD_TORCH_CHECK(packed.dim() >= 1 && packed.scalar_type() == ScalarType::Byte, "codes must be uint8 [..., bytes]");
  const OnDevice device(packed);
  const Tensor codes = torch::stable::contiguous(packed);
  const int64_t bytes = codes.size(-1);
  STD_TORCH_CHECK(bits >= 0 && bits <= 8 * bytes, "bits must be in [0, ", 8 * bytes, "], got ", bits);
  int64_t rows = 0;
  Tensor out = device.empty(with_last(codes, bits, &rows), ScalarType::Bool);
  OnDevice::check(
      unpack(codes.const_data_ptr<uint8_t>(), rows, bytes, bits, out.mutable_data_ptr<bool>(), device.stream()));
  return out;
}

Tensor cdist_cuda(const Tensor& a, const Tensor& b) {
  const Operands operands(a, b, std::nullopt);
  const OnDevice device(a);
  const Problem& problem = operands.problem;
  Tensor out = device.empty({problem.query_count, problem.database_count}, ScalarType::Int);
  Tensor workspace = device.workspace(cdist_workspace(problem));
  OnDevice::check(cdist(problem, workspace.mutable_data_ptr(), out.mutable_data_ptr<int32_t>(), device.stream()));
  return out;
}

Tensor histogram_cuda(const Tensor& queries, const Tensor& database, const std::optional<Tensor>& mask) {
  const Operands operands(queries, database, mask);
  const OnDevice device(queries);
  const Problem& problem = operands.problem;
  Tensor out = device.empty({problem.query_count, 8 * problem.bytes + 1}, ScalarType::Long);
  Tensor workspace = device.workspace(histogram_workspace(problem));
  OnDevice::check(histogram(problem, device.multiprocessors(), workspace.mutable_data_ptr(),
                            out.mutable_data_ptr<int64_t>(), device.stream()));
  return out;
}

std::tuple<Tensor, Tensor> topk_of(Metric metric, const Operands& operands, int64_t k) {
  STD_TORCH_CHECK(k >= 0, "k must not be negative, got ", k);
  const OnDevice device(operands.database);
  const Problem& problem = operands.problem;
  const int multiprocessors = device.multiprocessors();
  Tensor values =
      device.empty({problem.query_count, k}, metric == Metric::distance ? ScalarType::Int : ScalarType::Float);
  Tensor indices = device.empty({problem.query_count, k}, ScalarType::Long);
  if (problem.query_count == 0 || k == 0) return {values, indices};
  if (k <= one_pass_k) {
    Tensor workspace = device.workspace(topk_workspace(metric, problem, k, Algorithm::automatic, multiprocessors));
    OnDevice::check(topk(metric, problem, k, Algorithm::automatic, multiprocessors, workspace.mutable_data_ptr(),
                         values.mutable_data_ptr(), indices.mutable_data_ptr<int64_t>(), device.stream()));
    return {values, indices};
  }
  Tensor keys = device.empty({problem.query_count, k}, ScalarType::Long);
  Tensor unsorted = device.empty({problem.query_count, k}, ScalarType::Long);
  Tensor workspace = device.workspace(select_workspace(metric, problem, multiprocessors));
  OnDevice::check(select_topk(metric, problem, k, multiprocessors, workspace.mutable_data_ptr(),
                              keys.mutable_data_ptr<int64_t>(), unsorted.mutable_data_ptr<int64_t>(), device.stream()));
  const auto [sorted, order] = sort_stable(keys);
  OnDevice::check(rank(metric, sorted.const_data_ptr<int64_t>(), order.const_data_ptr<int64_t>(),
                       unsorted.const_data_ptr<int64_t>(), problem.query_count * k, k, values.mutable_data_ptr(),
                       indices.mutable_data_ptr<int64_t>(), device.stream()));
  return {values, indices};
}

std::tuple<Tensor, Tensor> topk_cuda(const Tensor& queries, const Tensor& database, int64_t k,
                                     const std::optional<Tensor>& mask) {
  return topk_of(Metric::distance, Operands(queries, database, mask), k);
}

std::tuple<Tensor, Tensor> jaccard_topk_cuda(const Tensor& queries, const Tensor& database, int64_t k,
                                             const std::optional<Tensor>& mask) {
  return topk_of(Metric::jaccard, Operands(queries, database, mask), k);
}

std::tuple<Tensor, Tensor> asymmetric_topk_cuda(const Tensor& queries, const Tensor& database, int64_t k) {
  STD_TORCH_CHECK(queries.scalar_type() == ScalarType::Float, "queries must be float32 here");
  return topk_of(Metric::score, Operands(queries, database, std::nullopt, true), k);
}

// Ends of groups of consecutive queries whose hits can be sorted at once: torch sorts less than 2^31 elements of a row.
std::vector<int64_t> sortable_groups(const std::vector<int64_t>& offsets) {
  std::vector<int64_t> ends;
  int64_t begin = 0;
  for (size_t query = 1; query < offsets.size(); ++query) {
    STD_TORCH_CHECK(offsets[query] - offsets[query - 1] <= std::numeric_limits<int32_t>::max(),
                    "a query has more than 2^31 - 1 hits, which cannot be sorted: lower the radius");
    if (offsets[query] - begin <= std::numeric_limits<int32_t>::max()) continue;
    ends.push_back(begin = offsets[query - 1]);
  }
  ends.push_back(offsets.back());
  return ends;
}

std::tuple<Tensor, Tensor, Tensor> range_search_cuda(const Tensor& queries, const Tensor& database, int64_t radius,
                                                     const std::optional<Tensor>& mask) {
  STD_TORCH_CHECK(radius >= 0, "radius must not be negative, got ", radius);
  const Operands operands(queries, database, mask);
  const OnDevice device(queries);
  const Problem& problem = operands.problem;
  const int multiprocessors = device.multiprocessors();
  const uint32_t bound = static_cast<uint32_t>(std::min<int64_t>(radius, 8 * problem.bytes));
  Tensor offsets = device.empty({problem.query_count + 1}, ScalarType::Long);
  Tensor workspace = device.workspace(range_workspace(problem, multiprocessors));
  int64_t* row_starts = offsets.mutable_data_ptr<int64_t>();
  OnDevice::check(
      range_count(problem, bound, multiprocessors, workspace.mutable_data_ptr(), row_starts, device.stream()));
  std::vector<int64_t> starts(static_cast<size_t>(problem.query_count + 1));
  OnDevice::check(cudaMemcpyAsync(starts.data(), row_starts, starts.size() * sizeof(int64_t), cudaMemcpyDeviceToHost,
                                  device.stream()));
  OnDevice::check(cudaStreamSynchronize(device.stream()));

  const int64_t hits = starts.back();
  Tensor distances = device.empty({hits}, ScalarType::Int), indices = device.empty({hits}, ScalarType::Long);
  if (hits == 0) return {offsets, distances, indices};
  Tensor keys = device.empty({hits}, ScalarType::Long), unsorted = device.empty({hits}, ScalarType::Long);
  OnDevice::check(range_fill(problem, bound, multiprocessors, workspace.mutable_data_ptr(), row_starts,
                             keys.mutable_data_ptr<int64_t>(), unsorted.mutable_data_ptr<int64_t>(), device.stream()));
  int64_t begin = 0;
  for (const int64_t end : sortable_groups(starts)) {
    const auto [sorted, order] = sort_stable(torch::stable::narrow(keys, 0, begin, end - begin));
    OnDevice::check(rank(Metric::distance, sorted.const_data_ptr<int64_t>(), order.const_data_ptr<int64_t>(),
                         unsorted.const_data_ptr<int64_t>() + begin, end - begin, end - begin,
                         distances.mutable_data_ptr<int32_t>() + begin, indices.mutable_data_ptr<int64_t>() + begin,
                         device.stream()));
    begin = end;
  }
  return {offsets, distances, indices};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(warphash, CUDA, m) {
  m.impl("hamming_pack", TORCH_BOX(&pack_cuda));
  m.impl("hamming_unpack", TORCH_BOX(&unpack_cuda));
  m.impl("hamming_cdist", TORCH_BOX(&cdist_cuda));
  m.impl("hamming_topk", TORCH_BOX(&topk_cuda));
  m.impl("hamming_range_search", TORCH_BOX(&range_search_cuda));
  m.impl("hamming_histogram", TORCH_BOX(&histogram_cuda));
  m.impl("hamming_asymmetric_topk", TORCH_BOX(&asymmetric_topk_cuda));
  m.impl("hamming_jaccard_topk", TORCH_BOX(&jaccard_topk_cuda));
}

}  // namespace warphash::hamming
