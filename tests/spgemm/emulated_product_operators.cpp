// SPDX-License-Identifier: Apache-2.0
// The CUDA entries of products, masked products and inspection, registered once more: over emulated kernels, for CPU
// tensors, as warphash_emulated.
#include <torch/csrc/stable/library.h>

#undef STABLE_TORCH_LIBRARY_IMPL
#define STABLE_TORCH_LIBRARY_IMPL(library, key, m) _STABLE_TORCH_LIBRARY_IMPL(warphash_emulated, CPU, m, C10_UID)

#include "spgemm/inspect/inspect_ops_cuda.cpp"
#include "spgemm/masked/masked_ops_cuda.cpp"
#include "spgemm/narrowed_cuda.cpp"
#include "spgemm/product/product_ops_cuda.cpp"

STABLE_TORCH_LIBRARY_FRAGMENT(warphash_emulated, m) {
  m.def("spgemm_inspect(Tensor crow, Tensor col, SymInt columns) -> Tensor");
  m.def(
      "spgemm_matmul(Tensor a_crow, Tensor a_col, Tensor a_values, Tensor b_crow, Tensor b_col, Tensor b_values, "
      "SymInt columns, int semiring, Tensor? exclude_crow, Tensor? exclude_col) -> (Tensor crow, Tensor col, Tensor "
      "values)");
  m.def(
      "spgemm_pattern(Tensor a_crow, Tensor a_col, Tensor b_crow, Tensor b_col, SymInt columns, Tensor? exclude_crow, "
      "Tensor? exclude_col) -> (Tensor crow, Tensor col)");
  m.def(
      "spgemm_masked(Tensor a_crow, Tensor a_col, Tensor a_values, Tensor b_crow, Tensor b_col, Tensor b_values, "
      "SymInt columns, int semiring, Tensor mask_crow, Tensor mask_col) -> (Tensor crow, Tensor col, Tensor values)");
  m.def(
      "spgemm_masked_pattern(Tensor a_crow, Tensor a_col, Tensor b_crow, Tensor b_col, SymInt columns, "
      "Tensor mask_crow, Tensor mask_col) -> (Tensor crow, Tensor col)");
}
