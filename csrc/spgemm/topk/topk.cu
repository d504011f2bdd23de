// SPDX-License-Identifier: Apache-2.0
// The largest entries of each row of a product, which is never written down. Bound: the loads of B's entries, then one read
// and one write of shared memory a product, and one look at each slot of a slice.
//
// A block has a row, or with few rows a part of its columns, and takes the columns slice by slice. A slice is dense, a
// slot a column, or, where products are few, as wide as its products still fit into a hash table: so rows that are
// almost empty do not cost a look at every column. What a slice finds goes to the best so far (best.cuh).
#include "common/arena.cuh"
#include "spgemm/topk/best.cuh"

namespace warphash::spgemm {
namespace {

#if defined(WARPHASH_CUDA_EMULATION)
constexpr int slice_bytes = 512;
constexpr int64_t wanted_blocks = 6;
#else
constexpr int slice_bytes = 32 << 10;
constexpr int64_t wanted_blocks = 512;  // fewer rows are split
#endif

template <class Value>
constexpr int dense_slots = slice_bytes / sizeof(Value);
template <class Value>
constexpr int table_slots = slice_bytes / 8 / (sizeof(Value) / 4);  // with a column each; a power of two

// A dense slot that no product has met. NaN sums are given other bits.
template <class Value>
__device__ __forceinline__ Value untouched();
template <>
__device__ __forceinline__ float untouched() {
  return __uint_as_float(0x7fffffffu);
}
template <>
__device__ __forceinline__ double untouched() {
  return __longlong_as_double(0x7fffffffffffffffll);
}
__device__ __forceinline__ bool is_untouched(float value) { return __float_as_uint(value) == 0x7fffffffu; }
__device__ __forceinline__ bool is_untouched(double value) {
  return __double_as_longlong(value) == 0x7fffffffffffffffll;
}
template <class Value>
__device__ __forceinline__ Value added(Value sum, Value product) {
  const Value next = (is_untouched(sum) ? Value(0) : sum) + product;
  return next == next ? next : Value(NAN);
}

__device__ __forceinline__ float rounded_value(float value, Rounding rounding) {
  if (rounding == Rounding::float16) return __half2float(__float2half(value));
  if (rounding == Rounding::bfloat16) return __bfloat162float(__float2bfloat16(value));
  return value;
}
__device__ __forceinline__ double rounded_value(double value, Rounding) { return value; }

struct Scratch {
  Chunk<threads> chunk;
  unsigned claims[Turns<Group<threads>>::slots];
  int count;
};

using Own = Group<threads>;

// How many products of a row have columns in [low, high).
__device__ __forceinline__ int64_t count_products(Scratch& scratch, const Pattern& a, const Pattern& b, Range entries,
                                                  int32_t low, int32_t high) {
  int64_t own = 0;
  for (int64_t e = entries.begin + threadIdx.x; e < entries.end; e += threads) {
    const Range part = row_range(b, __ldg(a.col + e), low, high);
    own += part.end - part.begin;
  }
  scratch.chunk.ends[threadIdx.x] = Own::running_sum(own, scratch.chunk.sums);
  __syncthreads();
  const int64_t all = scratch.chunk.ends[threads - 1];
  __syncthreads();
  return all;
}

// The slot of a column in the table, which has room.
template <int slots>
__device__ __forceinline__ int place_of(int32_t* columns, int32_t column) {
  unsigned slot = static_cast<unsigned>(column) * 2654435769u >> 7 & (slots - 1);
  for (;;) {
    const int32_t found = atomicCAS(columns + slot, -1, column);
    if (found == -1 || found == column) return static_cast<int>(slot);
    slot = (slot + 1) & (slots - 1);
  }
}

template <class Value>
__device__ __forceinline__ void search_slice(Scratch& scratch, Turns<Own>& turns, unsigned char* shared,
                                             Best<Value>& best, const Csr<Value>& a, const Csr<Value>& b, int64_t row,
                                             int32_t low, int32_t high, bool is_dense, Rounding rounding) {
  constexpr int in_table = table_slots<Value>;
  Value* const sums = reinterpret_cast<Value*>(shared);
  int32_t* const columns = reinterpret_cast<int32_t*>(sums + in_table);
  const int slots = is_dense ? high - low : in_table;
  for (int i = threadIdx.x; i < slots; i += threads) {
    sums[i] = untouched<Value>();
    if (!is_dense) columns[i] = -1;
  }
  __syncthreads();
  for_products<Own>(scratch.chunk, a, b, row, low, high, [&](const Product& product) {
    int slot = -1;
    Value value{};
    if (product.active) {
      value = a.values[product.entry] * b.values[product.at];
      slot = is_dense ? product.column - low : place_of<in_table>(columns, product.column);
    }
    turns.in_order(slot, product.alone, [&] { sums[slot] = added(sums[slot], value); });
  });
  for (int first = 0; first < slots; first += threads) {
    const int i = first + threadIdx.x;
    Key<Value> key = Key<Value>::none();
    if (i < slots && !is_untouched(sums[i]))
      key = Key<Value>::of(rounded_value(sums[i], rounding), is_dense ? low + i : columns[i]);
    best.offer(key);
  }
  __syncthreads();
}

// The best among columns [low, end) of a row.
template <class Value>
__device__ __forceinline__ void search_row(Scratch& scratch, Turns<Own>& turns, unsigned char* shared,
                                           Best<Value>& best, const Csr<Value>& a, const Csr<Value>& b, int64_t row,
                                           int64_t low, int64_t end, Rounding rounding) {
  constexpr int64_t most = table_slots<Value> / 4 * 3;
  const Range entries = row_range(a, row);
  int64_t left = low < end ? count_products(scratch, a, b, entries, int32_t(low), int32_t(end)) : 0;
  while (left > 0 && low < end) {
    // As wide as products fit into the table; no wider than a dense slice where that is too narrow.
    int64_t width = end - low, count = left;
    while (count > most && width > dense_slots<Value>) {
      width = max(min(width / 2, int64_t(double(width) * double(most) / double(count))), int64_t{dense_slots<Value>});
      count = count_products(scratch, a, b, entries, int32_t(low), int32_t(low + width));
    }
    const bool is_dense = width <= dense_slots<Value>;
    if (count > 0)
      search_slice(scratch, turns, shared, best, a, b, row, int32_t(low), int32_t(low + width), is_dense, rounding);
    low += width, left -= count;
  }
}

template <class Value>
__device__ __forceinline__ void write_best(const Best<Value>& best, Value* values, int64_t* indices) {
  for (int i = threadIdx.x; i < best.k; i += threads) {
    const bool is_there = i < best.held;
    values[i] = is_there ? best.keys[i].value() : -Value(INFINITY);
    indices[i] = is_there ? best.keys[i].column() : -1;
  }
}

// Where results go: passes after the first begin behind `done` that are there.
template <class Value>
struct Outputs {
  Value* values;
  int64_t* indices;
  int64_t k, done;

  // The last entry that a row has so far; false if there are no more to come.
  __device__ __forceinline__ bool last(int64_t row, Key<Value>& key) const {
    key = Key<Value>::none();
    if (done == 0) return true;
    const int64_t at = row * k + done - 1, index = indices[at];
    if (index >= 0) key = Key<Value>::of(values[at], static_cast<int32_t>(index));
    return index >= 0;
  }
};

// lists [rows, parts, count], if rows are split: the best of each part, or none.
template <class Value>
__global__ void __launch_bounds__(threads, 4)
    search_rows(const Csr<Value> a, const Csr<Value> b, const int64_t parts, const int count, const int room,
                const Rounding rounding, const Outputs<Value> out, Key<Value>* lists) {
  DYNAMIC_SHARED(unsigned char, shared);
  __shared__ Scratch scratch;
  Turns<Own> turns{scratch.claims, 0};
  turns.begin();
  Best<Value> best{reinterpret_cast<Key<Value>*>(shared + slice_bytes), &scratch.count, room, count, 0, {}, {}};
  const int64_t width = (b.columns + parts - 1) / parts;
  for (int64_t unit = blockIdx.x; unit < a.rows * parts; unit += gridDim.x) {
    const int64_t row = unit / parts, low = unit % parts * width;
    Key<Value> after;
    const bool has_more = out.last(row, after);
    best.begin(after);
    if (has_more) search_row(scratch, turns, shared, best, a, b, row, low, min(low + width, b.columns), rounding);
    best.sort();
    if (parts == 1) {
      write_best(best, out.values + row * out.k + out.done, out.indices + row * out.k + out.done);
    } else {
      for (int i = threadIdx.x; i < count; i += threads)
        lists[unit * count + i] = i < best.held ? best.keys[i] : Key<Value>::none();
    }
  }
}

template <class Value>
__global__ void __launch_bounds__(threads, 4)
    merge_parts(const int64_t rows, const int64_t parts, const int count, const int room, const Key<Value>* lists,
                const Outputs<Value> out) {
  DYNAMIC_SHARED(unsigned char, shared);
  __shared__ int held;
  Best<Value> best{reinterpret_cast<Key<Value>*>(shared), &held, room, count, 0, {}, {}};
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    best.begin(Key<Value>::none());
    for (int64_t first = 0; first < parts * count; first += threads) {
      const int64_t i = first + threadIdx.x;
      best.offer(i < parts * count ? lists[row * parts * count + i] : Key<Value>::none());
    }
    best.sort();
    write_best(best, out.values + row * out.k + out.done, out.indices + row * out.k + out.done);
  }
}

template <class Value>
int64_t parts_of(int64_t rows, int64_t columns) {
  if (rows == 0) return 1;
  return clamp(wanted_blocks / rows, 1, clamp(ceil_divide(columns, dense_slots<Value>), 1, wanted_blocks));
}

int64_t pass_of(int64_t k) { return k < most_best ? k : most_best; }

template <class... Parameters>
cudaError_t allow_shared(void (*kernel)(Parameters...), size_t bytes) {
  if (bytes <= 32 << 10) return cudaSuccess;
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
}

}  // namespace

template <class Value>
size_t topk_workspace(int64_t rows, int64_t columns, int64_t k) {
  const int64_t parts = parts_of<Value>(rows, columns);
  Arena arena(nullptr);
  if (parts > 1) arena.take<Key<Value>>(rows * parts * pass_of(k));
  return arena.used();
}

template <class Value>
cudaError_t topk(const Csr<Value>& a, const Csr<Value>& b, int64_t k, Rounding rounding, void* workspace, Value* values,
                 int64_t* indices, cudaStream_t stream) {
  if (a.rows == 0 || k == 0) return cudaSuccess;
  const int64_t parts = parts_of<Value>(a.rows, b.columns);
  Key<Value>* const lists = static_cast<Key<Value>*>(workspace);
  for (int64_t done = 0; done < k; done += most_best) {
    const int count = static_cast<int>(pass_of(k - done)), room = room_for(count);
    const size_t room_bytes = static_cast<size_t>(room) * sizeof(Key<Value>), bytes = slice_bytes + room_bytes;
    const Outputs<Value> out{values, indices, k, done};
    cudaError_t error = allow_shared(search_rows<Value>, bytes);
    if (error == cudaSuccess)
      error = launch(search_rows<Value>, blocks_for(a.rows * parts, 1), dim3(threads), bytes, stream, a, b, parts,
                     count, room, rounding, out, lists);
    if (error != cudaSuccess) return error;
    if (parts == 1) continue;
    error = allow_shared(merge_parts<Value>, room_bytes);
    if (error == cudaSuccess)
      error = launch(merge_parts<Value>, blocks_for(a.rows, 1), dim3(threads), room_bytes, stream, a.rows, parts, count,
                     room, static_cast<const Key<Value>*>(lists), out);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

#define WARPHASH_TOPK(Value)                                                                                  \
  template size_t topk_workspace<Value>(int64_t, int64_t, int64_t);                                           \
  template cudaError_t topk(const Csr<Value>&, const Csr<Value>&, int64_t, Rounding, void*, Value*, int64_t*, \
                            cudaStream_t);
WARPHASH_TOPK(float)
WARPHASH_TOPK(double)
#undef WARPHASH_TOPK

}  // namespace warphash::spgemm
