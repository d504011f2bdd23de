// SPDX-License-Identifier: Apache-2.0
// Tensors of a call to pointers and sizes, for the CPU and the CUDA entries alike.
#pragma once

#include <cstdint>
#include <vector>

#include "common/checks.h"
#include "lsh/buckets/buckets.h"

namespace warphash::lsh {

inline std::vector<int64_t> shape_of(const Tensor& x) {
  std::vector<int64_t> shape;
  for (int64_t dim = 0; dim < x.dim(); ++dim) shape.push_back(x.size(dim));
  return shape;
}

// codes [..., N] of a sort.
struct CodeOperands {
  Tensor held;
  Codes codes{};
  std::vector<int64_t> items_shape, offsets_shape;

  CodeOperands(const Tensor& given, int64_t num_buckets) : held(torch::stable::contiguous(given)) {
    STD_TORCH_CHECK(given.dim() >= 1, "codes must be [..., N]");
    STD_TORCH_CHECK(num_buckets >= 0 && num_buckets < (int64_t{1} << 48), "num_buckets must be in [0, 2^48), got ",
                    num_buckets);
    items_shape = offsets_shape = shape_of(given);
    offsets_shape.back() = num_buckets + 1;
    int64_t tables = 1;
    for (size_t dim = 0; dim + 1 < items_shape.size(); ++dim) tables *= items_shape[dim];
    codes = {held.const_data_ptr(), bytes_of(given.scalar_type()), tables, items_shape.back(), num_buckets};
  }

 private:
  static int bytes_of(ScalarType type) {
    switch (type) {
      case ScalarType::Byte: return 1;
      case ScalarType::Short: return 2;
      case ScalarType::Int: return 4;
      case ScalarType::Long: return 8;
      default: STD_TORCH_CHECK(false, "codes must be uint8, int16, int32 or int64");
    }
  }
};

// order [T, N], offsets [T, K + 1], query_codes [T, Q].
struct QueryOperands {
  Tensor order, offsets, codes;
  Table table{};
  int64_t queries;

  QueryOperands(const Tensor& given_order, const Tensor& given_offsets, const Tensor& query_codes)
      : order(matrix(given_order, "order")),
        offsets(matrix(given_offsets, "offsets")),
        codes(matrix(query_codes, "query_codes")),
        queries(query_codes.size(1)) {
    const int64_t tables = order.size(0);
    STD_TORCH_CHECK(offsets.size(0) == tables && codes.size(0) == tables,
                    "order, offsets and query_codes must have a row for each table");
    STD_TORCH_CHECK(offsets.size(1) >= 1, "offsets must have num_buckets + 1 entries a table");
    check_same_device(order, "order", offsets, "offsets");
    check_same_device(order, "order", codes, "query_codes");
    table = {order.const_data_ptr<int64_t>(), offsets.const_data_ptr<int64_t>(), tables, order.size(1),
             offsets.size(1) - 1};
  }

 private:
  static Tensor matrix(const Tensor& x, const char* name) {
    STD_TORCH_CHECK(x.dim() == 2 && x.scalar_type() == ScalarType::Long, name, " must be int64 with two dimensions");
    return torch::stable::contiguous(x);
  }
};

// values [B, N, d] or table [B, H, K, d], codes [B, H, *].
struct SumOperands {
  Tensor values, codes;
  Rows rows{};
  std::vector<int64_t> shape;  // of the result

  SumOperands(const Tensor& given, const Tensor& given_codes, int64_t num_buckets)
      : values(torch::stable::contiguous(given)), codes(checked(given_codes)) {
    STD_TORCH_CHECK(given.dim() == 3, "values must be [B, N, d]");
    STD_TORCH_CHECK(given.size(0) == codes.size(0) && given.size(1) == codes.size(2),
                    "codes must be [B, H, N] with the B and N of values");
    STD_TORCH_CHECK(num_buckets >= 0, "num_buckets must not be negative, got ", num_buckets);
    fill(num_buckets, given.size(2));
    shape = {rows.batch, rows.tables, rows.buckets, rows.width};
  }
  SumOperands(const Tensor& given, const Tensor& given_codes)
      : values(torch::stable::contiguous(given)), codes(checked(given_codes)) {
    STD_TORCH_CHECK(given.dim() == 4, "table must be [B, H, K, d]");
    STD_TORCH_CHECK(given.size(0) == codes.size(0) && given.size(1) == codes.size(1),
                    "codes must be [B, H, C] with the B and H of table");
    fill(given.size(2), given.size(3));
    shape = {rows.batch, rows.codes_per_table, rows.width};
  }

 private:
  static Tensor checked(const Tensor& given) {
    STD_TORCH_CHECK(given.dim() == 3, "codes must have three dimensions");
    const ScalarType type = given.scalar_type();
    STD_TORCH_CHECK(type == ScalarType::Int || type == ScalarType::Long, "codes must be int32 or int64");
    return torch::stable::contiguous(given);
  }
  void fill(int64_t buckets, int64_t width) {
    check_same_device(values, "values", codes, "codes");
    rows = {type_of(values.scalar_type()),
            codes.size(0),
            codes.size(1),
            buckets,
            width,
            codes.size(2),
            codes.const_data_ptr(),
            codes.scalar_type() == ScalarType::Long};
  }
  static ValueType type_of(ScalarType type) {
    switch (type) {
      case ScalarType::Half: return ValueType::f16;
      case ScalarType::BFloat16: return ValueType::bf16;
      case ScalarType::Float: return ValueType::f32;
      case ScalarType::Double: return ValueType::f64;
      default: STD_TORCH_CHECK(false, "values must be float16, bfloat16, float32 or float64");
    }
  }
};

}  // namespace warphash::lsh
