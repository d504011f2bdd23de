// SPDX-License-Identifier: Apache-2.0
// The CUDA entries of the operators, registered once more: over emulated kernels, for CPU tensors, as
// warphash_emulated.
#include <torch/csrc/stable/library.h>

#undef STABLE_TORCH_LIBRARY_IMPL
#define STABLE_TORCH_LIBRARY_IMPL(library, key, m) _STABLE_TORCH_LIBRARY_IMPL(warphash_emulated, CPU, m, C10_UID)

#include "hashgrid/hashgrid_ops_cuda.cpp"

STABLE_TORCH_LIBRARY_FRAGMENT(warphash_emulated, m) {
  m.def("hashgrid_encode(Tensor x, Tensor table, Tensor? level_weights, str grid) -> Tensor");
  m.def(
      "hashgrid_backward(Tensor gradient, Tensor x, Tensor table, Tensor? level_weights, str grid, bool of_x, "
      "bool of_table, bool of_weights, bool deterministic) -> (Tensor, Tensor, Tensor)");
  m.def(
      "hashgrid_double_backward(Tensor v, Tensor gradient, Tensor x, Tensor table, Tensor? level_weights, str grid, "
      "bool of_gradient, bool of_x, bool of_table, bool of_weights, bool deterministic) "
      "-> (Tensor, Tensor, Tensor, Tensor)");
  m.def("hashgrid_variation(Tensor x, Tensor table, str grid) -> Tensor");
  m.def("hashgrid_variation_backward(Tensor gradient, Tensor x, Tensor table, str grid, bool deterministic) -> Tensor");
}
