// SPDX-License-Identifier: Apache-2.0
// From the operators' tensors to the kernels' pointers and sizes, the same for CPU and CUDA entries.
#pragma once

#include <optional>
#include <vector>

#include "common/checks.h"
#include "hamming/hamming_pack.h"
#include "hamming/hamming_search.h"

namespace warphash::hamming {

inline ValueType value_type(const Tensor& x) {
  switch (x.scalar_type()) {
    case ScalarType::Bool: return ValueType::boolean;
    case ScalarType::Byte: return ValueType::u8;
    case ScalarType::Char: return ValueType::i8;
    case ScalarType::Short: return ValueType::i16;
    case ScalarType::Int: return ValueType::i32;
    case ScalarType::Long: return ValueType::i64;
    case ScalarType::UInt16: return ValueType::u16;
    case ScalarType::UInt32: return ValueType::u32;
    case ScalarType::UInt64: return ValueType::u64;
    case ScalarType::Half: return ValueType::f16;
    case ScalarType::BFloat16: return ValueType::bf16;
    case ScalarType::Float: return ValueType::f32;
    case ScalarType::Double: return ValueType::f64;
    default: break;
  }
  STD_TORCH_CHECK(false, "x has an unsupported dtype");
}

// Shape of x with another last dimension, and how many rows there are.
inline std::vector<int64_t> with_last(const Tensor& x, int64_t last, int64_t* rows) {
  std::vector<int64_t> shape(x.sizes().begin(), x.sizes().end());
  shape.back() = last;
  *rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) *rows *= shape[i];
  return shape;
}

// The tensors behind a Problem. weights: the queries are float32 [Q, 8 * bytes].
struct Operands {
  Tensor queries, database;
  std::optional<Tensor> mask;
  Problem problem{};

  Operands(const Tensor& q, const Tensor& d, const std::optional<Tensor>& m, bool weights = false)
      : queries(weights ? torch::stable::contiguous(q) : checked_codes(q, "queries")),
        database(checked_codes(d, "database")) {
    check_same_device(q, "queries", d, "database");
    problem.bytes = database.size(1);
    STD_TORCH_CHECK(queries.dim() == 2 && queries.size(1) == (weights ? 8 : 1) * problem.bytes,
                    "queries and database must have codes of one width, got ", queries.size(1), " and ", problem.bytes);
    STD_TORCH_CHECK(!weights || queries.scalar_type() == ScalarType::Float, "queries must be float32 here");
    problem.query_count = queries.size(0);
    problem.database_count = database.size(0);
    problem.queries = weights ? nullptr : queries.const_data_ptr<uint8_t>();
    problem.weights = weights ? queries.const_data_ptr<float>() : nullptr;
    problem.database = database.const_data_ptr<uint8_t>();
    if (!m.has_value()) return;
    check_same_device(q, "queries", *m, "mask");
    STD_TORCH_CHECK(m->scalar_type() == ScalarType::Bool, "mask must be bool");
    STD_TORCH_CHECK(m->dim() == 1 || m->dim() == 2, "mask must be 1-D or 2-D");
    STD_TORCH_CHECK(
        m->size(m->dim() - 1) == problem.database_count && (m->dim() == 1 || m->size(0) == problem.query_count),
        "mask must be [N] or [Q, N]");
    // One row for all queries, written out or expanded, is a shared mask: nothing of size Q x N is made of it.
    const bool one_row = m->dim() == 2 && m->size(0) > 0 && (m->size(0) == 1 || m->stride(0) == 0);
    mask = torch::stable::contiguous(one_row ? torch::stable::select(*m, 0, 0) : *m);
    problem.mask_per_query = mask->dim() == 2;
    problem.mask = static_cast<const uint8_t*>(mask->const_data_ptr());
  }
};

}  // namespace warphash::hamming
