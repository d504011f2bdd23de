// SPDX-License-Identifier: Apache-2.0
// The CUDA entries of the operators, registered once more: over emulated kernels, for CPU tensors, as
// warphash_emulated.
#include <torch/csrc/stable/library.h>

#undef STABLE_TORCH_LIBRARY_IMPL
#define STABLE_TORCH_LIBRARY_IMPL(library, key, m) _STABLE_TORCH_LIBRARY_IMPL(warphash_emulated, CPU, m, C10_UID)

#include "lsh/sketches/sketches_ops_cuda.cpp"

STABLE_TORCH_LIBRARY_FRAGMENT(warphash_emulated, m) {
  m.def("lsh_minhash(Tensor tokens, Tensor offsets, Tensor a, Tensor b, int scheme) -> Tensor");
  m.def("lsh_one_permutation(Tensor tokens, Tensor offsets, SymInt num_bins, int a, int b) -> Tensor");
  m.def("lsh_densify(Tensor signatures, int seed) -> Tensor");
  m.def("lsh_band_keys(Tensor signatures, SymInt bands) -> Tensor");
  m.def("lsh_bbit_pack(Tensor signatures, int bits) -> Tensor");
}
