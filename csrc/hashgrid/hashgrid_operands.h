// SPDX-License-Identifier: Apache-2.0
// From the operators' tensors to a grid, pointers and sizes, with the last line of checks; the same for CPU and CUDA entries.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>

#include "common/checks.h"
#include "hashgrid/hashgrid_grid.h"

namespace warphash::hashgrid {

inline TableType table_type(const Tensor& table) {
  switch (table.scalar_type()) {
    case ScalarType::Float: return TableType::f32;
    case ScalarType::Double: return TableType::f64;
    case ScalarType::Half: return TableType::f16;
    case ScalarType::BFloat16: return TableType::bf16;
    default: break;
  }
  STD_TORCH_CHECK(false, "table must be float32, float64, float16 or bfloat16");
}

inline const Grid& checked_grid(const std::string& text) {
  try {
    return grid_of(text);
  } catch (const std::invalid_argument& error) {
    STD_TORCH_CHECK(false, error.what());
  }
}

// Contiguous tensors behind a call; wide: the type of points and sums.
struct Operands {
  const Grid& grid;
  TableType type;
  ScalarType wide;
  Tensor x, table;
  std::optional<Tensor> weights;
  int64_t points, features;

  Operands(const Tensor& given_x, const Tensor& given_table, const std::optional<Tensor>& level_weights,
           const std::string& text)
      : grid(checked_grid(text)),
        type(table_type(given_table)),
        wide(type == TableType::f64 ? ScalarType::Double : ScalarType::Float),
        x(checked_points(given_x, "x")),
        table(torch::stable::contiguous(given_table)),
        points(x.size(0)),
        features(given_table.dim() == 2 ? given_table.size(1) : 0) {
    check_same_device(given_x, "x", given_table, "table");
    STD_TORCH_CHECK(table.dim() == 2 && table.size(0) == grid.rows && features >= 1,
                    "table must be [rows, features] with ", grid.rows, " rows");
    // Sizes of a row of results are counted in 32 bits.
    STD_TORCH_CHECK(features * grid.level_count() < (int64_t{1} << 31), "table has too many features");
    if (!level_weights.has_value()) return;
    check_same_device(given_x, "x", *level_weights, "level_weights");
    STD_TORCH_CHECK(level_weights->dim() == 1 && level_weights->size(0) == grid.level_count() &&
                        level_weights->scalar_type() == wide,
                    "level_weights must be [levels] in the type of x");
    weights = torch::stable::contiguous(*level_weights);
  }

  int64_t components() const { return features * grid.level_count(); }

  // [points, dims] in the wide type.
  Tensor checked_points(const Tensor& given, const char* name) const {
    STD_TORCH_CHECK(given.dim() == 2 && given.size(1) == grid.dims && given.scalar_type() == wide, name,
                    " must be [points, dims] in the type of sums");
    return torch::stable::contiguous(given);
  }
  Tensor checked_v(const Tensor& given) const {
    check_same_device(x, "x", given, "v");
    Tensor v = checked_points(given, "v");
    STD_TORCH_CHECK(v.size(0) == points, "v must have as many points as x");
    return v;
  }
  // [points, levels * features] in the table's type.
  Tensor checked_gradient(const Tensor& given) const {
    check_same_device(x, "x", given, "gradient");
    STD_TORCH_CHECK(given.dim() == 2 && given.size(0) == points && given.size(1) == components() &&
                        given.scalar_type() == table.scalar_type(),
                    "gradient must be [points, levels * features] in the table's type");
    return torch::stable::contiguous(given);
  }
};

}  // namespace warphash::hashgrid
