// SPDX-License-Identifier: Apache-2.0
// NumPy arrays as operands of sparse products: what the bindings of their kernels share.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "common/half.h"
#include "spgemm/spgemm_values.h"

namespace warphash::spgemm {
namespace {

namespace py = pybind11;

template <class T>
using Array = py::array_t<T, py::array::c_style>;

inline Pattern pattern_of(const Array<int64_t>& crow, const Array<int32_t>& col, int64_t columns, const char* name) {
  if (crow.ndim() != 1 || crow.size() < 1 || col.ndim() != 1 || columns < 0 || columns > INT32_MAX)
    throw py::value_error(std::string(name) + " must have row pointers int64 [rows + 1] and columns int32 [entries]");
  return {crow.data(), col.data(), crow.size() - 1, columns, col.size()};
}

inline Semiring semiring_of(int semiring) {
  if (semiring < 0 || semiring > 3) throw py::value_error("semiring must be 0, 1, 2 or 3");
  return static_cast<Semiring>(semiring);
}

// NumPy has no bfloat16: its bits come as uint16.
inline ValueType type_of(const py::array& values) {
  switch (values.dtype().char_()) {
    case 'f': return ValueType::float32;
    case 'd': return ValueType::float64;
    case 'i': return ValueType::int32;
    case 'l': return ValueType::int64;
    case '?': return ValueType::boolean;
    case 'e': return ValueType::float16;
    case 'H': return ValueType::bfloat16;
    default: break;
  }
  throw py::value_error("values must be float32, float64, int32, int64, bool, float16, or uint16 for bfloat16");
}

// Half values widened.
class Values {
 public:
  Values(const py::array& given, ValueType type, int64_t entries, const char* name) : data_(given.data()) {
    if (given.ndim() != 1 || given.size() != entries || type_of(given) != type ||
        (given.flags() & py::array::c_style) == 0)
      throw py::value_error(std::string(name) +
                            " must be contiguous, one value an entry, of one dtype with the others");
    if (!is_half(type)) return;
    const auto* from = static_cast<const uint16_t*>(given.data());
    for (int64_t i = 0; i < entries; ++i)
      wide_.push_back(type == ValueType::bfloat16 ? float_of_bfloat16(from[i]) : float_of_float16(from[i]));
    data_ = wide_.data();
  }
  const void* data() const {
    static constexpr int64_t nothing = 0;  // null would mean that there are no values
    return data_ == nullptr ? &nothing : data_;
  }

 private:
  std::vector<float> wide_;
  const void* data_;
};

struct Operands {
  Pattern a, b;
  ValueType type;
  Values a_values, b_values;
  Operands(const Array<int64_t>& a_crow, const Array<int32_t>& a_col, const py::array& a_given,
           const Array<int64_t>& b_crow, const Array<int32_t>& b_col, const py::array& b_given, int64_t columns)
      : a(pattern_of(a_crow, a_col, b_crow.size() - 1, "a")),
        b(pattern_of(b_crow, b_col, columns, "b")),
        type(type_of(a_given)),
        a_values(a_given, type, a.entries, "a's values"),
        b_values(b_given, type, b.entries, "b's values") {}
  template <class Value>
  Csr<Value> csr_a() const {
    return {a, static_cast<const Value*>(a_values.data())};
  }
  template <class Value>
  Csr<Value> csr_b() const {
    return {b, static_cast<const Value*>(b_values.data())};
  }
};

}  // namespace
}  // namespace warphash::spgemm
