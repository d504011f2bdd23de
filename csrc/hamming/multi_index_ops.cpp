// SPDX-License-Identifier: Apache-2.0
// Ops of the multi-index: warphash::hamming_multi_index_build, _topk and _range. They serve HammingIndex alone, which
// finishes the queries that gave up by a scan; tables are made by _build and handed back unchanged.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <tuple>
#include <vector>

#include "common/checks.h"
#include "common/parallel.h"
#include "hamming/multi_index.h"

namespace warphash::hamming {
namespace {

constexpr int64_t queries_a_task = 4;

void check_matrix(const Tensor& tensor, ScalarType type, const char* name) {
  STD_TORCH_CHECK(tensor.scalar_type() == type && tensor.dim() == 2 && tensor.is_contiguous(), name,
                  " must be a contiguous matrix of its type");
}

void check_tables(bool sound) {
  STD_TORCH_CHECK(sound, "offsets and ids must be tables as hamming_multi_index_build made them of these codes");
}

// The index of the codes, without tables.
MultiIndex describe(const Tensor& codes, int64_t bits, int64_t substrings) {
  check_matrix(codes, ScalarType::Byte, "codes");
  STD_TORCH_CHECK(bits >= 1 && codes.size(1) == (bits + 7) / 8, "codes must be [N, ", (bits + 7) / 8, "]");
  STD_TORCH_CHECK(substrings >= 1 && substrings <= bits && (bits + substrings - 1) / substrings <= widest_substring,
                  "substrings must be at most ", bits, ", and enough for none to be wider than ", widest_substring,
                  " bits");
  STD_TORCH_CHECK(codes.size(0) < (int64_t{1} << 31), "at most 2^31 - 1 codes fit a multi-index");
  MultiIndex index{};
  index.codes = codes.const_data_ptr<uint8_t>();
  index.total = index.indexed = codes.size(0);
  index.bytes = static_cast<int>(codes.size(1));
  index.bits = static_cast<int>(bits);
  index.substrings = static_cast<int>(substrings);
  return index;
}

MultiIndex describe(const Tensor& codes, const Tensor& offsets, const Tensor& ids, int64_t bits) {
  check_matrix(offsets, ScalarType::Int, "offsets");
  check_matrix(ids, ScalarType::Int, "ids");
  MultiIndex index = describe(codes, bits, offsets.size(0));
  index.indexed = ids.size(1);
  STD_TORCH_CHECK(offsets.size(1) == table_entries(index.bits, index.substrings) && ids.size(0) == offsets.size(0) &&
                      index.indexed <= index.total,
                  "codes, offsets and ids do not belong together");
  index.offsets = offsets.const_data_ptr<int32_t>();
  index.ids = ids.const_data_ptr<int32_t>();
  // The ends of each table here, what lies between when it is read.
  const int64_t entries = offsets.size(1);
  for (int64_t s = 0; s < index.substrings; ++s)
    check_tables(index.offsets[s * entries] == 0 && index.offsets[(s + 1) * entries - 1] == index.indexed);
  return index;
}

void check_queries(const Tensor& queries, const MultiIndex& index) {
  check_matrix(queries, ScalarType::Byte, "queries");
  STD_TORCH_CHECK(queries.size(1) == index.bytes, "queries must be [Q, ", index.bytes, "]");
}

// Outcome body(query number) for all, a few queries a task.
template <class Body>
void each_query(int64_t queries, Body&& body) {
  std::atomic<bool> sound = true;
  parallel_tasks((queries + queries_a_task - 1) / queries_a_task, [&](int64_t task) {
    const int64_t end = std::min(queries, (task + 1) * queries_a_task);
    for (int64_t query = task * queries_a_task; query < end; ++query)
      if (body(query) == Outcome::broken) sound = false;
  });
  check_tables(sound);
}

std::tuple<Tensor, Tensor> build(const Tensor& codes, int64_t bits, int64_t substrings) {
  const MultiIndex index = describe(codes, bits, substrings);
  Tensor offsets = empty_on_cpu({substrings, table_entries(index.bits, index.substrings)}, ScalarType::Int);
  Tensor ids = empty_on_cpu({substrings, index.total}, ScalarType::Int);
  multi_index_build(index, offsets.mutable_data_ptr<int32_t>(), ids.mutable_data_ptr<int32_t>());
  return {offsets, ids};
}

std::tuple<Tensor, Tensor, Tensor> topk(const Tensor& queries, const Tensor& codes, const Tensor& offsets,
                                        const Tensor& ids, int64_t bits, int64_t k, double budget) {
  const MultiIndex index = describe(codes, offsets, ids, bits);
  check_queries(queries, index);
  STD_TORCH_CHECK(k >= 0 && k <= index.total, "k must be 0 to the number of codes, got ", k);
  const int64_t count = queries.size(0);
  Tensor distances = empty_on_cpu({count, k}, ScalarType::Int);
  Tensor indices = empty_on_cpu({count, k}, ScalarType::Long);
  Tensor finished = empty_on_cpu({count}, ScalarType::Bool);
  const uint8_t* rows = queries.const_data_ptr<uint8_t>();
  int32_t* distance = distances.mutable_data_ptr<int32_t>();
  int64_t* id = indices.mutable_data_ptr<int64_t>();
  bool* done = finished.mutable_data_ptr<bool>();
  each_query(count, [&](int64_t query) {
    std::vector<Entry> hits;
    const Outcome outcome = multi_index_topk(index, rows + query * index.bytes, k, budget, hits);
    done[query] = outcome == Outcome::complete;
    for (int64_t rank = 0; rank < k; ++rank) {
      const Entry hit = done[query] ? hits[static_cast<size_t>(rank)] : 0;
      distance[query * k + rank] = static_cast<int32_t>(hit >> 32);
      id[query * k + rank] = static_cast<int64_t>(hit & 0xffffffffu);
    }
    return outcome;
  });
  return {distances, indices, finished};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> range(const Tensor& queries, const Tensor& codes, const Tensor& offsets,
                                                 const Tensor& ids, int64_t bits, int64_t radius, double budget) {
  const MultiIndex index = describe(codes, offsets, ids, bits);
  check_queries(queries, index);
  STD_TORCH_CHECK(radius >= 0, "radius must not be negative, got ", radius);
  const int64_t count = queries.size(0);
  const int within = static_cast<int>(std::min<int64_t>(radius, bits));
  Tensor row_offsets = empty_on_cpu({count + 1}, ScalarType::Long);
  Tensor finished = empty_on_cpu({count}, ScalarType::Bool);
  const uint8_t* rows = queries.const_data_ptr<uint8_t>();
  bool* done = finished.mutable_data_ptr<bool>();
  std::vector<std::vector<Entry>> found(static_cast<size_t>(count));
  each_query(count, [&](int64_t query) {
    std::vector<Entry>& hits = found[static_cast<size_t>(query)];
    const Outcome outcome = multi_index_range(index, rows + query * index.bytes, within, budget, hits);
    done[query] = outcome == Outcome::complete;
    if (!done[query]) hits.clear();
    return outcome;
  });
  int64_t* offset = row_offsets.mutable_data_ptr<int64_t>();
  offset[0] = 0;
  for (int64_t query = 0; query < count; ++query)
    offset[query + 1] = offset[query] + static_cast<int64_t>(found[static_cast<size_t>(query)].size());
  Tensor distances = empty_on_cpu({offset[count]}, ScalarType::Int);
  Tensor indices = empty_on_cpu({offset[count]}, ScalarType::Long);
  int32_t* distance = distances.mutable_data_ptr<int32_t>();
  int64_t* id = indices.mutable_data_ptr<int64_t>();
  for (const std::vector<Entry>& hits : found)
    for (const Entry hit : hits) {
      *distance++ = static_cast<int32_t>(hit >> 32);
      *id++ = static_cast<int64_t>(hit & 0xffffffffu);
    }
  return {row_offsets, distances, indices, finished};
}

}  // namespace
}  // namespace warphash::hamming

STABLE_TORCH_LIBRARY_FRAGMENT(warphash, m) {
  m.def("hamming_multi_index_build(Tensor codes, int bits, int substrings) -> (Tensor, Tensor)");
  m.def(
      "hamming_multi_index_topk(Tensor queries, Tensor codes, Tensor offsets, Tensor ids, int bits, SymInt k, "
      "float budget) -> (Tensor, Tensor, Tensor)");
  m.def(
      "hamming_multi_index_range(Tensor queries, Tensor codes, Tensor offsets, Tensor ids, int bits, int radius, "
      "float budget) -> (Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(warphash, CPU, m) {
  m.impl("hamming_multi_index_build", TORCH_BOX(&warphash::hamming::build));
  m.impl("hamming_multi_index_topk", TORCH_BOX(&warphash::hamming::topk));
  m.impl("hamming_multi_index_range", TORCH_BOX(&warphash::hamming::range));
}
