// SPDX-License-Identifier: Apache-2.0
// _C.kernels: the largest entries of a product's rows on NumPy arrays with the kernels of one instruction set, past torch.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <utility>
#include <vector>

#include "common/half.h"
#include "python/bindings.h"
#include "spgemm/topk/topk.h"

namespace py = pybind11;

namespace {

using namespace warphash::spgemm;
template <class T>
using Array = py::array_t<T, py::array::c_style>;

template <class Value>
Csr<Value> csr_of(const Array<int64_t>& crow, const Array<int32_t>& col, const Value* values, int64_t count,
                  int64_t columns, const char* name) {
  if (crow.ndim() != 1 || crow.size() < 1 || col.ndim() != 1 || count != col.size())
    throw py::value_error(std::string(name) + " must have row pointers int64 [rows + 1] and a value for each column");
  return {{crow.data(), col.data(), crow.size() - 1, columns, col.size()}, values};
}

std::vector<float> widened(const py::array& halves, bool bfloat16) {
  const auto* from = static_cast<const uint16_t*>(halves.data());
  std::vector<float> wide(static_cast<size_t>(halves.size()));
  for (size_t i = 0; i < wide.size(); ++i)
    wide[i] = bfloat16 ? warphash::float_of_bfloat16(from[i]) : warphash::float_of_float16(from[i]);
  return wide;
}

// NumPy has no bfloat16: its bits come as uint16.
std::pair<py::array, Array<int64_t>> topk_on(const std::string& isa, const Array<int64_t>& a_crow,
                                             const Array<int32_t>& a_col, const py::array& a_values,
                                             const Array<int64_t>& b_crow, const Array<int32_t>& b_col,
                                             const py::array& b_values, int64_t columns, int64_t k) {
  const warphash::Isa level = isa_named(isa);
  const char kind = a_values.dtype().char_();
  if (kind != b_values.dtype().char_() || std::string("fdeH").find(kind) == std::string::npos ||
      (a_values.flags() & b_values.flags() & py::array::c_style) == 0)
    throw py::value_error("values must be contiguous float32, float64, float16, or uint16 for bfloat16, of one dtype");
  if (k < 0 || columns < 0 || columns > INT32_MAX) throw py::value_error("columns and k must not be negative");
  const int64_t rows = a_crow.size() - 1, inner = b_crow.size() - 1;
  py::array values(a_values.dtype(), std::vector<int64_t>{rows, k});
  Array<int64_t> indices(std::vector<int64_t>{rows, k});
  void* out = values.mutable_data();
  int64_t* where = indices.mutable_data();
  const auto run = [&](const auto* of_a, const auto* of_b, auto... rounding) {
    const auto a = csr_of(a_crow, a_col, of_a, a_values.size(), inner, "a");
    const auto b = csr_of(b_crow, b_col, of_b, b_values.size(), columns, "b");
    const py::gil_scoped_release release;
    topk(level, a, b, k, rounding..., out, where);
  };
  if (kind == 'd') {
    run(static_cast<const double*>(a_values.data()), static_cast<const double*>(b_values.data()));
  } else if (kind == 'f') {
    run(static_cast<const float*>(a_values.data()), static_cast<const float*>(b_values.data()), Rounding::none);
  } else {
    const std::vector<float> a = widened(a_values, kind == 'H'), b = widened(b_values, kind == 'H');
    run(a.data(), b.data(), kind == 'H' ? Rounding::bfloat16 : Rounding::float16);
  }
  return {values, indices};
}

}  // namespace

void bind_spgemm_topk(py::module_& module) {
  py::module_ kernels = module.attr("kernels");
  kernels.def("spgemm_topk", topk_on, py::arg("isa"), py::arg("a_crow"), py::arg("a_col"), py::arg("a_values"),
              py::arg("b_crow"), py::arg("b_col"), py::arg("b_values"), py::arg("columns"), py::arg("k"));
}
