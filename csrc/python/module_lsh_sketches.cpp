// SPDX-License-Identifier: Apache-2.0
// _C.kernels: sketches of the room lsh on NumPy arrays with the kernels of one instruction set, past torch.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "lsh/sketches/sketches.h"
#include "python/bindings.h"

namespace py = pybind11;

namespace {

using namespace warphash::lsh;
template <class T>
using Array = py::array_t<T, py::array::c_style>;

Sets sets_of(const py::array& tokens, const Array<int64_t>& offsets) {
  const char kind = tokens.dtype().char_();
  if (tokens.ndim() != 1 || (tokens.flags() & py::array::c_style) == 0 || (kind != 'i' && kind != 'l'))
    throw py::value_error("tokens must be contiguous int32 or int64 [T]");
  if (offsets.ndim() != 1 || offsets.size() < 1) throw py::value_error("offsets must be int64 [N + 1]");
  return {tokens.data(), kind == 'l', tokens.shape(0), offsets.data(), offsets.shape(0) - 1};
}

Signatures signatures_of(const Array<int32_t>& signatures) {
  if (signatures.ndim() != 2) throw py::value_error("signatures must be int32 [N, width]");
  return {reinterpret_cast<const uint32_t*>(signatures.data()), signatures.shape(0), signatures.shape(1)};
}

uint32_t* words(Array<int32_t>& x) { return reinterpret_cast<uint32_t*>(x.mutable_data()); }

Array<int32_t> minhash_on(const std::string& isa, const py::array& tokens, const Array<int64_t>& offsets,
                          const Array<int64_t>& a, const Array<int64_t>& b, int scheme) {
  const Sets sets = sets_of(tokens, offsets);
  if (a.ndim() != 1 || b.ndim() != 1 || a.size() != b.size()) throw py::value_error("a and b must be int64 [P]");
  if (scheme < 0 || scheme >= scheme_count) throw py::value_error("scheme must be the number of one");
  const Permutations permutations = {reinterpret_cast<const uint64_t*>(a.data()),
                                     reinterpret_cast<const uint64_t*>(b.data()), a.shape(0),
                                     static_cast<Scheme>(scheme)};
  check_parameters(permutations);
  Array<int32_t> signatures({sets.sets, permutations.count});
  uint32_t* to = words(signatures);
  const warphash::Isa level = isa_named(isa);
  py::gil_scoped_release release;
  minhash(level, sets, permutations, to);
  return signatures;
}

Array<int32_t> one_permutation_on(const std::string& isa, const py::array& tokens, const Array<int64_t>& offsets,
                                  int64_t num_bins, uint32_t a, uint32_t b) {
  const Sets sets = sets_of(tokens, offsets);
  if (num_bins < 1 || num_bins >= int64_t{1} << 31) throw py::value_error("num_bins must be in [1, 2^31)");
  Array<int32_t> signatures({sets.sets, num_bins});
  uint32_t* to = words(signatures);
  const warphash::Isa level = isa_named(isa);
  py::gil_scoped_release release;
  one_permutation(level, sets, num_bins, a, b, to);
  return signatures;
}

Array<int32_t> densify_on(const std::string& isa, const Array<int32_t>& signatures, uint64_t seed) {
  const Signatures rows = signatures_of(signatures);
  Array<int32_t> filled({rows.rows, rows.width});
  uint32_t* to = words(filled);
  const warphash::Isa level = isa_named(isa);
  py::gil_scoped_release release;
  densify(level, rows, seed, to);
  return filled;
}

Array<int64_t> band_keys_on(const std::string& isa, const Array<int32_t>& signatures, int64_t bands) {
  const Signatures rows = signatures_of(signatures);
  if (bands < 1 || rows.width == 0 || rows.width % bands != 0) throw py::value_error("bands must divide the width");
  Array<int64_t> keys({rows.rows, bands});
  int64_t* to = keys.mutable_data();
  const warphash::Isa level = isa_named(isa);
  py::gil_scoped_release release;
  band_keys(level, rows, bands, to);
  return keys;
}

Array<uint8_t> bbit_pack_on(const std::string& isa, const Array<int32_t>& signatures, int bits) {
  const Signatures rows = signatures_of(signatures);
  if (bits < 1 || bits > 16 || (bits & (bits - 1)) != 0) throw py::value_error("bits must be 1, 2, 4, 8 or 16");
  Array<uint8_t> codes({rows.rows, (rows.width * bits + 7) / 8});
  uint8_t* to = codes.mutable_data();
  const warphash::Isa level = isa_named(isa);
  py::gil_scoped_release release;
  bbit_pack(level, rows, bits, to);
  return codes;
}

}  // namespace

void bind_lsh_sketches(py::module_& module) {
  py::module_ kernels = module.attr("kernels");
  kernels.def("lsh_minhash", minhash_on, py::arg("isa"), py::arg("tokens"), py::arg("offsets"), py::arg("a"),
              py::arg("b"), py::arg("scheme"));
  kernels.def("lsh_one_permutation", one_permutation_on, py::arg("isa"), py::arg("tokens"), py::arg("offsets"),
              py::arg("num_bins"), py::arg("a"), py::arg("b"));
  kernels.def("lsh_densify", densify_on, py::arg("isa"), py::arg("signatures"), py::arg("seed"));
  kernels.def("lsh_band_keys", band_keys_on, py::arg("isa"), py::arg("signatures"), py::arg("bands"));
  kernels.def("lsh_bbit_pack", bbit_pack_on, py::arg("isa"), py::arg("signatures"), py::arg("bits"));
}
