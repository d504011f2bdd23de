// SPDX-License-Identifier: Apache-2.0
// Rows with many products: a block goes over slices of the columns, with a bit a column in shared memory. Bound: reading
// B's rows (twice where values are asked for) and the turns of the sums (walk.cuh), by latency rather than bandwidth.
//
// All products set their bit; sums of popcounts over groups of bits then give the number of entries, the columns in order
// without a sort, and to each product the place of its sum. Where a slice has more entries than shared memory has sums,
// its products are walked in parts, cut between groups of bits. In every part rows of B are cut by search, so that no
// product is looked at twice in a walk. No value is added by atomics. Only the columns from the least to the greatest of the
// row's products are gone over.
#include "spgemm/product/product_kernels.cuh"
#include "spgemm/semirings.cuh"
#include "spgemm/walk.cuh"

namespace warphash::spgemm {
namespace {

constexpr int group_words = 4, group_columns = 32 * group_words;

struct Slice {
  Chunk<Block::size> chunk;
  int64_t place;
  unsigned claims[Turns<Block>::slots];
  int warp_sums[Block::warps], count;
  int low, high;  // of the columns that the row's products have
};

// Sizes of what lies behind a Slice in shared memory.
struct Layout {
  int columns, sums;  // of a slice; multiples of group_columns

  __host__ __device__ int words() const { return columns / 32; }
  // One more than groups; an even number keeps the sums aligned.
  __host__ __device__ int ranks() const { return (columns / group_columns + 2) / 2 * 2; }
};

struct SliceJob : ProductJob {
  Layout layout;
  int above;  // rows of higher classes are done
};

template <class Value>
struct Shared {
  Slice& own;
  unsigned* words;  // a bit a column
  int* ranks;       // of each group: how many bits are set before it; then how many in all
  Value* sums;

  __device__ Shared(char* bytes, const Layout& layout) : own(*reinterpret_cast<Slice*>(bytes)) {
    constexpr size_t begin = (sizeof(Slice) + 15) / 16 * 16;
    words = reinterpret_cast<unsigned*>(bytes + begin);
    ranks = reinterpret_cast<int*>(words + layout.words());
    sums = reinterpret_cast<Value*>(ranks + layout.ranks());
  }
  static size_t bytes(const Layout& layout) {
    constexpr bool has_values = !std::is_same_v<Value, NoValue>;
    return (sizeof(Slice) + 15) / 16 * 16 + static_cast<size_t>(layout.words()) * 4 +
           static_cast<size_t>(layout.ranks()) * 4 +
           (has_values ? static_cast<size_t>(layout.sums) * sizeof(Value) : 0);
  }

  // How many bits are set before a column of the slice; -1 if its own is not.
  __device__ __forceinline__ int rank_of(int column) const {
    const int word = column / 32, group = column / group_columns;
    const unsigned bits = words[word], bit = 1u << (column % 32);
    if ((bits & bit) == 0) return -1;
    int rank = ranks[group] + __popc(bits & (bit - 1));
    for (int w = group * group_words; w < word; ++w) rank += __popc(words[w]);
    return rank;
  }
};

// Walks the products of a row whose columns are in [low, high). At the ends of all that the row has, nothing is searched.
template <class Visit>
__device__ __forceinline__ void for_columns(const SliceJob& job, Slice& own, int64_t row, int32_t low, int32_t high,
                                            const Visit& visit) {
  const int32_t from = low <= own.low ? 0 : low, to = high >= own.high ? int32_t(job.b.columns) : high;
  for_products<Block>(own.chunk, job.a, job.b, row, from, to, [&](Product product) {
    product.active = product.active && product.column >= low && product.column < high;
    visit(product);
  });
}

// Sets the bits and ranks of the columns in [low, high). Returns how many there are.
template <class Value>
__device__ __forceinline__ int mark(const SliceJob& job, const Shared<Value>& shared, int64_t row, int32_t low,
                                    int32_t high) {
  const int groups = (high - low + group_columns - 1) / group_columns;
  for (int w = threadIdx.x; w < groups * group_words; w += Block::size) shared.words[w] = 0;
  __syncthreads();
  for_columns(job, shared.own, row, low, high, [&](const Product& product) {
    const int column = product.column - low;
    if (product.active) atomicOr(shared.words + column / 32, 1u << (column % 32));
  });
  if (job.excluded.crow != nullptr) {
    const Range excluded = row_range(job.excluded, row, low, high);
    for (int64_t at = excluded.begin + threadIdx.x; at < excluded.end; at += Block::size) {
      const int32_t column = __ldg(job.excluded.col + at);
      if (column >= low && column < high) atomicAnd(shared.words + (column - low) / 32, ~(1u << ((column - low) % 32)));
    }
    __syncthreads();
  }
  int before = 0;
  for (int first = 0; first < groups; first += Block::size) {
    const int group = first + threadIdx.x;
    int count = 0;
    if (group < groups)
#pragma unroll
      for (int w = 0; w < group_words; ++w) count += __popc(shared.words[group * group_words + w]);
    const int sum = before + Block::running_sum(count, shared.own.warp_sums);
    if (group < groups) shared.ranks[group] = sum - count;
    if (threadIdx.x == Block::size - 1) shared.own.count = sum;
    __syncthreads();
    before = shared.own.count;
  }
  if (threadIdx.x == 0) shared.ranks[groups] = before;
  __syncthreads();
  return before;
}

template <class Value>
__device__ __forceinline__ void write_columns(const SliceJob& job, const Shared<Value>& shared, int64_t start,
                                              int32_t low, int32_t high, int count) {
  const int groups = (high - low + group_columns - 1) / group_columns;
  if (count > (high - low) / 8) {  // a lane a bit: neighbours write to neighbours
    for (int word = threadIdx.x / 32; word < groups * group_words; word += Block::warps) {
      const int column = 32 * word + int(threadIdx.x % 32), rank = shared.rank_of(column);
      if (rank >= 0) store_column(job.output.columns, start + rank, low + column);
    }
    return;
  }
  for (int group = threadIdx.x; group < groups; group += Block::size) {  // a thread a group: empty ones cost little
    int64_t at = start + shared.ranks[group];
    for (int w = group * group_words; w < (group + 1) * group_words; ++w)
      for (unsigned bits = shared.words[w]; bits != 0; bits &= bits - 1)
        store_column(job.output.columns, at++, low + 32 * w + __ffs(int(bits)) - 1);
  }
}

template <class Value>
__device__ __forceinline__ void write_values(const SliceJob& job, const Shared<Value>& shared, Turns<Block>& turns,
                                             int64_t start, int64_t row, int32_t low, int32_t high) {
  const Value *const a_values = static_cast<const Value*>(job.values.a), *const b_values =
                                                                             static_cast<const Value*>(job.values.b);
  const int groups = (high - low + group_columns - 1) / group_columns;
  for (int first = 0; first < groups;) {
    // As many groups as have sums in shared memory.
    const int before = shared.ranks[first];
    int end = first + 1, high_end = groups;
    while (end < high_end) {
      const int middle = (end + high_end + 1) / 2;
      if (shared.ranks[middle] - before <= job.layout.sums)
        end = middle;
      else
        high_end = middle - 1;
    }
    const int count = shared.ranks[end] - before;
    if (count > 0) {
      for (int i = threadIdx.x; i < count; i += Block::size) shared.sums[i] = zero_of<Value>(job.values.semiring);
      __syncthreads();
      const int32_t part_low = low + first * group_columns,
                    part_high = int32_t(min(int64_t(low) + int64_t(end) * group_columns, int64_t(high)));
      for_columns(job, shared.own, row, part_low, part_high, [&](const Product& product) {
        const int rank = product.active ? shared.rank_of(product.column - low) : -1;
        const int place = rank < 0 ? -1 : rank - before;
        turns.in_order(place, product.alone, [&] {
          const Value value = times(job.values.semiring, __ldg(a_values + product.entry), __ldg(b_values + product.at));
          shared.sums[place] = plus(job.values.semiring, shared.sums[place], value);
        });
      });
      for (int i = threadIdx.x; i < count; i += Block::size)
        store_value(job.output.values, start + before + i, shared.sums[i], job.values.type);
      __syncthreads();
    }
    first = end;
  }
}

// Sets the row's own.low and own.high: from the least first to the greatest last column of the rows of B.
__device__ __forceinline__ void find_span(const SliceJob& job, Slice& own, int64_t row) {
  const int32_t columns = int32_t(job.b.columns);
  if (threadIdx.x == 0) own.low = columns, own.high = 0;
  __syncthreads();
  const Range entries = row_range(job.a, row);
  int32_t low = columns, high = 0;
  for (int64_t e = entries.begin + threadIdx.x; e < entries.end; e += Block::size) {
    const Range part = row_range(job.b, __ldg(job.a.col + e));
    if (part.begin == part.end) continue;
    low = min(low, max(__ldg(job.b.col + part.begin), 0));
    high = max(high, min(__ldg(job.b.col + part.end - 1), columns - 1) + 1);
  }
  low = __reduce_min_sync(all_lanes, low), high = __reduce_max_sync(all_lanes, high);
  if (threadIdx.x % 32 == 0) {
    atomicMin(&own.low, low);
    atomicMax(&own.high, high);
  }
  __syncthreads();
}

template <class Value, bool counts>
__global__ void __launch_bounds__(block_threads, 2) do_slices(const SliceJob job) {
  DYNAMIC_SHARED(char, bytes);
  const Shared<Value> shared(bytes, job.layout);
  Turns<Block> turns{shared.own.claims, 0};
  turns.begin();
  unsigned long long* const taken = job.bins.taken + (counts ? count_slices : write_slices);
  const int64_t rows = int64_t(job.bins.above[job.above]);
  const int64_t split = min(int64_t(job.bins.above[huge_class]), int64_t{most_split});
  for (;;) {
    const int64_t item = next_place(taken, &shared.own.place);
    if (item >= rows + split * (parts - 1)) return;
    const bool is_part = item < split * parts;
    const int64_t place = is_part ? item / parts : item - split * (parts - 1);
    const int64_t row = job.bins.list[place];
    find_span(job, shared.own, row);
    int64_t low = shared.own.low, high = shared.own.high, at = counts ? 0 : job.crow[row];
    if (is_part) {
      const int64_t part = item % parts, groups = (high - low + group_columns - 1) / group_columns;
      const int64_t width = (groups + parts - 1) / parts * group_columns;
      if constexpr (!counts)
        for (int p = 0; p < part; ++p) at += job.part_counts[place * parts + p];
      low += part * width, high = min(low + width, high);
    }
    for (; low < high; low += job.layout.columns) {
      const int32_t end = int32_t(min(low + job.layout.columns, high));
      const int count = mark(job, shared, row, int32_t(low), end);
      if constexpr (!counts) {
        write_columns(job, shared, at, int32_t(low), end, count);
        if constexpr (!std::is_same_v<Value, NoValue>) write_values(job, shared, turns, at, row, int32_t(low), end);
        __syncthreads();
      }
      at += count;
    }
    if (counts && threadIdx.x == 0) {
      if (is_part) job.part_counts[item] = at;
      atomicAdd(reinterpret_cast<unsigned long long*>(job.crow + row + 1), static_cast<unsigned long long>(at));
    }
  }
}

template <class Value, bool counts>
cudaError_t run_with(const ProductJob& job, cudaStream_t stream) {
  const int columns =
      static_cast<int>(clamp(ceil_divide(job.b.columns, group_columns), 1, slice_columns / group_columns));
  SliceJob own{};
  static_cast<ProductJob&>(own) = job;
  own.layout.columns = columns * group_columns;
  own.above = job.has_lists() ? list_class : small_class;
  own.layout.sums =
      static_cast<int>(clamp(own.layout.columns, group_columns, static_cast<int64_t>(most_sum_bytes / sizeof(Value))));
  const int64_t most = own.a.rows + (parts - 1) * clamp(own.a.rows, 0, most_split);
  return launch_persistent(do_slices<Value, counts>, block_threads, Shared<Value>::bytes(own.layout), most, own,
                           stream);
}

}  // namespace

cudaError_t run_slices(const ProductJob& job, cudaStream_t stream) {
  if (job.output.columns.columns == nullptr) return run_with<NoValue, true>(job, stream);
  if (job.values.a == nullptr) return run_with<NoValue, false>(job, stream);
  return with_sum_type(job.values.type,
                       [&](auto value) { return run_with<typename decltype(value)::type, false>(job, stream); });
}

}  // namespace warphash::spgemm
