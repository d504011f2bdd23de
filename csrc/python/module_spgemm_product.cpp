// SPDX-License-Identifier: Apache-2.0
// _C.kernels: products of sparse matrices on NumPy arrays with the kernels of one instruction set, past torch.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "python/bindings.h"
#include "python/spgemm_arrays.h"
#include "spgemm/product/product.h"

namespace py = pybind11;

namespace {

using namespace warphash::spgemm;
// As they are or converted.
template <class T>
using Indexes = py::array_t<T, py::array::c_style | py::array::forcecast>;

struct Indices {
  Indexes<int64_t> crow;
  Indexes<int32_t> col;
  bool wide;

  Indices(const py::array& given_crow, const py::array& given_col, const char* name)
      : crow(given_crow), col(given_col), wide(given_col.dtype().char_() != 'i') {
    if (given_crow.ndim() != 1 || given_crow.size() < 1 || given_col.ndim() != 1)
      throw py::value_error(std::string(name) + " must have row pointers [rows + 1] and columns [entries]");
  }
  Pattern pattern(int64_t columns) const { return {crow.data(), col.data(), crow.shape(0) - 1, columns, col.shape(0)}; }
};

// Operands that hold their arrays while a product is counted and written.
struct HeldOperands {
  Indices a, b;
  std::optional<Indices> exclude;
  ProductOperands patterns;

  HeldOperands(Indices given_a, Indices given_b, int64_t columns, const py::object& crow, const py::object& col)
      : a(std::move(given_a)), b(std::move(given_b)) {
    if (columns < 0 || columns > std::numeric_limits<int32_t>::max())
      throw py::value_error("columns must be in [0, 2^31)");
    if (!crow.is_none() && !col.is_none()) exclude.emplace(py::array(crow), py::array(col), "exclude");
    patterns = {
        a.pattern(b.crow.shape(0) - 1), b.pattern(columns), exclude ? exclude->pattern(columns) : Pattern{}, {}};
  }
};

struct ProductArrays {
  py::array_t<int64_t> crow;
  py::array col, values;
};

// factors.a: null for the pattern alone.
ProductArrays product_of(const std::string& isa, const HeldOperands& operands, const ProductValues& factors,
                         const py::dtype& dtype, bool at_once) {
  const warphash::Isa level = isa_named(isa);
  const bool wide = operands.a.wide;
  ProductArrays arrays{py::array_t<int64_t>(operands.a.crow.shape(0)), {}, {}};
  int64_t* crow = arrays.crow.mutable_data();
  const std::unique_ptr<Product> product = [&] {
    py::gil_scoped_release release;
    auto checked = std::make_unique<Product>(level, operands.patterns, crow);
    if (!at_once) checked->count();
    return checked;
  }();
  const int64_t room = at_once ? product->most_entries() + Product::beyond : product->entries();
  arrays.col = wide ? py::array(py::array_t<int64_t>(room)) : py::array(py::array_t<int32_t>(room));
  arrays.values = py::array(dtype, std::vector<py::ssize_t>{factors.a == nullptr ? 0 : room});
  const ProductOutput output = {arrays.col.mutable_data(), wide, arrays.values.mutable_data(), factors.type};
  {
    py::gil_scoped_release release;
    at_once ? product->make(factors, output) : product->fill(factors, output);
  }
  const py::slice entries(0, product->entries(), 1);
  arrays.col = arrays.col[entries], arrays.values = arrays.values[entries];
  return arrays;
}

py::tuple product_on(const std::string& isa, const py::array& a_crow, const py::array& a_col, const py::array& a_values,
                     const py::array& b_crow, const py::array& b_col, const py::array& b_values, int64_t columns,
                     int semiring, const py::object& exclude_crow, const py::object& exclude_col, bool at_once) {
  const HeldOperands operands({a_crow, a_col, "a"}, {b_crow, b_col, "b"}, columns, exclude_crow, exclude_col);
  const ValueType type = type_of(a_values);
  if ((type == ValueType::boolean) != (semiring == 1))
    throw py::value_error("semiring must be 0, 2 or 3, and 1 for bool");
  const Values left(a_values, type, operands.a.col.shape(0), "a's values");
  const Values right(b_values, type, operands.b.col.shape(0), "b's values");
  const ProductValues factors = {left.data(), right.data(), type, semiring_of(semiring)};
  const ProductArrays product = product_of(isa, operands, factors, a_values.dtype(), at_once);
  return py::make_tuple(product.crow, product.col, product.values);
}

py::tuple pattern_on(const std::string& isa, const py::array& a_crow, const py::array& a_col, const py::array& b_crow,
                     const py::array& b_col, int64_t columns, const py::object& exclude_crow,
                     const py::object& exclude_col, bool at_once) {
  const HeldOperands operands({a_crow, a_col, "a"}, {b_crow, b_col, "b"}, columns, exclude_crow, exclude_col);
  const ProductArrays product = product_of(isa, operands, {}, py::dtype::of<uint8_t>(), at_once);
  return py::make_tuple(product.crow, product.col);
}

}  // namespace

void bind_spgemm_product(py::module_& module) {
  py::module_ kernels = module.attr("kernels");
  kernels.def("spgemm_product", product_on, py::arg("isa"), py::arg("a_crow"), py::arg("a_col"), py::arg("a_values"),
              py::arg("b_crow"), py::arg("b_col"), py::arg("b_values"), py::arg("columns"), py::arg("semiring") = 0,
              py::arg("exclude_crow") = py::none(), py::arg("exclude_col") = py::none(), py::arg("at_once") = false);
  kernels.def("spgemm_pattern", pattern_on, py::arg("isa"), py::arg("a_crow"), py::arg("a_col"), py::arg("b_crow"),
              py::arg("b_col"), py::arg("columns"), py::arg("exclude_crow") = py::none(),
              py::arg("exclude_col") = py::none(), py::arg("at_once") = false);
}
