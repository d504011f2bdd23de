// SPDX-License-Identifier: Apache-2.0
// dA_ik = Σ_j G_ij B_kj on A's entries. Bound: the loads of B's entries, then the look-ups of G, about eight reads of
// shared memory a product.
//
// Sixteen lanes have an entry of A: each adds up every sixteenth entry of B's row, then they fold their sums, as the CPU's
// kernels do. An entry of B finds its G by binary search in the columns of the gradient's row, which lie in shared memory
// if they fit.
#include "spgemm/numeric/long_rows.cuh"
#include "spgemm/numeric/numeric.cuh"
#include "spgemm/numeric/pieces.cuh"

namespace warphash::spgemm {
namespace {

constexpr int lanes = 16;
constexpr Parts parts_of_a{true, a_part};

template <int group, class Value>
__device__ __forceinline__ void derive_row(int32_t* columns, int most, const Csr<Value>& gradient, const Pattern& a,
                                           const Csr<Value>& b, void* of_a, ValueType type, int64_t row,
                                           Range entries) {
  using Own = Group<group>;
  const Range of_gradient = row_range(gradient, row);
  const int64_t count = of_gradient.end - of_gradient.begin;
  const bool is_shared = count <= most;
  if (is_shared)
    for (int i = Own::rank(); i < count; i += group) columns[i] = __ldg(gradient.col + of_gradient.begin + i);
  Own::sync();
  const int lane = threadIdx.x % lanes;
  for (int64_t start = entries.begin; start < entries.end; start += group / lanes) {
    const int64_t entry = start + Own::rank() / lanes;
    Range of_b{0, 0};
    if (entry < entries.end) of_b = row_range(b, __ldg(a.col + entry));
    Value sum = 0;
    for (int64_t at = of_b.begin + lane; at < of_b.end; at += lanes) {
      const int32_t column = __ldg(b.col + at);
      int64_t place = 0;
      bool is_there = false;
      if (is_shared && count > 0) {
        place = last_not_above(columns, static_cast<int>(count), column);
        is_there = columns[place] == column;
      } else if (count > 0) {
        place = lower_bound(gradient.col + of_gradient.begin, 0, count, column);
        is_there = place < count && __ldg(gradient.col + of_gradient.begin + place) == column;
      }
      const Value g = is_there ? gradient.values[of_gradient.begin + place] : Value(0);
      sum += g * b.values[at];
    }
#pragma unroll
    for (int distance = lanes / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(all_lanes, sum, distance);
    if (entry < entries.end && lane == 0) store_value(of_a, entry, sum, type);
  }
  Own::sync();
}

template <int group, class Value>
__global__ void __launch_bounds__(threads, blocks_of_multiprocessor<group>)
    derive_rows(const LongRows rows, const Csr<Value> gradient, const Pattern a, const Csr<Value> b, void* of_a,
                const ValueType type) {
  DYNAMIC_SHARED(int32_t, shared);
  constexpr int most = (group == 32 ? warp_bytes : block_bytes) / 4;
  int32_t* const columns = shared + (group == 32 ? threadIdx.x / 32 * most : 0);
  for_rows<group>(a, gradient, rows, [&](int64_t row, Range entries) {
    derive_row<group>(columns, most, gradient, a, b, of_a, type, row, entries);
  });
}

}  // namespace

size_t gradient_of_a_workspace(const Pattern& a, const Pattern& gradient) {
  Arena arena(nullptr);
  LongRows(arena, a, gradient, parts_of_a);
  return arena.used();
}

template <class Value>
cudaError_t gradient_of_a(const Csr<Value>& gradient, const Pattern& a, const Csr<Value>& b, void* workspace,
                          void* of_a, ValueType type, cudaStream_t stream) {
  return launch_rows(derive_rows<32, Value>, derive_rows<threads, Value>, SharedBytes(), parts_of_a, a, gradient,
                     workspace, stream, gradient, a, b, of_a, type);
}

template cudaError_t gradient_of_a(const Csr<float>&, const Pattern&, const Csr<float>&, void*, void*, ValueType,
                                   cudaStream_t);
template cudaError_t gradient_of_a(const Csr<double>&, const Pattern&, const Csr<double>&, void*, void*, ValueType,
                                   cudaStream_t);

}  // namespace warphash::spgemm
