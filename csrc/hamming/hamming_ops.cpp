// SPDX-License-Identifier: Apache-2.0
// Schemas of the room and the CPU entries: stable tensors to pointers, outputs, results.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>

#include "hamming/hamming_keys.h"
#include "hamming/hamming_operands.h"

namespace warphash::hamming {
namespace {

// The CPU kernels count in whole words: codes of no bits become one zero byte, which changes no distance.
struct CpuOperands : Operands {
  int64_t bytes = problem.bytes;  // of the caller's codes

  CpuOperands(const Tensor& q, const Tensor& d, const std::optional<Tensor>& m, bool weights = false)
      : Operands(q, d, m, weights) {
    if (bytes > 0) return;
    problem.bytes = 1;
    queries = zeros(problem.query_count * (weights ? 8 : 1), weights ? ScalarType::Float : ScalarType::Byte);
    database = zeros(problem.database_count, ScalarType::Byte);
    problem.queries = weights ? nullptr : queries.const_data_ptr<uint8_t>();
    problem.weights = weights ? queries.const_data_ptr<float>() : nullptr;
    problem.database = database.const_data_ptr<uint8_t>();
  }

 private:
  static Tensor zeros(int64_t count, ScalarType type) {
    Tensor out = empty_on_cpu({count}, type);
    return torch::stable::fill_(out, 0.0);
  }
};

Tensor pack_cpu(const Tensor& x, double threshold) {
  STD_TORCH_CHECK(x.dim() >= 1, "x must have at least one dimension");
  Tensor values = torch::stable::contiguous(x);
  const int64_t bits = x.size(-1), bytes = (bits + 7) / 8;
  int64_t rows = 0;
  Tensor codes = empty_on_cpu(with_last(x, bytes, &rows), ScalarType::Byte);
  if (rows > 0 && bits > 0)
    pack(value_type(x), values.const_data_ptr(), rows, bits, threshold, codes.mutable_data_ptr<uint8_t>());
  return codes;
}

Tensor unpack_cpu(const Tensor& packed, int64_t bits) {
  STD_TORCH_CHECK(packed.dim() >= 1 && packed.scalar_type() == ScalarType::Byte, "codes must be uint8 [..., bytes]");
  Tensor codes = torch::stable::contiguous(packed);
  const int64_t bytes = codes.size(-1);
  STD_TORCH_CHECK(bits >= 0 && bits <= 8 * bytes, "bits must be in [0, ", 8 * bytes, "], got ", bits);
  int64_t rows = 0;
  Tensor out = empty_on_cpu(with_last(codes, bits, &rows), ScalarType::Bool);
  if (rows > 0 && bits > 0) unpack(codes.const_data_ptr<uint8_t>(), rows, bytes, bits, out.mutable_data_ptr<bool>());
  return out;
}

Tensor cdist_cpu(const Tensor& a, const Tensor& b) {
  CpuOperands operands(a, b, std::nullopt);
  Tensor out = empty_on_cpu({a.size(0), b.size(0)}, ScalarType::Int);
  cdist(best_kernels(), operands.problem, out.mutable_data_ptr<int32_t>());
  return out;
}

// Rows of hits to tensors; value_of(key) is what stands in the first of them.
template <class Value, Value (*value_of)(uint32_t)>
struct TopkRows {
  Value* values;
  int64_t* indices;
  int64_t k;
  Value missing;
  static void take(void* context, int64_t query, const Hit* hits, int64_t count) {
    const TopkRows& self = *static_cast<TopkRows*>(context);
    for (int64_t i = 0; i < self.k; ++i) {
      self.values[query * self.k + i] = i < count ? value_of(hits[i].key) : self.missing;
      self.indices[query * self.k + i] = i < count ? hits[i].index : -1;
    }
  }
};

template <class Value, Value (*value_of)(uint32_t)>
std::tuple<Tensor, Tensor> topk_of(Metric metric, const CpuOperands& operands, int64_t k, ScalarType type,
                                   Value missing) {
  STD_TORCH_CHECK(k >= 0, "k must not be negative, got ", k);
  Tensor values = empty_on_cpu({operands.problem.query_count, k}, type);
  Tensor indices = empty_on_cpu({operands.problem.query_count, k}, ScalarType::Long);
  TopkRows<Value, value_of> rows{values.mutable_data_ptr<Value>(), indices.mutable_data_ptr<int64_t>(), k, missing};
  topk(best_kernels(), metric, operands.problem, k, TopkRows<Value, value_of>::take, &rows);
  return {values, indices};
}

int32_t distance_of_key(uint32_t key) { return static_cast<int32_t>(key); }
constexpr float worst = -std::numeric_limits<float>::infinity();

std::tuple<Tensor, Tensor> topk_cpu(const Tensor& queries, const Tensor& database, int64_t k,
                                    const std::optional<Tensor>& mask) {
  return topk_of<int32_t, distance_of_key>(Metric::distance, CpuOperands(queries, database, mask), k, ScalarType::Int,
                                           std::numeric_limits<int32_t>::max());
}

std::tuple<Tensor, Tensor> jaccard_topk_cpu(const Tensor& queries, const Tensor& database, int64_t k,
                                            const std::optional<Tensor>& mask) {
  return topk_of<float, jaccard_of_key>(Metric::jaccard, CpuOperands(queries, database, mask), k, ScalarType::Float,
                                        worst);
}

std::tuple<Tensor, Tensor> asymmetric_topk_cpu(const Tensor& queries, const Tensor& database, int64_t k) {
  return topk_of<float, score_of_key>(Metric::score, CpuOperands(queries, database, std::nullopt, true), k,
                                      ScalarType::Float, worst);
}

std::tuple<Tensor, Tensor, Tensor> range_search_cpu(const Tensor& queries, const Tensor& database, int64_t radius,
                                                    const std::optional<Tensor>& mask) {
  STD_TORCH_CHECK(radius >= 0, "radius must not be negative, got ", radius);
  CpuOperands operands(queries, database, mask);
  std::vector<std::vector<Hit>> hits;
  range_search(best_kernels(), operands.problem,
               static_cast<uint32_t>(std::min<int64_t>(radius, 8 * operands.problem.bytes)), hits);
  Tensor offsets = empty_on_cpu({operands.problem.query_count + 1}, ScalarType::Long);
  int64_t* offset = offsets.mutable_data_ptr<int64_t>();
  offset[0] = 0;
  for (size_t query = 0; query < hits.size(); ++query)
    offset[query + 1] = offset[query] + static_cast<int64_t>(hits[query].size());
  Tensor distances = empty_on_cpu({offset[hits.size()]}, ScalarType::Int),
         indices = empty_on_cpu({offset[hits.size()]}, ScalarType::Long);
  int32_t* distance = distances.mutable_data_ptr<int32_t>();
  int64_t* index = indices.mutable_data_ptr<int64_t>();
  for (std::vector<Hit>& row : hits) {
    for (const Hit& hit : row) *distance++ = static_cast<int32_t>(hit.key), *index++ = hit.index;
    row = {};
  }
  return {offsets, distances, indices};
}

Tensor histogram_cpu(const Tensor& queries, const Tensor& database, const std::optional<Tensor>& mask) {
  CpuOperands operands(queries, database, mask);
  Tensor out = empty_on_cpu({operands.problem.query_count, 8 * operands.problem.bytes + 1}, ScalarType::Long);
  histogram(best_kernels(), operands.problem, out.mutable_data_ptr<int64_t>());
  if (operands.bytes == 0) return torch::stable::contiguous(torch::stable::narrow(out, 1, 0, 1));
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(warphash, m) {
  m.def("hamming_pack(Tensor x, float threshold) -> Tensor");
  m.def("hamming_unpack(Tensor codes, SymInt bits) -> Tensor");
  m.def("hamming_cdist(Tensor a, Tensor b) -> Tensor");
  m.def("hamming_topk(Tensor queries, Tensor database, SymInt k, Tensor? mask) -> (Tensor, Tensor)");
  m.def("hamming_range_search(Tensor queries, Tensor database, int radius, Tensor? mask) -> (Tensor, Tensor, Tensor)");
  m.def("hamming_histogram(Tensor queries, Tensor database, Tensor? mask) -> Tensor");
  m.def("hamming_asymmetric_topk(Tensor queries, Tensor database, SymInt k) -> (Tensor, Tensor)");
  m.def("hamming_jaccard_topk(Tensor queries, Tensor database, SymInt k, Tensor? mask) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(warphash, CPU, m) {
  m.impl("hamming_pack", TORCH_BOX(&pack_cpu));
  m.impl("hamming_unpack", TORCH_BOX(&unpack_cpu));
  m.impl("hamming_cdist", TORCH_BOX(&cdist_cpu));
  m.impl("hamming_topk", TORCH_BOX(&topk_cpu));
  m.impl("hamming_range_search", TORCH_BOX(&range_search_cpu));
  m.impl("hamming_histogram", TORCH_BOX(&histogram_cpu));
  m.impl("hamming_asymmetric_topk", TORCH_BOX(&asymmetric_topk_cpu));
  m.impl("hamming_jaccard_topk", TORCH_BOX(&jaccard_topk_cpu));
}

}  // namespace warphash::hamming
