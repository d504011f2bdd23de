// SPDX-License-Identifier: Apache-2.0
// The CUDA entries of the operators, registered once more: over emulated kernels, for CPU tensors, as
// warphash_emulated.
#include <torch/csrc/stable/library.h>

#undef STABLE_TORCH_LIBRARY_IMPL
#define STABLE_TORCH_LIBRARY_IMPL(library, key, m) _STABLE_TORCH_LIBRARY_IMPL(warphash_emulated, CPU, m, C10_UID)

#include "lsh/projections/projections_ops_cuda.cpp"

STABLE_TORCH_LIBRARY_FRAGMENT(warphash_emulated, m) {
  m.def("lsh_simhash(Tensor x, Tensor planes, bool fast) -> Tensor");
  m.def("lsh_simhash_codes(Tensor x, Tensor planes, int bits, bool gray) -> Tensor");
  m.def("lsh_hd3(Tensor x, Tensor signs, SymInt bits) -> Tensor");
  m.def("lsh_cross_polytope(Tensor x, Tensor signs) -> Tensor");
  m.def("lsh_pstable(Tensor x, Tensor directions, Tensor offsets, float width) -> Tensor");
}
