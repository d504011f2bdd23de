// SPDX-License-Identifier: Apache-2.0
// Sums of rows by bucket, and of tables' rows by code. Bound: memory, mostly L2: a row is read once for each table.
//
// Both add in the order of the items, as the CPU does, so the bits are the same, in every run. For that the codes are
// sorted first (those left out into a bucket of their own), and a bucket's rows added one after the other. A thread has 16
// bytes of a sum, so neighbours read a row together; it asks for four rows at a time. What this costs: a bucket that has
// most of the items is one chain of additions.
#include <type_traits>

#include "common/arena.cuh"
#include "lsh/buckets/buckets.cuh"

namespace warphash::lsh {
namespace {

constexpr int threads = 256, batch = 4;
#if defined(WARPHASH_CUDA_EMULATION)
constexpr int64_t most_blocks = 5;
#else
constexpr int64_t most_blocks = int64_t{1} << 30;
#endif

template <class T>
using Sum = std::conditional_t<std::is_same_v<T, double>, double, float>;

__device__ __forceinline__ float widened(float value) { return value; }
__device__ __forceinline__ double widened(double value) { return value; }
__device__ __forceinline__ float widened(__half value) { return __half2float(value); }
__device__ __forceinline__ float widened(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ __forceinline__ void round_to(float& to, float value) { to = value; }
__device__ __forceinline__ void round_to(double& to, double value) { to = value; }
__device__ __forceinline__ void round_to(__half& to, float value) { to = __float2half(value); }
__device__ __forceinline__ void round_to(__nv_bfloat16& to, float value) { to = __float2bfloat16(value); }

// Neighbouring values of a row, as they lie in memory.
template <class T, int count>
struct alignas(sizeof(T) * count) Piece {
  T values[count];
};

template <class T, int count>
struct Adder {
  using P = Piece<T, count>;
  Sum<T> sums[count];

  __device__ __forceinline__ Adder() {
#pragma unroll
    for (int i = 0; i < count; ++i) sums[i] = 0;
  }
  __device__ __forceinline__ void add(const P& piece) {
#pragma unroll
    for (int i = 0; i < count; ++i) sums[i] += widened(piece.values[i]);
  }
  __device__ __forceinline__ void store(P* to) const {
    P piece;
#pragma unroll
    for (int i = 0; i < count; ++i) round_to(piece.values[i], sums[i]);
    *to = piece;
  }
};

template <class T, int count>
__device__ __forceinline__ Piece<T, count> load(const Piece<T, count>* from) {
  if constexpr (sizeof(Piece<T, count>) == 16) {
    const uint4 word = __ldg(reinterpret_cast<const uint4*>(from));
    Piece<T, count> piece;
    memcpy(&piece, &word, 16);
    return piece;
  } else {
    return *from;
  }
}

// Row [batch, tables, buckets] of sums; order [batch, tables, items], offsets [batch, tables, buckets + 2].
template <class T, int count>
__global__ void __launch_bounds__(threads, 2)
    sum_buckets(const Rows rows, const Piece<T, count>* __restrict__ values, const int64_t* __restrict__ order,
                const int64_t* __restrict__ offsets, Piece<T, count>* sums) {
  const int64_t pieces = rows.width / count, items = rows.codes_per_table;
  const int64_t all = rows.batch * rows.tables * rows.buckets * pieces;
  for (int64_t at = int64_t(blockIdx.x) * threads + threadIdx.x; at < all; at += int64_t(gridDim.x) * threads) {
    const int64_t row = at / pieces, piece = at % pieces, table = row / rows.buckets, bucket = row % rows.buckets;
    const int64_t* const range = offsets + table * (rows.buckets + 2) + bucket;
    const int64_t end = range[1];
    const int64_t* const list = order + table * items;
    const Piece<T, count>* const from = values + table / rows.tables * items * pieces + piece;
    Adder<T, count> adder;
    for (int64_t first = range[0]; first < end; first += batch) {
      Piece<T, count> loaded[batch];
#pragma unroll
      for (int i = 0; i < batch; ++i)
        if (first + i < end) loaded[i] = load(from + __ldg(list + first + i) * pieces);
#pragma unroll
      for (int i = 0; i < batch; ++i)
        if (first + i < end) adder.add(loaded[i]);
    }
    adder.store(sums + at);
  }
}

// Row [batch, codes] of sums; table [batch, tables, buckets].
template <class T, int count, class Code>
__global__ void __launch_bounds__(threads, 2)
    sum_tables(const Rows rows, const Piece<T, count>* __restrict__ table, Piece<T, count>* sums) {
  const int64_t pieces = rows.width / count, codes = rows.codes_per_table, all = rows.batch * codes * pieces;
  for (int64_t at = int64_t(blockIdx.x) * threads + threadIdx.x; at < all; at += int64_t(gridDim.x) * threads) {
    const int64_t row = at / pieces, piece = at % pieces, first_table = row / codes * rows.tables;
    const Code* const own = static_cast<const Code*>(rows.codes) + first_table * codes + row % codes;
    const Piece<T, count>* const from = table + first_table * rows.buckets * pieces + piece;
    Adder<T, count> adder;
    for (int64_t first = 0; first < rows.tables; first += batch) {
      Piece<T, count> loaded[batch];
      unsigned found = 0;
#pragma unroll
      for (int i = 0; i < batch; ++i) {
        const int64_t t = first + i;
        if (t >= rows.tables) break;
        const int64_t code = __ldg(own + t * codes);
        if (code < 0 || code >= rows.buckets) continue;
        loaded[i] = load(from + (t * rows.buckets + code) * pieces);
        found |= 1u << i;
      }
#pragma unroll
      for (int i = 0; i < batch; ++i)
        if (found >> i & 1) adder.add(loaded[i]);
    }
    adder.store(sums + at);
  }
}

template <class T, class Run>
cudaError_t with_count(const Rows& rows, const void* from, const void* to, const Run& run) {
  constexpr int wide = 16 / sizeof(T);
  const bool is_aligned = reinterpret_cast<uintptr_t>(from) % 16 == 0 && reinterpret_cast<uintptr_t>(to) % 16 == 0;
  if (rows.width % wide == 0 && is_aligned)
    return run(static_cast<const Piece<T, wide>*>(from), std::integral_constant<int, wide>());
  return run(static_cast<const Piece<T, 1>*>(from), std::integral_constant<int, 1>());
}

// Calls run(values as pieces, their size) for the type of values.
template <class Run>
cudaError_t with_type(const Rows& rows, const void* from, const void* to, const Run& run) {
  switch (rows.type) {
    case ValueType::f16: return with_count<__half>(rows, from, to, run);
    case ValueType::bf16: return with_count<__nv_bfloat16>(rows, from, to, run);
    case ValueType::f32: return with_count<float>(rows, from, to, run);
    case ValueType::f64: return with_count<double>(rows, from, to, run);
  }
  return cudaErrorInvalidValue;
}

dim3 blocks_for(int64_t sums) { return dim3(static_cast<unsigned>(clamp(ceil_divide(sums, threads), 1, most_blocks))); }

// Codes that are left out have the bucket behind the last.
Codes codes_of(const Rows& rows) {
  return {rows.codes, rows.long_codes ? 8 : 4, rows.batch * rows.tables, rows.codes_per_table, rows.buckets + 1};
}

struct Plan {
  int64_t *order, *offsets;
  char* sort;
};
Plan plan_sums(const Rows& rows, Arena& arena) {
  const Codes codes = codes_of(rows);
  Plan plan{};
  plan.order = arena.take<int64_t>(codes.tables * codes.items);
  plan.offsets = arena.take<int64_t>(codes.tables * (codes.buckets + 1));
  plan.sort = arena.take<char>(static_cast<int64_t>(bucket_sort_workspace(codes)));
  return plan;
}

}  // namespace

size_t bucket_sum_workspace(const Rows& rows) {
  Arena arena(nullptr);
  plan_sums(rows, arena);
  return arena.used();
}

cudaError_t bucket_sum(const Rows& rows, const void* values, void* workspace, void* sums, cudaStream_t stream) {
  const int64_t all = rows.batch * rows.tables * rows.buckets * rows.width;
  if (all == 0) return cudaSuccess;
  Arena arena(workspace);
  const Plan plan = plan_sums(rows, arena);
  const cudaError_t error = bucket_sort(codes_of(rows), plan.sort, plan.order, nullptr, plan.offsets, stream);
  if (error != cudaSuccess) return error;
  return with_type(rows, values, sums, [&](auto* from, auto count) {
    using P = std::remove_const_t<std::remove_pointer_t<decltype(from)>>;
    using T = std::remove_reference_t<decltype(P::values[0])>;
    return launch(sum_buckets<T, count.value>, blocks_for(all / count.value), dim3(threads), 0, stream, rows, from,
                  plan.order, plan.offsets, static_cast<P*>(sums));
  });
}

cudaError_t bucket_gather_sum(const Rows& rows, const void* table, void* sums, cudaStream_t stream) {
  const int64_t all = rows.batch * rows.codes_per_table * rows.width;
  if (all == 0) return cudaSuccess;
  return with_type(rows, table, sums, [&](auto* from, auto count) {
    using P = std::remove_const_t<std::remove_pointer_t<decltype(from)>>;
    using T = std::remove_reference_t<decltype(P::values[0])>;
    const dim3 blocks = blocks_for(all / count.value);
    P* const to = static_cast<P*>(sums);
    return rows.long_codes
               ? launch(sum_tables<T, count.value, int64_t>, blocks, dim3(threads), 0, stream, rows, from, to)
               : launch(sum_tables<T, count.value, int32_t>, blocks, dim3(threads), 0, stream, rows, from, to);
  });
}

}  // namespace warphash::lsh
