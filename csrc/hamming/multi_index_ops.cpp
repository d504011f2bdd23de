// SPDX-License-Identifier: Apache-2.0
// Ops of the multi-index: warphash::hamming_multi_index_build, _topk and _range. They serve HammingIndex alone, which
// finishes the queries that gave up by a scan; tables are made by _build and handed back unchanged.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "common/parallel.h"
#include "hamming/multi_index.h"

namespace warphash::hamming {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t queries_a_task = 4;

Tensor allocate(const Tensor& like, std::vector<int64_t> sizes, ScalarType type) {
  return torch::stable::empty(sizes, type, std::nullopt, like.device());
}

void check_matrix(const Tensor& tensor, ScalarType type, const char* name) {
  STD_TORCH_CHECK(tensor.scalar_type() == type && tensor.dim() == 2 && tensor.is_contiguous(), name,
                  " must be a contiguous matrix of its type");
}

// The index that the tensors describe; ids is null while they are being made.
MultiIndex describe(const Tensor& codes, int64_t bits, int64_t substrings, int64_t table_bits) {
  check_matrix(codes, ScalarType::Byte, "codes");
  STD_TORCH_CHECK(bits >= 1 && codes.size(1) == (bits + 7) / 8, "codes must be [N, ", (bits + 7) / 8, "]");
  STD_TORCH_CHECK(substrings >= 1 && substrings <= bits && (bits + substrings - 1) / substrings <= widest_substring,
                  "substrings must be 1 to ", bits, " and none wider than ", widest_substring, " bits");
  STD_TORCH_CHECK(table_bits >= 1 && table_bits <= widest_substring - 1, "table_bits must be 1 to 31, got ", table_bits);
  STD_TORCH_CHECK(codes.size(0) < (int64_t{1} << 31), "at most 2^31 - 1 codes fit a multi-index");
  MultiIndex index{};
  index.codes = codes.const_data_ptr<uint8_t>();
  index.total = index.indexed = codes.size(0);
  index.bytes = static_cast<int>(codes.size(1));
  index.bits = static_cast<int>(bits);
  index.substrings = static_cast<int>(substrings);
  index.table_bits = static_cast<int>(table_bits);
  return index;
}

bool needs_keys(const MultiIndex& index) { return substring_of(index.bits, index.substrings, 0).width > index.table_bits; }

MultiIndex describe(const Tensor& codes, const Tensor& offsets, const Tensor& ids, const Tensor& keys, int64_t bits) {
  check_matrix(offsets, ScalarType::Int, "offsets");
  check_matrix(ids, ScalarType::Int, "ids");
  check_matrix(keys, ScalarType::Int, "keys");
  int table_bits = 0;
  while ((int64_t{1} << table_bits) + 1 < offsets.size(1)) ++table_bits;
  MultiIndex index = describe(codes, bits, offsets.size(0), table_bits);
  index.indexed = ids.size(1);
  STD_TORCH_CHECK(ids.size(0) == offsets.size(0) && (int64_t{1} << table_bits) + 1 == offsets.size(1) &&
                      index.indexed <= index.total && keys.size(1) == (needs_keys(index) ? index.indexed : 0),
                  "offsets, ids and keys do not belong together");
  index.offsets = offsets.const_data_ptr<int32_t>();
  index.ids = ids.const_data_ptr<int32_t>();
  index.keys = keys.size(1) == 0 ? nullptr : reinterpret_cast<const uint32_t*>(keys.const_data_ptr<int32_t>());
  return index;
}

void check_queries(const Tensor& queries, const MultiIndex& index) {
  check_matrix(queries, ScalarType::Byte, "queries");
  STD_TORCH_CHECK(queries.size(1) == index.bytes, "queries must be [Q, ", index.bytes, "]");
}

// body(query number) for all, a few queries a task.
template <class Body>
void each_query(int64_t queries, Body&& body) {
  parallel_tasks((queries + queries_a_task - 1) / queries_a_task, [&](int64_t task) {
    const int64_t end = std::min(queries, (task + 1) * queries_a_task);
    for (int64_t query = task * queries_a_task; query < end; ++query) body(query);
  });
}

std::tuple<Tensor, Tensor, Tensor> build(const Tensor& codes, int64_t bits, int64_t substrings, int64_t table_bits) {
  const MultiIndex index = describe(codes, bits, substrings, table_bits);
  Tensor offsets = allocate(codes, {substrings, (int64_t{1} << table_bits) + 1}, ScalarType::Int);
  Tensor ids = allocate(codes, {substrings, index.total}, ScalarType::Int);
  Tensor keys = allocate(codes, {substrings, needs_keys(index) ? index.total : 0}, ScalarType::Int);
  multi_index_build(index, offsets.mutable_data_ptr<int32_t>(), ids.mutable_data_ptr<int32_t>(),
                    needs_keys(index) ? reinterpret_cast<uint32_t*>(keys.mutable_data_ptr<int32_t>()) : nullptr);
  return {offsets, ids, keys};
}

std::tuple<Tensor, Tensor, Tensor> topk(const Tensor& queries, const Tensor& codes, const Tensor& offsets,
                                        const Tensor& ids, const Tensor& keys, int64_t bits, int64_t k, double budget) {
  const MultiIndex index = describe(codes, offsets, ids, keys, bits);
  check_queries(queries, index);
  STD_TORCH_CHECK(k >= 0 && k <= index.total, "k must be 0 to the number of codes, got ", k);
  const int64_t count = queries.size(0);
  Tensor distances = allocate(codes, {count, k}, ScalarType::Int);
  Tensor indices = allocate(codes, {count, k}, ScalarType::Long);
  Tensor finished = allocate(codes, {count}, ScalarType::Bool);
  const uint8_t* rows = queries.const_data_ptr<uint8_t>();
  int32_t* distance = distances.mutable_data_ptr<int32_t>();
  int64_t* id = indices.mutable_data_ptr<int64_t>();
  bool* done = finished.mutable_data_ptr<bool>();
  each_query(count, [&](int64_t query) {
    std::vector<Hit> hits;
    done[query] = multi_index_topk(index, rows + query * index.bytes, k, budget, hits);
    for (int64_t rank = 0; rank < k; ++rank) {
      const Hit hit = done[query] ? hits[static_cast<size_t>(rank)] : 0;
      distance[query * k + rank] = static_cast<int32_t>(hit >> 32);
      id[query * k + rank] = static_cast<int64_t>(hit & 0xffffffffu);
    }
  });
  return {distances, indices, finished};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> range(const Tensor& queries, const Tensor& codes, const Tensor& offsets,
                                                 const Tensor& ids, const Tensor& keys, int64_t bits, int64_t radius,
                                                 double budget) {
  const MultiIndex index = describe(codes, offsets, ids, keys, bits);
  check_queries(queries, index);
  STD_TORCH_CHECK(radius >= 0, "radius must not be negative, got ", radius);
  const int64_t count = queries.size(0);
  const int within = static_cast<int>(std::min<int64_t>(radius, bits));
  Tensor row_offsets = allocate(codes, {count + 1}, ScalarType::Long);
  Tensor finished = allocate(codes, {count}, ScalarType::Bool);
  const uint8_t* rows = queries.const_data_ptr<uint8_t>();
  bool* done = finished.mutable_data_ptr<bool>();
  std::vector<std::vector<Hit>> found(static_cast<size_t>(count));
  each_query(count, [&](int64_t query) {
    std::vector<Hit>& hits = found[static_cast<size_t>(query)];
    done[query] = multi_index_range(index, rows + query * index.bytes, within, budget, hits);
    if (!done[query]) hits.clear();
  });
  int64_t* offset = row_offsets.mutable_data_ptr<int64_t>();
  offset[0] = 0;
  for (int64_t query = 0; query < count; ++query)
    offset[query + 1] = offset[query] + static_cast<int64_t>(found[static_cast<size_t>(query)].size());
  Tensor distances = allocate(codes, {offset[count]}, ScalarType::Int);
  Tensor indices = allocate(codes, {offset[count]}, ScalarType::Long);
  int32_t* distance = distances.mutable_data_ptr<int32_t>();
  int64_t* id = indices.mutable_data_ptr<int64_t>();
  for (const std::vector<Hit>& hits : found)
    for (const Hit hit : hits) {
      *distance++ = static_cast<int32_t>(hit >> 32);
      *id++ = static_cast<int64_t>(hit & 0xffffffffu);
    }
  return {row_offsets, distances, indices, finished};
}

}  // namespace
}  // namespace warphash::hamming

STABLE_TORCH_LIBRARY_FRAGMENT(warphash, m) {
  m.def("hamming_multi_index_build(Tensor codes, int bits, int substrings, int table_bits) -> (Tensor, Tensor, Tensor)");
  m.def(
      "hamming_multi_index_topk(Tensor queries, Tensor codes, Tensor offsets, Tensor ids, Tensor keys, int bits, SymInt k, "
      "float budget) -> (Tensor, Tensor, Tensor)");
  m.def(
      "hamming_multi_index_range(Tensor queries, Tensor codes, Tensor offsets, Tensor ids, Tensor keys, int bits, "
      "int radius, float budget) -> (Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(warphash, CPU, m) {
  m.impl("hamming_multi_index_build", TORCH_BOX(&warphash::hamming::build));
  m.impl("hamming_multi_index_topk", TORCH_BOX(&warphash::hamming::topk));
  m.impl("hamming_multi_index_range", TORCH_BOX(&warphash::hamming::range));
}
