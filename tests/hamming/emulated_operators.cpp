// SPDX-License-Identifier: Apache-2.0
// The CUDA entries of the operators, registered once more: over emulated kernels, for CPU tensors, as
// warphash_emulated.
#include <torch/csrc/stable/library.h>

#undef STABLE_TORCH_LIBRARY_IMPL
#define STABLE_TORCH_LIBRARY_IMPL(library, key, m) _STABLE_TORCH_LIBRARY_IMPL(warphash_emulated, CPU, m, C10_UID)

#include "hamming/hamming_ops_cuda.cpp"
#include "hamming/lists.cuh"

namespace warphash::hamming {
// hamming_sm90a.cu is not emulated; nothing chooses it by itself.
cudaError_t wgmma_topk(Metric, Algorithm, const Search&, int, const Lists&, cudaStream_t) {
  return cudaErrorNotSupported;
}
}  // namespace warphash::hamming

STABLE_TORCH_LIBRARY_FRAGMENT(warphash_emulated, m) {
  m.def("hamming_pack(Tensor x, float threshold) -> Tensor");
  m.def("hamming_unpack(Tensor codes, SymInt bits) -> Tensor");
  m.def("hamming_cdist(Tensor a, Tensor b) -> Tensor");
  m.def("hamming_topk(Tensor queries, Tensor database, SymInt k, Tensor? mask) -> (Tensor, Tensor)");
  m.def("hamming_range_search(Tensor queries, Tensor database, int radius, Tensor? mask) -> (Tensor, Tensor, Tensor)");
  m.def("hamming_histogram(Tensor queries, Tensor database, Tensor? mask) -> Tensor");
  m.def("hamming_asymmetric_topk(Tensor queries, Tensor database, SymInt k) -> (Tensor, Tensor)");
  m.def("hamming_jaccard_topk(Tensor queries, Tensor database, SymInt k, Tensor? mask) -> (Tensor, Tensor)");
}
