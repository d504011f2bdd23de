// SPDX-License-Identifier: Apache-2.0
// Which products give the entries of A·B: see sum_rows.cuh.
#include "spgemm/numeric/numeric.cuh"
#include "spgemm/numeric/sum_rows.cuh"

namespace warphash::spgemm {

template <class Value>
cudaError_t winners(const Csr<Value>& a, const Csr<Value>& b, const Pattern& pattern, Semiring semiring,
                    void* workspace, int64_t* of_a, int64_t* of_b, cudaStream_t stream) {
  return launch_rows(sum_rows<32, true, Value>, sum_rows<threads, true, Value>, SharedBytes(), parts_of_pattern, a,
                     pattern, workspace, stream, a, b, pattern, semiring, false,
                     Outputs<Value>{nullptr, ValueType{}, of_a, of_b});
}

#define WARPHASH_WINNERS(Value)                                                                                 \
  template cudaError_t winners(const Csr<Value>&, const Csr<Value>&, const Pattern&, Semiring, void*, int64_t*, \
                               int64_t*, cudaStream_t);
WARPHASH_WINNERS(float)
WARPHASH_WINNERS(double)
WARPHASH_WINNERS(int32_t)
WARPHASH_WINNERS(int64_t)
#undef WARPHASH_WINNERS

}  // namespace warphash::spgemm
