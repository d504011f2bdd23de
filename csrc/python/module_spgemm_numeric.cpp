// SPDX-License-Identifier: Apache-2.0
// _C.kernels: inspection, masked products, values, gradients and winners on a known pattern, on NumPy arrays with the
// kernels of one instruction set, past torch.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "python/bindings.h"
#include "python/spgemm_arrays.h"
#include "spgemm/inspect/inspect.h"
#include "spgemm/masked/masked.h"
#include "spgemm/numeric/numeric.h"

namespace py = pybind11;

namespace {

using namespace warphash::spgemm;

Pattern fitting(const Array<int64_t>& crow, const Array<int32_t>& col, int64_t columns, const Pattern& a) {
  const Pattern pattern = pattern_of(crow, col, columns, "the pattern");
  if (pattern.rows != a.rows) throw py::value_error("the pattern must have as many rows as a");
  return pattern;
}

template <class Index>
Inspection inspected(warphash::Isa isa, const Array<Index>& crow, const Array<Index>& col, int64_t columns) {
  if (crow.ndim() != 1 || crow.size() < 1 || col.ndim() != 1)
    throw py::value_error("row pointers must be [rows + 1], columns [entries]");
  const Index *const pointers = crow.data(), *const entries = col.data();
  const int64_t rows = crow.size() - 1, count = col.size();
  const py::gil_scoped_release release;
  return inspect(isa, pointers, entries, rows, columns, count);
}

// int32 where both arrays are, else int64.
std::tuple<int64_t, int64_t, int64_t> inspect_on(const std::string& isa, const py::array& crow, const py::array& col,
                                                 int64_t columns) {
  const bool narrow = crow.dtype().char_() == 'i' && col.dtype().char_() == 'i';
  const warphash::Isa level = isa_named(isa);
  const Inspection found =
      narrow ? inspected<int32_t>(level, crow, col, columns) : inspected<int64_t>(level, crow, col, columns);
  return {found.broken_pointer, found.outside, found.disordered};
}

py::array numeric_on(const std::string& isa, const Array<int64_t>& a_crow, const Array<int32_t>& a_col,
                     const py::array& a_values, const Array<int64_t>& b_crow, const Array<int32_t>& b_col,
                     const py::array& b_values, const Array<int64_t>& crow, const Array<int32_t>& col, int64_t columns,
                     int semiring, bool covers) {
  const warphash::Isa level = isa_named(isa);
  const Operands of(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  const Pattern pattern = fitting(crow, col, columns, of.a);
  py::array values(a_values.dtype(), std::vector<int64_t>{pattern.entries});
  const NumericJob job = {of.a,
                          of.b,
                          pattern,
                          of.a_values.data(),
                          of.b_values.data(),
                          of.type,
                          semiring_of(semiring),
                          covers,
                          values.mutable_data()};
  const py::gil_scoped_release release;
  numeric(level, job);
  return values;
}

std::pair<py::array, py::array> gradients_on(const std::string& isa, const py::array& gradient,
                                             const Array<int64_t>& a_crow, const Array<int32_t>& a_col,
                                             const py::array& a_values, const Array<int64_t>& b_crow,
                                             const Array<int32_t>& b_col, const py::array& b_values,
                                             const Array<int64_t>& crow, const Array<int32_t>& col, int64_t columns,
                                             bool of_a, bool of_b) {
  const warphash::Isa level = isa_named(isa);
  const Operands of(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  const Pattern pattern = fitting(crow, col, columns, of.a);
  const Values given(gradient, of.type, pattern.entries, "gradient");
  py::array a_gradient(a_values.dtype(), std::vector<int64_t>{of_a ? of.a.entries : 0});
  py::array b_gradient(a_values.dtype(), std::vector<int64_t>{of_b ? of.b.entries : 0});
  const GradientJob job = {of.a,
                           of.b,
                           pattern,
                           given.data(),
                           of.a_values.data(),
                           of.b_values.data(),
                           of.type,
                           of_a ? a_gradient.mutable_data() : nullptr,
                           of_b ? b_gradient.mutable_data() : nullptr};
  const py::gil_scoped_release release;
  gradients(level, job);
  return {a_gradient, b_gradient};
}

std::pair<Array<int64_t>, Array<int64_t>> winners_on(const std::string& isa, const Array<int64_t>& a_crow,
                                                     const Array<int32_t>& a_col, const py::array& a_values,
                                                     const Array<int64_t>& b_crow, const Array<int32_t>& b_col,
                                                     const py::array& b_values, const Array<int64_t>& crow,
                                                     const Array<int32_t>& col, int64_t columns, int semiring) {
  const warphash::Isa level = isa_named(isa);
  const Operands of(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  const Pattern pattern = fitting(crow, col, columns, of.a);
  Array<int64_t> from_a(pattern.entries), from_b(pattern.entries);
  const WinnerJob job = {of.a,
                         of.b,
                         pattern,
                         of.a_values.data(),
                         of.b_values.data(),
                         of.type,
                         semiring_of(semiring),
                         from_a.mutable_data(),
                         from_b.mutable_data()};
  const py::gil_scoped_release release;
  winners(level, job);
  return {from_a, from_b};
}

// like: an array of the values' dtype, or null for the pattern alone.
std::tuple<Array<int64_t>, Array<int64_t>, py::object> masked_product(warphash::Isa isa, const MaskedJob& job,
                                                                      const py::array* like) {
  const std::unique_ptr<const Masked> product = [&] {
    const py::gil_scoped_release release;
    return std::make_unique<const Masked>(isa, job);
  }();
  Array<int64_t> crow(job.mask.rows + 1), col(product->entries());
  py::object values = py::none();
  void* to = nullptr;
  if (like != nullptr) {
    py::array own(like->dtype(), std::vector<int64_t>{product->entries()});
    to = own.mutable_data(), values = own;
  }
  int64_t *const pointers = crow.mutable_data(), *const columns = col.mutable_data();
  {
    const py::gil_scoped_release release;
    product->write(pointers, columns, to);
  }
  return {crow, col, values};
}

std::tuple<Array<int64_t>, Array<int64_t>, py::object> masked_on(
    const std::string& isa, const Array<int64_t>& a_crow, const Array<int32_t>& a_col, const py::array& a_values,
    const Array<int64_t>& b_crow, const Array<int32_t>& b_col, const py::array& b_values, int64_t columns, int semiring,
    const Array<int64_t>& mask_crow, const Array<int32_t>& mask_col) {
  const Operands of(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  const Pattern mask = fitting(mask_crow, mask_col, columns, of.a);
  return masked_product(isa_named(isa),
                        {of.a, of.b, mask, of.a_values.data(), of.b_values.data(), of.type, semiring_of(semiring)},
                        &a_values);
}

std::pair<Array<int64_t>, Array<int64_t>> masked_pattern_on(const std::string& isa, const Array<int64_t>& a_crow,
                                                            const Array<int32_t>& a_col, const Array<int64_t>& b_crow,
                                                            const Array<int32_t>& b_col, int64_t columns,
                                                            const Array<int64_t>& mask_crow,
                                                            const Array<int32_t>& mask_col) {
  const Pattern a = pattern_of(a_crow, a_col, b_crow.size() - 1, "a"), b = pattern_of(b_crow, b_col, columns, "b");
  const Pattern mask = fitting(mask_crow, mask_col, columns, a);
  const auto out =
      masked_product(isa_named(isa), {a, b, mask, nullptr, nullptr, ValueType::boolean, Semiring::or_and}, nullptr);
  return {std::get<0>(out), std::get<1>(out)};
}

}  // namespace

void bind_spgemm_numeric(py::module_& module) {
  py::module_ kernels = module.attr("kernels");
  const auto isa = py::arg("isa"), a_crow = py::arg("a_crow"), a_col = py::arg("a_col"), b_crow = py::arg("b_crow"),
             b_col = py::arg("b_col"), crow = py::arg("crow"), col = py::arg("col"), columns = py::arg("columns"),
             semiring = py::arg("semiring"), a_values = py::arg("a_values"), b_values = py::arg("b_values"),
             mask_crow = py::arg("mask_crow"), mask_col = py::arg("mask_col");
  kernels.def("spgemm_inspect", inspect_on, isa, crow, col, columns);
  kernels.def("spgemm_numeric", numeric_on, isa, a_crow, a_col, a_values, b_crow, b_col, b_values, crow, col, columns,
              semiring, py::arg("covers"));
  kernels.def("spgemm_gradients", gradients_on, isa, py::arg("gradient"), a_crow, a_col, a_values, b_crow, b_col,
              b_values, crow, col, columns, py::arg("of_a"), py::arg("of_b"));
  kernels.def("spgemm_winners", winners_on, isa, a_crow, a_col, a_values, b_crow, b_col, b_values, crow, col, columns,
              semiring);
  kernels.def("spgemm_masked", masked_on, isa, a_crow, a_col, a_values, b_crow, b_col, b_values, columns, semiring,
              mask_crow, mask_col);
  kernels.def("spgemm_masked_pattern", masked_pattern_on, isa, a_crow, a_col, b_crow, b_col, columns, mask_crow,
              mask_col);
}
