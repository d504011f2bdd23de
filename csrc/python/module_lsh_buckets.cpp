// SPDX-License-Identifier: Apache-2.0
// _C.kernels: buckets of the room lsh on NumPy arrays with the kernels of one instruction set, past torch.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>
#include <vector>

#include "lsh/buckets/buckets.h"
#include "python/bindings.h"

namespace py = pybind11;

namespace {

using namespace warphash::lsh;

using Longs = py::array_t<int64_t, py::array::c_style>;

// NumPy has no bfloat16: its bits come as uint16.
ValueType type_of(const py::array& values) {
  switch (values.dtype().char_()) {
    case 'e': return ValueType::f16;
    case 'H': return ValueType::bf16;
    case 'f': return ValueType::f32;
    case 'd': return ValueType::f64;
    default: throw py::value_error("values must be float16, float32, float64, or uint16 for bfloat16");
  }
}

// values [B, N, d] or a table [B, H, K, d], codes [B, H, *].
Rows rows_of(const py::array& values, const py::array& codes, int64_t buckets) {
  const char kind = codes.dtype().char_();
  const bool contiguous = (values.flags() & codes.flags() & py::array::c_style) != 0;
  if (!contiguous || codes.ndim() != 3 || (kind != 'i' && kind != 'l') || codes.shape(0) != values.shape(0))
    throw py::value_error("values and codes must be contiguous, codes int32 or int64 [B, H, N]");
  return {type_of(values), codes.shape(0), codes.shape(1), buckets, values.shape(values.ndim() - 1),
          codes.shape(2),  codes.data(),   kind == 'l'};
}

template <class Run>
py::array result(const py::array& values, const std::vector<int64_t>& shape, const Run& run) {
  py::array sums(values.dtype(), shape);
  void* to = sums.mutable_data();
  if (sums.size() == 0) return sums;
  py::gil_scoped_release release;
  run(to);
  return sums;
}

py::array bucket_sum_on(const std::string& isa, const py::array& values, const py::array& codes, int64_t num_buckets) {
  if (values.ndim() != 3 || num_buckets < 0) throw py::value_error("values must be [B, N, d]");
  const Rows rows = rows_of(values, codes, num_buckets);
  if (rows.codes_per_table != values.shape(1)) throw py::value_error("codes must have the N of values");
  const warphash::Isa level = isa_named(isa);
  return result(values, {rows.batch, rows.tables, rows.buckets, rows.width},
                [&, from = values.data()](void* to) { bucket_sum(level, rows, from, to); });
}

py::array bucket_gather_sum_on(const std::string& isa, const py::array& table, const py::array& codes) {
  if (table.ndim() != 4) throw py::value_error("table must be [B, H, K, d]");
  const Rows rows = rows_of(table, codes, table.shape(2));
  if (rows.tables != table.shape(1)) throw py::value_error("codes must have the H of table");
  const warphash::Isa level = isa_named(isa);
  return result(table, {rows.batch, rows.codes_per_table, rows.width},
                [&, from = table.data()](void* to) { bucket_gather_sum(level, rows, from, to); });
}

// order [T, N], offsets [T, buckets + 1], codes [T, Q] of int64 -> numbers of candidates [Q], candidates.
py::tuple bucket_query_on(const std::string& isa, const Longs& order, const Longs& offsets, const Longs& codes) {
  if (order.ndim() != 2 || offsets.ndim() != 2 || codes.ndim() != 2 || offsets.shape(0) != order.shape(0) ||
      codes.shape(0) != order.shape(0) || offsets.shape(1) == 0)
    throw py::value_error("order, offsets and codes must be [T, N], [T, buckets + 1] and [T, Q]");
  const warphash::Isa level = isa_named(isa);
  const Table table = {order.data(), offsets.data(), order.shape(0), order.shape(1), offsets.shape(1) - 1};
  Longs counts(codes.shape(1));
  int64_t* to = counts.mutable_data();
  std::vector<std::vector<int64_t>> found;
  {
    py::gil_scoped_release release;
    found = bucket_query(level, table, codes.data(), codes.shape(1), to);
  }
  size_t total = 0;
  for (const std::vector<int64_t>& block : found) total += block.size();
  Longs candidates(static_cast<py::ssize_t>(total));
  int64_t* next = candidates.mutable_data();
  for (const std::vector<int64_t>& block : found) next = std::copy(block.begin(), block.end(), next);
  return py::make_tuple(counts, candidates);
}

}  // namespace

void bind_lsh_buckets(py::module_& module) {
  py::module_ kernels = module.attr("kernels");
  kernels.def("lsh_bucket_query", bucket_query_on, py::arg("isa"), py::arg("order"), py::arg("offsets"),
              py::arg("codes"));
  kernels.def("lsh_bucket_sum", bucket_sum_on, py::arg("isa"), py::arg("values"), py::arg("codes"),
              py::arg("num_buckets"));
  kernels.def("lsh_bucket_gather_sum", bucket_gather_sum_on, py::arg("isa"), py::arg("table"), py::arg("codes"));
}
