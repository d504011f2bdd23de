// SPDX-License-Identifier: Apache-2.0
// Types of the tensors' values, for the CPU and the CUDA entries alike.
#pragma once

#include "spgemm/spgemm_operands.h"
#include "spgemm/spgemm_values.h"

namespace warphash::spgemm {

inline ValueType value_type_of(const Tensor& values) {
  switch (values.scalar_type()) {
    case ScalarType::Float: return ValueType::float32;
    case ScalarType::Double: return ValueType::float64;
    case ScalarType::Int: return ValueType::int32;
    case ScalarType::Long: return ValueType::int64;
    case ScalarType::Bool: return ValueType::boolean;
    case ScalarType::Half: return ValueType::float16;
    case ScalarType::BFloat16: return ValueType::bfloat16;
    default: break;
  }
  STD_TORCH_CHECK(false, "values must be float16, bfloat16, float32, float64, int32, int64 or bool");
}

// Half values as float32, others as they are.
inline Tensor widened(const Tensor& values) {
  return is_half(value_type_of(values)) ? torch::stable::to(values, ScalarType::Float) : values;
}

inline Tensor as_type(const Tensor& x, ScalarType type) {
  return x.scalar_type() == type ? x : torch::stable::to(x, type);
}

// The values of both operands share their type, and the semiring takes it.
inline ValueType checked_value_type(const Tensor& a_values, const Tensor& b_values, Semiring semiring) {
  STD_TORCH_CHECK(a_values.scalar_type() == b_values.scalar_type(), "the values of a and b must share their dtype");
  const ValueType type = value_type_of(a_values);
  const bool truth = type == ValueType::boolean;
  STD_TORCH_CHECK(semiring != Semiring::or_and || truth, "or_and takes bool values");
  STD_TORCH_CHECK((semiring != Semiring::min_plus && semiring != Semiring::max_times) || !truth,
                  "min_plus and max_times take no bool values");
  return type;
}

// Both factors of a product of values, half types widened.
struct Factors {
  CsrOperand a, b;

  Factors(const Tensor& a_crow, const Tensor& a_col, const Tensor& a_values, const Tensor& b_crow, const Tensor& b_col,
          const Tensor& b_values, int64_t columns)
      : a(a_crow, a_col, widened(a_values), rows_of(b_crow), "a"), b(b_crow, b_col, widened(b_values), columns, "b") {
    check_operands(a, b);
  }
};

}  // namespace warphash::spgemm
