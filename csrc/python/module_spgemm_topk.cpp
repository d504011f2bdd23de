// SPDX-License-Identifier: Apache-2.0
// _C.kernels: the largest entries of a product's rows on NumPy arrays with the kernels of one instruction set, past torch.
#include <string>
#include <utility>
#include <vector>

#include "python/bindings.h"
#include "python/spgemm_arrays.h"
#include "spgemm/topk/topk.h"

namespace py = pybind11;

namespace {

using namespace warphash::spgemm;

std::pair<py::array, Array<int64_t>> topk_on(const std::string& isa, const Array<int64_t>& a_crow,
                                             const Array<int32_t>& a_col, const py::array& a_values,
                                             const Array<int64_t>& b_crow, const Array<int32_t>& b_col,
                                             const py::array& b_values, int64_t columns, int64_t k) {
  const warphash::Isa level = isa_named(isa);
  if (k < 0) throw py::value_error("k must not be negative");
  const Operands of(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  if (!is_float(of.type)) throw py::value_error("values must be float32, float64, float16, or uint16 for bfloat16");
  py::array values(a_values.dtype(), std::vector<int64_t>{of.a.rows, k});
  Array<int64_t> indices(std::vector<int64_t>{of.a.rows, k});
  void* out = values.mutable_data();
  int64_t* where = indices.mutable_data();
  {
    const py::gil_scoped_release release;
    if (of.type == ValueType::float64)
      topk(level, of.csr_a<double>(), of.csr_b<double>(), k, out, where);
    else
      topk(level, of.csr_a<float>(), of.csr_b<float>(), k, rounding_of(of.type), out, where);
  }
  return {values, indices};
}

}  // namespace

void bind_spgemm_topk(py::module_& module) {
  py::module_ kernels = module.attr("kernels");
  kernels.def("spgemm_topk", topk_on, py::arg("isa"), py::arg("a_crow"), py::arg("a_col"), py::arg("a_values"),
              py::arg("b_crow"), py::arg("b_col"), py::arg("b_values"), py::arg("columns"), py::arg("k"));
}
