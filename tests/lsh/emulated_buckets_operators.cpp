// SPDX-License-Identifier: Apache-2.0
// The CUDA entries of the bucket tables' operators, registered once more: over emulated kernels, for CPU tensors, as
// warphash_emulated.
#include <torch/csrc/stable/library.h>

#undef STABLE_TORCH_LIBRARY_IMPL
#define STABLE_TORCH_LIBRARY_IMPL(library, key, m) _STABLE_TORCH_LIBRARY_IMPL(warphash_emulated, CPU, m, C10_UID)

#include "lsh/buckets/buckets_ops_cuda.cpp"

STABLE_TORCH_LIBRARY_FRAGMENT(warphash_emulated, m) {
  m.def("lsh_bucket_sort(Tensor codes, SymInt num_buckets) -> (Tensor, Tensor, Tensor)");
  m.def("lsh_bucket_query(Tensor order, Tensor offsets, Tensor query_codes) -> (Tensor, Tensor)");
  m.def("lsh_bucket_sum(Tensor values, Tensor codes, SymInt num_buckets) -> Tensor");
  m.def("lsh_bucket_gather_sum(Tensor table, Tensor codes) -> Tensor");
}
