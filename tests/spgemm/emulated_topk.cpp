// SPDX-License-Identifier: Apache-2.0
// Names the launchers of the largest entries for Python: structs taken apart.
#include "emulated_memory.h"
#include "spgemm/topk/topk.cuh"

namespace warphash::spgemm {
namespace {

// sizes: rows of A, of B, columns, entries of A, of B
template <class Value>
cudaError_t emulated_topk(const int64_t* sizes, const int64_t* a_crow, const int32_t* a_col, const Value* a_values,
                          const int64_t* b_crow, const int32_t* b_col, const Value* b_values, int64_t k, int rounding,
                          Value* values, int64_t* indices, cudaStream_t stream) {
  const Csr<Value> a{{a_crow, a_col, sizes[0], sizes[1], sizes[3]}, a_values};
  const Csr<Value> b{{b_crow, b_col, sizes[1], sizes[2], sizes[4]}, b_values};
  const size_t bytes = topk_workspace<Value>(a.rows, b.columns, k);
  return topk(a, b, k, static_cast<Rounding>(rounding), Memory(bytes), values, indices, stream);
}

}  // namespace
}  // namespace warphash::spgemm

EMULATED_LAUNCHER(topk_float32, warphash::spgemm::emulated_topk<float>);
EMULATED_LAUNCHER(topk_float64, warphash::spgemm::emulated_topk<double>);
