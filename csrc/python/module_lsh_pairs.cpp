// SPDX-License-Identifier: Apache-2.0
// _C.kernels: pairs of the room lsh on NumPy arrays with the kernels of one instruction set, past torch.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "lsh/pairs/pairs.h"
#include "python/bindings.h"

namespace py = pybind11;

namespace {

using namespace warphash::lsh;
template <class T>
using Array = py::array_t<T, py::array::c_style>;

Array<double> pair_jaccard_on(const std::string& isa, const Array<int64_t>& tokens, const Array<int64_t>& offsets,
                              const Array<int64_t>& pairs) {
  if (tokens.ndim() != 1) throw py::value_error("tokens must be int64 [T]");
  if (offsets.ndim() != 1 || offsets.size() < 1) throw py::value_error("offsets must be int64 [N + 1]");
  if (pairs.ndim() != 2 || pairs.shape(1) != 2) throw py::value_error("pairs must be int64 [P, 2]");
  const SortedSets sets = {tokens.data(), tokens.shape(0), offsets.data(), offsets.shape(0) - 1};
  Array<double> similarity(pairs.shape(0));
  const int64_t *from = pairs.data(), count = pairs.shape(0);
  double* to = similarity.mutable_data();
  const warphash::Isa level = isa_named(isa);
  py::gil_scoped_release release;
  pair_jaccard(level, sets, from, count, to);
  return similarity;
}

}  // namespace

void bind_lsh_pairs(py::module_& module) {
  py::module_ kernels = module.attr("kernels");
  kernels.def("lsh_pair_jaccard", pair_jaccard_on, py::arg("isa"), py::arg("tokens"), py::arg("offsets"),
              py::arg("pairs"));
}
