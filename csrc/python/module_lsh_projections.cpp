// SPDX-License-Identifier: Apache-2.0
// _C.kernels: projections of the room lsh on NumPy arrays with the kernels of one instruction set, past torch.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "lsh/projections/projections.h"
#include "python/bindings.h"

namespace py = pybind11;

namespace {

using namespace warphash::lsh;
using Signs = py::array_t<uint8_t, py::array::c_style>;

// An array whose rows lie one after the other.
py::array checked(const py::array& array, int rank, const char* name) {
  if (array.ndim() != rank || (array.flags() & py::array::c_style) == 0)
    throw py::value_error(std::string(name) + " must be contiguous and " + std::to_string(rank) + "-D");
  return array;
}

Vectors vectors_of(const py::array& x) {
  checked(x, 2, "x");
  const char kind = x.dtype().char_();
  if (kind != 'e' && kind != 'f' && kind != 'd') throw py::value_error("x must be float16, float32 or float64");
  const VectorType type = kind == 'e' ? VectorType::f16 : kind == 'f' ? VectorType::f32 : VectorType::f64;
  return {type, x.data(), x.shape(0), x.shape(1)};
}

Weights weights_of(const py::array& values, const Vectors& x, const char* name) {
  const char kind = values.dtype().char_();
  if (kind != 'f' && (kind != 'd' || x.type != VectorType::f64))
    throw py::value_error(std::string(name) + " must be float32, or float64 beside a float64 x");
  return {values.data(), kind == 'd'};
}

Weights planes_of(const py::array& planes, const Vectors& x, const char* name) {
  if (checked(planes, 2, name).shape(0) != x.dim)
    throw py::value_error(std::string(name) + " must have a row for each dimension of x");
  return weights_of(planes, x, name);
}

int64_t rotations_of(const Signs& signs, const Vectors& x) {
  if (signs.ndim() != 3 || signs.shape(1) != 3 || 8 * signs.shape(2) != rotation_size(x.dim))
    throw py::value_error("signs must be uint8 [rotations, 3, size / 8]");
  return signs.shape(0);
}

py::array_t<uint8_t> simhash_on(const std::string& isa, const py::array& x, const py::array& planes, bool fast) {
  const Vectors vectors = vectors_of(x);
  const Weights columns = planes_of(planes, vectors, "planes");
  const int64_t bits = planes.shape(1);
  py::array_t<uint8_t> codes({vectors.rows, (bits + 7) / 8});
  uint8_t* to = codes.mutable_data();
  const warphash::Isa level = isa_named(isa);
  if (fast) require_tiles(level);
  py::gil_scoped_release release;
  simhash(level, vectors, columns, bits, fast, to);
  return codes;
}

py::array_t<int32_t> simhash_codes_on(const std::string& isa, const py::array& x, const py::array& planes, int bits,
                                      bool gray) {
  const Vectors vectors = vectors_of(x);
  const Weights columns = planes_of(planes, vectors, "planes");
  if (bits < 1 || bits > 30 || planes.shape(1) % bits != 0)
    throw py::value_error("bits must be 1 to 30 and divide the columns of planes");
  py::array_t<int32_t> codes({vectors.rows, static_cast<int64_t>(planes.shape(1) / bits)});
  int32_t* to = codes.mutable_data();
  const int64_t hashes = codes.shape(1);
  const warphash::Isa level = isa_named(isa);
  py::gil_scoped_release release;
  simhash_codes(level, vectors, columns, hashes, bits, gray, to);
  return codes;
}

py::array_t<uint8_t> hd3_on(const std::string& isa, const py::array& x, const Signs& signs, int64_t bits) {
  const Vectors vectors = vectors_of(x);
  const int64_t rotations = rotations_of(signs, vectors);
  if (bits < 0 || bits > rotations * rotation_size(vectors.dim))
    throw py::value_error("bits must be at most what the rotations give");
  py::array_t<uint8_t> codes({vectors.rows, (bits + 7) / 8});
  uint8_t* to = codes.mutable_data();
  const warphash::Isa level = isa_named(isa);
  py::gil_scoped_release release;
  hd3(level, vectors, signs.data(), rotations, bits, to);
  return codes;
}

py::array_t<int32_t> cross_polytope_on(const std::string& isa, const py::array& x, const Signs& signs) {
  const Vectors vectors = vectors_of(x);
  const int64_t tables = rotations_of(signs, vectors);
  py::array_t<int32_t> codes({vectors.rows, tables});
  int32_t* to = codes.mutable_data();
  const warphash::Isa level = isa_named(isa);
  py::gil_scoped_release release;
  cross_polytope(level, vectors, signs.data(), tables, to);
  return codes;
}

py::array_t<int32_t> pstable_on(const std::string& isa, const py::array& x, const py::array& directions,
                                const py::array& offsets, double width) {
  const Vectors vectors = vectors_of(x);
  const Weights columns = planes_of(directions, vectors, "directions");
  const int64_t hashes = directions.shape(1);
  if (checked(offsets, 1, "offsets").shape(0) != hashes) throw py::value_error("offsets must be one a direction");
  const Weights shifts = weights_of(offsets, vectors, "offsets");
  py::array_t<int32_t> codes({vectors.rows, hashes});
  int32_t* to = codes.mutable_data();
  const warphash::Isa level = isa_named(isa);
  py::gil_scoped_release release;
  pstable(level, vectors, columns, shifts, hashes, width, to);
  return codes;
}

}  // namespace

void bind_lsh_projections(py::module_& module) {
  py::module_ kernels = module.attr("kernels");
  kernels.def("lsh_simhash", simhash_on, py::arg("isa"), py::arg("x"), py::arg("planes"), py::arg("fast") = false);
  kernels.def("lsh_simhash_codes", simhash_codes_on, py::arg("isa"), py::arg("x"), py::arg("planes"), py::arg("bits"),
              py::arg("gray"));
  kernels.def("lsh_hd3", hd3_on, py::arg("isa"), py::arg("x"), py::arg("signs"), py::arg("bits"));
  kernels.def("lsh_cross_polytope", cross_polytope_on, py::arg("isa"), py::arg("x"), py::arg("signs"));
  kernels.def("lsh_pstable", pstable_on, py::arg("isa"), py::arg("x"), py::arg("directions"), py::arg("offsets"),
              py::arg("width"));
}
