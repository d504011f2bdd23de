// SPDX-License-Identifier: Apache-2.0
// Values of A·B on a known pattern: see sum_rows.cuh.
#include "spgemm/numeric/numeric.cuh"
#include "spgemm/numeric/sum_rows.cuh"

namespace warphash::spgemm {

size_t numeric_workspace(const Pattern& a, const Pattern& pattern) {
  Arena arena(nullptr);
  LongRows(arena, a, pattern, parts_of_pattern);
  return arena.used();
}

template <class Value>
cudaError_t numeric(const Csr<Value>& a, const Csr<Value>& b, const Pattern& pattern, Semiring semiring, bool covers,
                    void* workspace, void* values, ValueType type, cudaStream_t stream) {
  return launch_rows(sum_rows<32, false, Value>, sum_rows<threads, false, Value>, SharedBytes(), parts_of_pattern, a,
                     pattern, workspace, stream, a, b, pattern, semiring, covers,
                     Outputs<Value>{values, type, nullptr, nullptr});
}

#define WARPHASH_NUMERIC(Value)                                                                                    \
  template cudaError_t numeric(const Csr<Value>&, const Csr<Value>&, const Pattern&, Semiring, bool, void*, void*, \
                               ValueType, cudaStream_t);
WARPHASH_NUMERIC(float)
WARPHASH_NUMERIC(double)
WARPHASH_NUMERIC(int32_t)
WARPHASH_NUMERIC(int64_t)
WARPHASH_NUMERIC(uint8_t)
#undef WARPHASH_NUMERIC

}  // namespace warphash::spgemm
