// SPDX-License-Identifier: Apache-2.0
// dB_kj = Σ_i A_ik G_ij on B's entries, over A by columns. Bound: latency of the look-ups of G in global memory.
//
// A warp or a block has a row of B. Its threads make the products of as many i at a time as they have room for, several
// each, whose binary searches run in lockstep to hide each other's latency; then a thread a column adds them in ascending
// i, so that there are no atomics and the sums have the bits of the CPU's.
#include "spgemm/numeric/numeric.cuh"
#include "spgemm/numeric/row_blocks.cuh"

namespace warphash::spgemm {
namespace {

constexpr int each = 4;         // products that a thread makes at a time
constexpr int most_width = 32;  // columns that a group is at: the fewer, the more rows of A are looked up at a time
constexpr Parts parts_of_b{false, most_width};

__global__ void __launch_bounds__(threads)
    find_columns(const Pattern a, const int32_t* __restrict__ keys, int64_t* crow) {
  for (int64_t k = int64_t(blockIdx.x) * threads + threadIdx.x; k <= a.columns; k += int64_t(gridDim.x) * threads)
    crow[k] = lower_bound(keys, 0, a.entries, static_cast<int32_t>(k));
}

__global__ void __launch_bounds__(threads)
    find_rows(const Pattern a, const int64_t* __restrict__ order, int32_t* rows) {
  for (int64_t p = int64_t(blockIdx.x) * threads + threadIdx.x; p < a.entries; p += int64_t(gridDim.x) * threads) {
    const int64_t entry = __ldg(order + p);
    int64_t low = 0, high = a.rows;  // the first row that begins behind the entry
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (__ldg(a.crow + middle) <= entry)
        low = middle + 1;
      else
        high = middle;
    }
    rows[p] = static_cast<int32_t>(low - 1);
  }
}

// The gradients at `column` in the rows that i = first, first + stride, ... of A's column have, times A's values.
template <class Value>
__device__ __forceinline__ void multiply(const Csr<Value>& gradient, const Pattern& transposed, const int64_t* order,
                                         const Value* a_values, int64_t first, int64_t stride, int64_t end,
                                         int32_t column, Value (&products)[each]) {
  int64_t begins[each];
  unsigned counts[each], places[each], most = 0;  // columns of a row differ: fewer than 2^31
#pragma unroll
  for (int u = 0; u < each; ++u) {
    const int64_t i = first + u * stride;
    Range row{0, 0};
    if (i < end && column >= 0) row = row_range(gradient, __ldg(transposed.col + i));
    begins[u] = row.begin, places[u] = 0;
    counts[u] = static_cast<unsigned>(min(row.end - row.begin, int64_t{0x7fffffff}));
    most = max(most, counts[u]);
  }
  for (unsigned step = most == 0 ? 0 : 1u << (31 - __clz(static_cast<int>(most))); step > 0; step /= 2)
#pragma unroll
    for (int u = 0; u < each; ++u)
      if (places[u] + step < counts[u] && __ldg(gradient.col + begins[u] + places[u] + step) <= column)
        places[u] += step;
#pragma unroll
  for (int u = 0; u < each; ++u) {
    const int64_t i = first + u * stride, at = begins[u] + places[u];
    Value g = 0;
    if (counts[u] > 0 && __ldg(gradient.col + at) == column) g = gradient.values[at];
    products[u] = i < end ? a_values[__ldg(order + i)] * g : Value(0);
  }
}

// Shared, one a group: products that are made at a time, and the rows of A that they are of.
template <int group, class Value>
struct Made {
  Value products[each * group];
  int32_t rows[each * group];
};

template <int group, class Value>
__device__ __forceinline__ void derive_row(Made<group, Value>& made, const Csr<Value>& gradient,
                                           const Pattern& transposed, const int64_t* order, const Value* a_values,
                                           const Pattern& b, const int32_t* starts, void* of_b, ValueType type,
                                           int64_t k, Range row) {
  using Own = Group<group>;
  const Range of_a = row_range(transposed, k);
  // The group is `width` columns of B's row by `height` entries of A's column.
  int width = most_width;
  while (width > 1 && width / 2 >= row.end - row.begin) width /= 2;
  const int height = group / width, own = Own::rank() / width, c = Own::rank() % width;
  for (int64_t first = row.begin; first < row.end; first += width) {
    const bool is_there = first + c < row.end;
    const int32_t column = is_there ? __ldg(b.col + first + c) : -1;
    Value sum = 0, block_sum = 0;
    int block = 0;
    int32_t block_end = __ldg(starts + 1);
    for (int64_t i = of_a.begin; i < of_a.end; i += each * height) {
      Value products[each];
      multiply(gradient, transposed, order, a_values, i + own, height, of_a.end, column, products);
#pragma unroll
      for (int u = 0; u < each; ++u) {
        const int place = u * height + own;
        made.products[place * width + c] = products[u];
        if (c == 0 && i + place < of_a.end) made.rows[place] = __ldg(transposed.col + i + place);
      }
      Own::sync();
      if (own == 0 && is_there) {
        const int count = static_cast<int>(min(int64_t{each} * height, of_a.end - i));
#pragma unroll 4
        for (int x = 0; x < count; ++x) {
          if (made.rows[x] >= block_end) {
            sum += block_sum, block_sum = 0;
            do ++block, block_end = __ldg(starts + block + 1);
            while (made.rows[x] >= block_end);
          }
          block_sum += made.products[x * width + c];
        }
      }
      Own::sync();
    }
    if (own == 0 && is_there) store_value(of_b, first + c, sum + block_sum, type);
  }
}

template <int group, class Value>
__global__ void __launch_bounds__(threads, 6)
    derive_rows(const LongRows rows, const Csr<Value> gradient, const Pattern transposed,
                const int64_t* __restrict__ order, const Value* __restrict__ a_values, const Pattern b,
                const int32_t* __restrict__ starts, void* of_b, const ValueType type) {
  __shared__ Made<group, Value> made[threads / group];
  for_rows<group>(transposed, b, rows, [&](int64_t k, Range row) {
    derive_row(made[group == 32 ? threadIdx.x / 32 : 0], gradient, transposed, order, a_values, b, starts, of_b, type,
               k, row);
  });
}

}  // namespace

cudaError_t transpose(const Pattern& a, const int32_t* keys, const int64_t* order, int64_t* crow, int32_t* rows,
                      cudaStream_t stream) {
  const cudaError_t error =
      launch(find_columns, blocks_for(a.columns + 1, threads), dim3(threads), 0, stream, a, keys, crow);
  if (error != cudaSuccess || a.entries == 0) return error;
  return launch(find_rows, blocks_for(a.entries, threads), dim3(threads), 0, stream, a, order, rows);
}

size_t gradient_of_b_workspace(const Pattern& transposed, const Pattern& b) {
  Arena arena(nullptr);
  RowBlocks{arena};
  LongRows(arena, transposed, b, parts_of_b);
  return arena.used();
}

template <class Value>
cudaError_t gradient_of_b(const Csr<Value>& gradient, const Csr<Value>& a, const Pattern& transposed,
                          const int64_t* order, const Pattern& b, int64_t worth_blocks, void* workspace, void* of_b,
                          ValueType type, cudaStream_t stream) {
  if (b.entries == 0) return cudaSuccess;
  Arena arena(workspace);
  const RowBlocks blocks(arena);
  const cudaError_t error = find_row_blocks(a, b, gradient, worth_blocks, blocks, stream);
  if (error != cudaSuccess) return error;
  return launch_rows(derive_rows<32, Value>, derive_rows<threads, Value>, SharedBytes{0, 0}, parts_of_b, transposed, b,
                     static_cast<char*>(workspace) + arena.used(), stream, gradient, transposed, order, a.values, b,
                     static_cast<const int32_t*>(blocks.starts), of_b, type);
}

#define WARPHASH_GRADIENT_OF_B(Value)                                                                      \
  template cudaError_t gradient_of_b(const Csr<Value>&, const Csr<Value>&, const Pattern&, const int64_t*, \
                                     const Pattern&, int64_t, void*, void*, ValueType, cudaStream_t);
WARPHASH_GRADIENT_OF_B(float)
WARPHASH_GRADIENT_OF_B(double)
#undef WARPHASH_GRADIENT_OF_B

}  // namespace warphash::spgemm
