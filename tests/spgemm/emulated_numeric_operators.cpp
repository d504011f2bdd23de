// SPDX-License-Identifier: Apache-2.0
// The CUDA entries of values on a known pattern, gradients and winners, registered once more: over emulated kernels, for CPU
// tensors, as warphash_emulated.
#include <torch/csrc/stable/library.h>

#undef STABLE_TORCH_LIBRARY_IMPL
#define STABLE_TORCH_LIBRARY_IMPL(library, key, m) _STABLE_TORCH_LIBRARY_IMPL(warphash_emulated, CPU, m, C10_UID)

#include "spgemm/narrowed_cuda.cpp"
#include "spgemm/numeric/numeric_ops_cuda.cpp"

STABLE_TORCH_LIBRARY_FRAGMENT(warphash_emulated, m) {
  m.def(
      "spgemm_numeric(Tensor a_crow, Tensor a_col, Tensor a_values, Tensor b_crow, Tensor b_col, Tensor b_values, "
      "Tensor crow, Tensor col, SymInt columns, int semiring, bool covers) -> Tensor");
  m.def(
      "spgemm_gradients(Tensor gradient, Tensor a_crow, Tensor a_col, Tensor a_values, Tensor b_crow, Tensor b_col, "
      "Tensor b_values, Tensor crow, Tensor col, SymInt columns, bool of_a, bool of_b) -> (Tensor, Tensor)");
  m.def(
      "spgemm_winners(Tensor a_crow, Tensor a_col, Tensor a_values, Tensor b_crow, Tensor b_col, Tensor b_values, "
      "Tensor crow, Tensor col, SymInt columns, int semiring) -> (Tensor, Tensor)");
}
