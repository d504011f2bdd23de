// SPDX-License-Identifier: Apache-2.0
// The CUDA entries of the pairs' and components' operators, registered once more: over emulated kernels, for CPU tensors,
// as warphash_emulated.
#include <torch/csrc/stable/library.h>

#undef STABLE_TORCH_LIBRARY_IMPL
#define STABLE_TORCH_LIBRARY_IMPL(library, key, m) _STABLE_TORCH_LIBRARY_IMPL(warphash_emulated, CPU, m, C10_UID)

#include "lsh/pairs/pairs_ops_cuda.cpp"

STABLE_TORCH_LIBRARY_FRAGMENT(warphash_emulated, m) {
  m.def("lsh_candidate_pairs(Tensor keys, int max_bucket, int mode) -> Tensor");
  m.def("lsh_bucket_sizes(Tensor keys) -> Tensor");
  m.def("lsh_connected_components(Tensor pairs, SymInt n) -> Tensor");
  m.def("lsh_pair_jaccard(Tensor tokens, Tensor offsets, Tensor pairs) -> Tensor");
}
