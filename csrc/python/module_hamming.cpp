// SPDX-License-Identifier: Apache-2.0
// _C.kernels: Hamming search on NumPy arrays with the kernels of one instruction set, past torch: for tests and benches.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <limits>
#include <string>
#include <tuple>

#include "common/isa.h"
#include "hamming/hamming_search.h"
#include "python/bindings.h"

namespace py = pybind11;

namespace {

using namespace warphash::hamming;
using Codes = py::array_t<uint8_t, py::array::c_style>;
using Weights = py::array_t<float, py::array::c_style>;

Choice kernels_named(const std::string& name) {
  const warphash::Isa isa = isa_named(name);
  require_tiles(isa);
  return kernels_for(isa);
}

Problem problem_of(const Codes& queries, const Codes& database) {
  if (queries.ndim() != 2 || database.ndim() != 2 || queries.shape(1) != database.shape(1) || database.shape(1) == 0)
    throw py::value_error("queries and database must be uint8 [*, bytes] of one width, at least one byte");
  return {queries.data(), nullptr, queries.shape(0), database.data(), database.shape(0), database.shape(1)};
}

struct Rows {
  uint32_t* keys;
  int64_t* indices;
  int64_t k;
  static void take(void* context, int64_t query, const Hit* hits, int64_t count) {
    const Rows& self = *static_cast<Rows*>(context);
    for (int64_t i = 0; i < self.k; ++i) {
      self.keys[query * self.k + i] = i < count ? hits[i].key : std::numeric_limits<uint32_t>::max();
      self.indices[query * self.k + i] = i < count ? hits[i].index : -1;
    }
  }
};

py::tuple search(const std::string& isa, Metric metric, const Problem& problem, int64_t k) {
  if (k < 0) throw py::value_error("k must not be negative");
  py::array_t<uint32_t> keys({problem.query_count, k});
  py::array_t<int64_t> indices({problem.query_count, k});
  Rows rows{keys.mutable_data(), indices.mutable_data(), k};
  const Choice choice = kernels_named(isa);
  {
    py::gil_scoped_release release;
    topk(choice, metric, problem, k, Rows::take, &rows);
  }
  return py::make_tuple(keys, indices);
}

}  // namespace

void bind_hamming(py::module_& module) {
  py::module_ kernels = module.def_submodule("kernels", "Kernels of one instruction set, on NumPy arrays.");
  kernels.def(
      "hamming_topk",
      [](const std::string& isa, const Codes& queries, const Codes& database, int64_t k) {
        return search(isa, Metric::distance, problem_of(queries, database), k);
      },
      py::arg("isa"), py::arg("queries"), py::arg("database"), py::arg("k"));
  kernels.def(
      "hamming_jaccard_topk",
      [](const std::string& isa, const Codes& queries, const Codes& database, int64_t k) {
        return search(isa, Metric::jaccard, problem_of(queries, database), k);
      },
      py::arg("isa"), py::arg("queries"), py::arg("database"), py::arg("k"));
  kernels.def(
      "hamming_asymmetric_topk",
      [](const std::string& isa, const Weights& queries, const Codes& database, int64_t k) {
        if (queries.ndim() != 2 || database.ndim() != 2 || database.shape(1) == 0 ||
            queries.shape(1) != 8 * database.shape(1))
          throw py::value_error("queries must be float32 [Q, 8 * bytes], database uint8 [N, bytes]");
        return search(
            isa, Metric::score,
            {nullptr, queries.data(), queries.shape(0), database.data(), database.shape(0), database.shape(1)}, k);
      },
      py::arg("isa"), py::arg("queries"), py::arg("database"), py::arg("k"));
  kernels.def(
      "hamming_cdist",
      [](const std::string& isa, const Codes& a, const Codes& b) {
        Problem problem = problem_of(a, b);
        py::array_t<int32_t> out({problem.query_count, problem.database_count});
        int32_t* to = out.mutable_data();
        const Choice choice = kernels_named(isa);
        py::gil_scoped_release release;
        cdist(choice, problem, to);
        return out;
      },
      py::arg("isa"), py::arg("a"), py::arg("b"));
}
