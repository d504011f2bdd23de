// SPDX-License-Identifier: Apache-2.0
// _C.kernels: products of sparse matrices on NumPy arrays with the kernels of one instruction set, past torch.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/half.h"
#include "python/bindings.h"
#include "spgemm/product/product.h"

namespace py = pybind11;

namespace {

using namespace warphash::spgemm;
template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

struct Indices {
  Array<int64_t> crow;
  Array<int32_t> col;
  bool wide;

  Indices(const py::array& given_crow, const py::array& given_col, const char* name)
      : crow(given_crow), col(given_col), wide(given_col.dtype().char_() != 'i') {
    if (given_crow.ndim() != 1 || given_crow.size() < 1 || given_col.ndim() != 1)
      throw py::value_error(std::string(name) + " must have row pointers [rows + 1] and columns [entries]");
  }
  Pattern pattern(int64_t columns) const { return {crow.data(), col.data(), crow.shape(0) - 1, columns, col.shape(0)}; }
};

struct ValueType {
  ValueKind kind;
  Narrowing narrowing;
};
// NumPy has no bfloat16: its bits come as uint16.
ValueType type_of(const py::array& values) {
  switch (values.dtype().char_()) {
    case 'e': return {ValueKind::float32, Narrowing::float16};
    case 'H': return {ValueKind::float32, Narrowing::bfloat16};
    case 'f': return {ValueKind::float32, Narrowing::none};
    case 'd': return {ValueKind::float64, Narrowing::none};
    case 'i': return {ValueKind::int32, Narrowing::none};
    case 'l': return {ValueKind::int64, Narrowing::none};
    case '?': return {ValueKind::boolean, Narrowing::none};
    default:
      throw py::value_error("values must be float16, float32, float64, int32, int64, bool, or uint16 for bfloat16");
  }
}

// Values as the kernels take them: half types widened.
struct Values {
  py::array held;
  std::vector<float> widened;

  Values(const py::array& given, ValueType type, int64_t entries) : held(given) {
    if (given.ndim() != 1 || given.shape(0) != entries || (given.flags() & py::array::c_style) == 0)
      throw py::value_error("values must be contiguous, one for each entry");
    if (type.narrowing == Narrowing::none) return;
    const uint16_t* from = static_cast<const uint16_t*>(held.data());
    for (int64_t i = 0; i < entries; ++i)
      widened.push_back(type.narrowing == Narrowing::float16 ? warphash::float_of_float16(from[i])
                                                             : warphash::float_of_bfloat16(from[i]));
  }
  const void* data(ValueType type) const { return type.narrowing == Narrowing::none ? held.data() : widened.data(); }
};

// Operands that hold their arrays while a product is counted and written.
struct Operands {
  Indices a, b;
  std::optional<Indices> exclude;
  ProductOperands patterns;

  Operands(Indices given_a, Indices given_b, int64_t columns, const py::object& crow, const py::object& col)
      : a(std::move(given_a)), b(std::move(given_b)) {
    if (columns < 0 || columns > std::numeric_limits<int32_t>::max())
      throw py::value_error("columns must be in [0, 2^31)");
    if (!crow.is_none() && !col.is_none()) exclude.emplace(py::array(crow), py::array(col), "exclude");
    patterns = {
        a.pattern(b.crow.shape(0) - 1), b.pattern(columns), exclude ? exclude->pattern(columns) : Pattern{}, {}};
  }
};

Product counted(const std::string& isa, const Operands& operands, int64_t* crow) {
  const warphash::Isa level = isa_named(isa);
  py::gil_scoped_release release;
  return Product(level, operands.patterns, crow);
}

py::array columns_of(bool wide, int64_t entries) {
  return wide ? py::array(py::array_t<int64_t>(entries)) : py::array(py::array_t<int32_t>(entries));
}

py::tuple product_on(const std::string& isa, const py::array& a_crow, const py::array& a_col, const py::array& a_values,
                     const py::array& b_crow, const py::array& b_col, const py::array& b_values, int64_t columns,
                     int semiring, const py::object& exclude_crow, const py::object& exclude_col) {
  const Operands operands({a_crow, a_col, "a"}, {b_crow, b_col, "b"}, columns, exclude_crow, exclude_col);
  const ValueType type = type_of(a_values);
  const bool boolean = type.kind == ValueKind::boolean;
  if (!a_values.dtype().equal(b_values.dtype())) throw py::value_error("a and b must share their dtype");
  if (semiring < 0 || semiring > 3 || boolean != (semiring == 1))
    throw py::value_error("semiring must be 0, 2 or 3, and 1 for bool");
  const Values left(a_values, type, operands.a.col.shape(0)), right(b_values, type, operands.b.col.shape(0));
  py::array_t<int64_t> crow(operands.a.crow.shape(0));
  int64_t* pointers = crow.mutable_data();
  Product product = counted(isa, operands, pointers);
  py::array col = columns_of(operands.a.wide, product.entries());
  py::array values(a_values.dtype(), std::vector<py::ssize_t>{product.entries()});
  const ProductOutput output = {col.mutable_data(), operands.a.wide, values.mutable_data(), type.narrowing};
  const ProductValues factors = {type.kind, static_cast<Semiring>(semiring), left.data(type), right.data(type)};
  {
    py::gil_scoped_release release;
    product.fill(factors, output);
  }
  return py::make_tuple(crow, col, values);
}

py::tuple pattern_on(const std::string& isa, const py::array& a_crow, const py::array& a_col, const py::array& b_crow,
                     const py::array& b_col, int64_t columns, const py::object& exclude_crow,
                     const py::object& exclude_col) {
  const Operands operands({a_crow, a_col, "a"}, {b_crow, b_col, "b"}, columns, exclude_crow, exclude_col);
  py::array_t<int64_t> crow(operands.a.crow.shape(0));
  int64_t* pointers = crow.mutable_data();
  Product product = counted(isa, operands, pointers);
  py::array col = columns_of(operands.a.wide, product.entries());
  const ProductOutput output = {col.mutable_data(), operands.a.wide, nullptr, Narrowing::none};
  {
    py::gil_scoped_release release;
    product.fill({ValueKind::none, Semiring::plus_times, nullptr, nullptr}, output);
  }
  return py::make_tuple(crow, col);
}

}  // namespace

void bind_spgemm_product(py::module_& module) {
  py::module_ kernels = module.attr("kernels");
  kernels.def("spgemm_product", product_on, py::arg("isa"), py::arg("a_crow"), py::arg("a_col"), py::arg("a_values"),
              py::arg("b_crow"), py::arg("b_col"), py::arg("b_values"), py::arg("columns"), py::arg("semiring") = 0,
              py::arg("exclude_crow") = py::none(), py::arg("exclude_col") = py::none());
  kernels.def("spgemm_pattern", pattern_on, py::arg("isa"), py::arg("a_crow"), py::arg("a_col"), py::arg("b_crow"),
              py::arg("b_col"), py::arg("columns"), py::arg("exclude_crow") = py::none(),
              py::arg("exclude_col") = py::none());
}
