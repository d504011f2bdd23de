// SPDX-License-Identifier: Apache-2.0
// Values of a product under a mask, on the pattern that was found. Bound: as of sum_rows.cuh where products are walked; of
// the other side (sides.cuh) the latency of the searches, with a thread an entry, which adds its products up in the order of
// A's columns as they are found.
#include "spgemm/masked/masked.cuh"
#include "spgemm/masked/sides.cuh"
#include "spgemm/numeric/sum_rows.cuh"

namespace warphash::spgemm {
namespace {

template <int group, class Value>
__global__ void __launch_bounds__(threads, blocks_of_multiprocessor<group>)
    sum_masked(const LongRows rows, const Csr<Value> a, const Csr<Value> b, const Pattern pattern,
               const Semiring semiring, const Outputs<Value> out) {
  using Own = Group<group>;
  DYNAMIC_SHARED(unsigned char, shared);
  __shared__ Walk<group> walks[threads / group];
  const int own = group == 32 ? threadIdx.x / 32 : 0;
  constexpr int bytes = group == 32 ? warp_bytes : block_bytes;
  Turns<Own> turns{walks[own].claims, 0};
  turns.begin();
  for_rows<group>(a, pattern, rows, [&](int64_t row, Range entries) {
    const Range of_a = row_range(a, row);
    if (entries.begin == entries.end) return;
    if (!is_search_cheaper<Own>(walks[own].chunk, a, b, of_a, row_range(pattern, row))) {
      sum_row<group, false>(walks[own], turns, shared + own * bytes, bytes, a, b, pattern, semiring, false, out, row,
                            entries);
      return;
    }
    for (int64_t at = entries.begin + Own::rank(); at < entries.end; at += Own::size) {
      const int32_t column = __ldg(pattern.col + at);
      Value sum = zero_of<Value>(semiring);
      for (int64_t e = of_a.begin; e < of_a.end; ++e) {
        int64_t place = 0;
        if (has(b, row_range(b, __ldg(a.col + e)), column, place))
          sum = plus(semiring, sum, times(semiring, __ldg(a.values + e), __ldg(b.values + place)));
      }
      store_value(out.values, at, sum, out.type);
    }
  });
}

}  // namespace

size_t masked_values_workspace(const Pattern& a, const Pattern& pattern) {
  Arena arena(nullptr);
  LongRows(arena, a, pattern, parts_of_pattern);
  return arena.used();
}

cudaError_t masked_values(const Pattern& a, const Pattern& b, const Pattern& pattern, const void* a_values,
                          const void* b_values, ValueType type, Semiring semiring, void* workspace, void* values,
                          cudaStream_t stream) {
  if (pattern.entries == 0) return cudaSuccess;
  return with_sum_type(type, [&](auto which) {
    using Value = typename decltype(which)::type;
    return launch_rows(sum_masked<32, Value>, sum_masked<threads, Value>, SharedBytes(), parts_of_pattern, a, pattern,
                       workspace, stream, Csr<Value>{a, static_cast<const Value*>(a_values)},
                       Csr<Value>{b, static_cast<const Value*>(b_values)}, pattern, semiring,
                       Outputs<Value>{values, type, nullptr, nullptr});
  });
}

}  // namespace warphash::spgemm
