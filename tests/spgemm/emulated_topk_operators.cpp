// SPDX-License-Identifier: Apache-2.0
// The CUDA entry of the largest entries, registered once more: over emulated kernels, for CPU tensors, as
// warphash_emulated.
#include <torch/csrc/stable/library.h>

#undef STABLE_TORCH_LIBRARY_IMPL
#define STABLE_TORCH_LIBRARY_IMPL(library, key, m) _STABLE_TORCH_LIBRARY_IMPL(warphash_emulated, CPU, m, C10_UID)

#include "spgemm/narrowed_cuda.cpp"
#include "spgemm/topk/topk_ops_cuda.cpp"

STABLE_TORCH_LIBRARY_FRAGMENT(warphash_emulated, m) {
  m.def(
      "spgemm_topk(Tensor a_crow, Tensor a_col, Tensor a_values, Tensor b_crow, Tensor b_col, Tensor b_values, "
      "SymInt columns, SymInt k) -> (Tensor, Tensor)");
}
