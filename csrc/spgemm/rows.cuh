// SPDX-License-Identifier: Apache-2.0
// What the CUDA kernels of sparse products share: types of sums, rows of patterns kept within their arrays, and the rows
// of a product in order of their work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "common/arena.cuh"
#include "common/portable.h"
#include "spgemm/spgemm.h"
#include "spgemm/spgemm_values.h"

namespace warphash::spgemm {

// ---- Values -----------------------------------------------------------------------------------------------------------

// Of kernels that write patterns alone.
struct NoValue {};

template <class T>
struct Type {
  using type = T;
};

// Calls run(Type<Value>()) with the type that values are summed in; half values have been widened to it.
template <class Run>
cudaError_t with_sum_type(ValueType type, const Run& run) {
  switch (sum_type(type)) {
    case ValueType::float32: return run(Type<float>());
    case ValueType::float64: return run(Type<double>());
    case ValueType::int32: return run(Type<int32_t>());
    case ValueType::int64: return run(Type<int64_t>());
    case ValueType::boolean: return run(Type<uint8_t>());
    default: return cudaErrorInvalidValue;
  }
}

// Columns of a result, of the type that the tensors' indices have.
struct ColumnStore {
  void* columns;
  bool wide;  // int64, not int32
};

// ---- Work of rows -------------------------------------------------------------------------------------------------------

// A row with p products is of class 64 - clz(p): class c has 2^(c-1) <= p < 2^c, class 0 none.
constexpr int classes = 65;

#if defined(WARPHASH_CUDA_EMULATION)
constexpr int small_class = 6;  // so that small tests reach every kernel
#else
constexpr int small_class = 8;
#endif
constexpr int counters = 6;

// Lies in a workspace. Small rows, which a warp does, are left out of the list.
struct RowBins {
  int64_t* products;          // [rows]; wrong columns of B count too
  int64_t* list;              // [rows]: rows above small_class, those of the highest classes first
  unsigned long long* above;  // [classes]: how many rows are of a higher class; those above small_class begin the list
  unsigned long long* cursors;  // [classes], while the list is made
  unsigned long long* taken;    // [counters], zeros: how many rows of the list blocks have taken, a counter a kernel

  static RowBins take(Arena& arena, int64_t rows) {
    RowBins bins{};
    bins.products = arena.take<int64_t>(rows);
    bins.list = arena.take<int64_t>(rows);
    bins.above = arena.take<unsigned long long>(2 * classes + counters);
    bins.cursors = bins.above == nullptr ? nullptr : bins.above + classes;
    bins.taken = bins.above == nullptr ? nullptr : bins.cursors + classes;
    return bins;
  }
};

// Products of each row of a·b, and the list. Rows of a: any number.
cudaError_t sort_rows(const Pattern& a, const Pattern& b, const RowBins& bins, cudaStream_t stream);

// ---- On the device ------------------------------------------------------------------------------------------------------

#if defined(WARPHASH_CUDA_EMULATION) || defined(__CUDACC__)
namespace {

constexpr unsigned all_lanes = 0xffffffffu;

#if defined(WARPHASH_CUDA_EMULATION)
constexpr int64_t most_blocks = 3;  // so that tests see blocks go round their loops
#else
constexpr int64_t most_blocks = int64_t{1} << 20;
#endif

inline dim3 blocks_for(int64_t count, int64_t a_block) {
  return dim3(static_cast<unsigned>(clamp(ceil_divide(count, a_block), 1, most_blocks)));
}

struct Range {
  int64_t begin, end;
};

__device__ __forceinline__ Range row_range(const Pattern& pattern, int64_t row) {
  if (row < 0 || row >= pattern.rows) return {0, 0};
  const int64_t begin = min(max(__ldg(pattern.crow + row), int64_t{0}), pattern.entries);
  return {begin, min(max(__ldg(pattern.crow + row + 1), begin), pattern.entries)};
}

// The first place in [begin, end) whose column is not below; end if there is none.
__device__ __forceinline__ int64_t lower_bound(const int32_t* col, int64_t begin, int64_t end, int32_t column) {
  while (begin < end) {
    const int64_t middle = begin + (end - begin) / 2;
    if (__ldg(col + middle) < column)
      begin = middle + 1;
    else
      end = middle;
  }
  return begin;
}

// The entries of a row whose columns are in [low, high); nothing is searched where that is all columns.
__device__ __forceinline__ Range row_range(const Pattern& pattern, int64_t row, int32_t low, int32_t high) {
  Range range = row_range(pattern, row);
  if (low > 0) range.begin = lower_bound(pattern.col, range.begin, range.end, low);
  if (high < pattern.columns) range.end = lower_bound(pattern.col, range.begin, range.end, high);
  return range;
}

// The block's next place in a list; all threads call it with a variable that they share.
__device__ __forceinline__ int64_t next_place(unsigned long long* taken, int64_t* place) {
  __syncthreads();
  if (threadIdx.x == 0) *place = static_cast<int64_t>(atomicAdd(taken, 1ull));
  __syncthreads();
  return *place;
}

// A sum is rounded to the type that the values came in.
template <class Value>
__device__ __forceinline__ void store_value(void* values, int64_t at, Value value, ValueType type) {
  if constexpr (std::is_same_v<Value, float>) {
    if (type == ValueType::float16) {
      static_cast<__half*>(values)[at] = __float2half(value);
      return;
    }
    if (type == ValueType::bfloat16) {
      static_cast<__nv_bfloat16*>(values)[at] = __float2bfloat16(value);
      return;
    }
  }
  static_cast<Value*>(values)[at] = value;
}

__device__ __forceinline__ void store_column(const ColumnStore& store, int64_t at, int32_t column) {
  if (store.wide)
    static_cast<int64_t*>(store.columns)[at] = column;
  else
    static_cast<int32_t*>(store.columns)[at] = column;
}

}  // namespace
#endif

}  // namespace warphash::spgemm
