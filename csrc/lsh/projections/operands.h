// SPDX-License-Identifier: Apache-2.0
// From the operators' tensors to the kernels' pointers and sizes, checked; the same for CPU and CUDA entries.
#pragma once

#include <limits>
#include <vector>

#include "common/checks.h"
#include "lsh/projections/projections.h"

namespace warphash::lsh {

inline VectorType vector_type(const Tensor& x) {
  switch (x.scalar_type()) {
    case ScalarType::Half: return VectorType::f16;
    case ScalarType::BFloat16: return VectorType::bf16;
    case ScalarType::Float: return VectorType::f32;
    case ScalarType::Double: return VectorType::f64;
    default: break;
  }
  STD_TORCH_CHECK(false, "x must be float16, bfloat16, float32 or float64");
}

// Vectors [..., dim] as rows.
struct Operands {
  Tensor x;
  Vectors vectors{};

  explicit Operands(const Tensor& tensor) : x(contiguous_of(tensor)) {
    vectors.type = vector_type(x);
    vectors.data = x.const_data_ptr();
    vectors.dim = x.size(-1);
    vectors.rows = 1;
    for (int64_t i = 0; i + 1 < x.dim(); ++i) vectors.rows *= x.size(i);
  }
  bool wide() const { return vectors.type == VectorType::f64; }
  // The shape of x with another last dimension.
  std::vector<int64_t> with_last(int64_t last) const {
    std::vector<int64_t> shape(x.sizes().begin(), x.sizes().end());
    shape.back() = last;
    return shape;
  }

 private:
  static Tensor contiguous_of(const Tensor& tensor) {
    STD_TORCH_CHECK(tensor.dim() >= 1, "x must be [..., dim], got a 0-dimensional tensor");
    return torch::stable::contiguous(tensor);
  }
};

// Float32 values, or float64 beside float64 vectors.
inline Weights weights_of(const Tensor& values, const char* name, const Operands& vectors) {
  check_same_device(vectors.x, "x", values, name);
  const bool wide = values.scalar_type() == ScalarType::Double;
  STD_TORCH_CHECK(wide ? vectors.wide() : values.scalar_type() == ScalarType::Float, name,
                  " must be float32, or float64 beside a float64 x");
  return {values.const_data_ptr(), wide};
}

// Planes or directions [dim, count].
struct Matrix {
  Tensor values;
  Weights weights{};
  int64_t count;

  Matrix(const Tensor& tensor, const char* name, const Operands& vectors)
      : values(torch::stable::contiguous(tensor)), weights(weights_of(values, name, vectors)) {
    STD_TORCH_CHECK(values.dim() == 2, name, " must be 2-D, got ", values.dim(), "-D");
    STD_TORCH_CHECK(values.size(0) == vectors.vectors.dim, name, " must have ", vectors.vectors.dim, " rows, got ",
                    values.size(0));
    count = values.size(1);
  }
};

// Offsets [count].
struct Row {
  Tensor values;
  Weights weights{};

  Row(const Tensor& tensor, const char* name, const Operands& vectors, int64_t count)
      : values(torch::stable::contiguous(tensor)), weights(weights_of(values, name, vectors)) {
    STD_TORCH_CHECK(values.dim() == 1 && values.size(0) == count, name, " must be [", count, "]");
  }
};

// Signs [count, 3, size / 8] of rotations.
struct Rotations {
  Tensor signs;
  int64_t count, size;

  Rotations(const Tensor& tensor, const Operands& vectors)
      : signs(torch::stable::contiguous(tensor)), size(rotation_size(vectors.vectors.dim)) {
    check_same_device(vectors.x, "x", signs, "signs");
    STD_TORCH_CHECK(size <= int64_t{1} << 30, "x must have at most 2^30 dimensions, got ", vectors.vectors.dim);
    STD_TORCH_CHECK(signs.scalar_type() == ScalarType::Byte, "signs must be uint8");
    STD_TORCH_CHECK(signs.dim() == 3 && signs.size(1) == 3 && signs.size(2) == size / 8, "signs must be [*, 3, ",
                    size / 8, "] for ", vectors.vectors.dim, " dimensions");
    count = signs.size(0);
  }
  const uint8_t* data() const { return signs.const_data_ptr<uint8_t>(); }
};

inline void check_bits(int64_t bits, int64_t columns) {
  STD_TORCH_CHECK(bits >= 1 && bits <= 30, "bits must be in [1, 30], got ", bits);
  STD_TORCH_CHECK(columns % bits == 0, "planes must have a multiple of ", bits, " columns, got ", columns);
}

inline void check_rotation_bits(int64_t bits, const Rotations& rotations) {
  STD_TORCH_CHECK(bits >= 0 && bits <= rotations.count * rotations.size &&
                      (rotations.count == 0 || bits > (rotations.count - 1) * rotations.size),
                  "bits must need all ", rotations.count, " rotations of ", rotations.size, " bits and no more, got ",
                  bits);
}

inline void check_width(double width, const Operands& vectors) {
  const double rounded = vectors.wide() ? width : static_cast<float>(width);
  STD_TORCH_CHECK(rounded > 0 && rounded < std::numeric_limits<double>::infinity(),
                  "width must be above 0 and finite in the dtype of the computation, got ", width);
}

}  // namespace warphash::lsh
