// SPDX-License-Identifier: Apache-2.0
// _C.kernels: the hash encoding on NumPy arrays with the kernels of one instruction set, past torch: for tests and benches.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "common/isa.h"
#include "hashgrid/hashgrid_passes.h"
#include "python/bindings.h"

namespace py = pybind11;

namespace {

using namespace warphash::hashgrid;
using Floats = py::array_t<float, py::array::c_style>;

const Kernels<float>& kernels_named(const std::string& name) {
  const warphash::Isa isa = isa_named(name);
  warphash::require(isa);
  return kernels_for(isa);
}

Input<float> input_of(const Floats& x, const Floats& table, const std::string& text) {
  const Grid& grid = grid_of(text);
  if (x.ndim() != 2 || x.shape(1) != grid.dims) throw py::value_error("x must be float32 [points, dims] of the grid");
  if (table.ndim() != 2 || table.shape(0) != grid.rows || table.shape(1) < 1)
    throw py::value_error("table must be float32 [rows, features] with the grid's rows");
  Input<float> input{};
  input.grid = &grid;
  input.features = static_cast<int>(table.shape(1));
  input.type = TableType::f32;
  input.table = table.data();
  input.x = x.data();
  input.points = x.shape(0);
  return input;
}

py::ssize_t components(const Input<float>& input) {
  return static_cast<py::ssize_t>(input.features) * input.grid->level_count();
}

Floats encoded(const std::string& isa, const Floats& x, const Floats& table, const std::string& grid) {
  const Kernels<float>& kernels = kernels_named(isa);
  const Input<float> input = input_of(x, table, grid);
  Floats out({static_cast<py::ssize_t>(input.points), components(input)});
  float* to = out.mutable_data();
  py::gil_scoped_release release;
  encode(kernels, input, to);
  return out;
}

py::tuple derivatives(const std::string& isa, const Floats& gradient, const Floats& x, const Floats& table,
                      const std::string& grid) {
  const Kernels<float>& kernels = kernels_named(isa);
  Input<float> input = input_of(x, table, grid);
  if (gradient.ndim() != 2 || gradient.shape(0) != x.shape(0) || gradient.shape(1) != components(input))
    throw py::value_error("gradient must be float32 [points, levels * features]");
  input.gradient = gradient.data();
  Floats to_x({x.shape(0), x.shape(1)}), to_table({table.shape(0), table.shape(1)});
  float *x_data = to_x.mutable_data(), *table_data = to_table.mutable_data();
  {
    py::gil_scoped_release release;
    differentiate<float>(kernels, input, x_data, table_data, nullptr);
  }
  return py::make_tuple(to_x, to_table);
}

}  // namespace

void bind_hashgrid(py::module_& module) {
  py::module_ kernels = module.attr("kernels");
  kernels.def("hashgrid_encode", &encoded, py::arg("isa"), py::arg("x"), py::arg("table"), py::arg("grid"));
  kernels.def("hashgrid_backward", &derivatives, py::arg("isa"), py::arg("gradient"), py::arg("x"), py::arg("table"),
              py::arg("grid"));
}
