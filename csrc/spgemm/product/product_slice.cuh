// SPDX-License-Identifier: Apache-2.0
// What a block does with a slice of a row's columns, with a bit a column in shared memory.
//
// All products set their bit; sums of popcounts over groups of bits then give the number of entries, the columns in order
// without a sort, and to each product the place of its sum. Where a slice has more entries than shared memory has sums,
// its products are walked in parts, cut between groups of bits. In every part rows of B are cut by search, so that no
// product is looked at twice in a walk. No value is added by atomics. Columns and sums are gathered in shared memory and
// leave it in one piece (copy_out.cuh).
#pragma once

#include "spgemm/product/copy_out.cuh"
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
  int columns;    // of a slice, a multiple of group_columns
  int out_bytes;  // of results; 0 where rows are counted

  // The most that a slice has room for; that of a job, with values of so many bytes.
  static __host__ Layout largest() { return {slice_columns, most_sum_bytes}; }
  static __host__ Layout of(const ProductJob& job, size_t value_bytes) {
    const int64_t groups = clamp(ceil_divide(job.b.columns, group_columns), 1, slice_columns / group_columns);
    const int64_t columns = groups * group_columns, index_bytes = job.output.columns.wide ? 8 : 4;
    if (job.output.columns.columns == nullptr) return {int(columns), 0};
    return {int(columns), int(clamp(columns * clamp(index_bytes, value_bytes, 8), 0, most_sum_bytes))};
  }

  __host__ __device__ int words() const { return columns / 32; }
  // One more than groups; a multiple of four keeps the results aligned.
  __host__ __device__ int ranks() const { return (columns / group_columns + 4) / 4 * 4; }
  __host__ __device__ int half_bytes() const { return out_bytes / 2 + CopyOut::slack; }
  __host__ __device__ size_t bytes() const {
    return (sizeof(Slice) + 15) / 16 * 16 + size_t(words() + ranks()) * 4 + size_t(half_bytes()) * 2;
  }
};

struct SliceJob : ProductJob {
  Layout layout;
  int above;  // rows of higher classes are done
};

struct Shared {
  Slice& own;
  unsigned* words;  // a bit a column
  int* ranks;       // of each group: how many bits are set before it; then how many in all
  char* out;

  __device__ __forceinline__ Shared(char* bytes, const Layout& layout) : own(*reinterpret_cast<Slice*>(bytes)) {
    constexpr size_t begin = (sizeof(Slice) + 15) / 16 * 16;
    words = reinterpret_cast<unsigned*>(bytes + begin);
    ranks = reinterpret_cast<int*>(words + layout.words());
    out = reinterpret_cast<char*>(ranks + layout.ranks());
  }

  // How many bits are set before those of a word.
  __device__ __forceinline__ int rank_of_word(int word) const {
    const int group = word / group_words;
    int rank = ranks[group];
    for (int w = group * group_words; w < word; ++w) rank += __popc(words[w]);
    return rank;
  }
  // How many bits are set before a column of the slice; -1 if its own is not.
  __device__ __forceinline__ int rank_of(int column) const {
    const unsigned bits = words[column / 32], bit = 1u << (column % 32);
    return (bits & bit) == 0 ? -1 : rank_of_word(column / 32) + __popc(bits & (bit - 1));
  }
  // Behind the groups from `first` on that have at most so many entries; at least one group.
  __device__ __forceinline__ int end_of_part(int first, int groups, int most) const {
    int end = first + 1;
    while (end < groups) {
      const int middle = (end + groups + 1) / 2;
      if (ranks[middle] - ranks[first] <= most)
        end = middle;
      else
        groups = middle - 1;
    }
    return end;
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
__device__ __forceinline__ int mark(const SliceJob& job, const Shared& shared, int64_t row, int32_t low, int32_t high) {
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

// `to`: where the slice's first column goes.
template <class Index>
__device__ __forceinline__ void write_columns(const Shared& shared, CopyOut& out, Index* to, int32_t low, int groups) {
  for (int first = 0, end; first < groups; first = end) {
    end = shared.end_of_part(first, groups, out.most_of_half<Index>());
    const int before = shared.ranks[first], count = shared.ranks[end] - before;
    if (count == 0) continue;
    Index* const columns = out.take<Index>(to + before, count);
    for (int word = first * group_words + threadIdx.x; word < end * group_words; word += Block::size) {
      unsigned bits = shared.words[word];
      if (bits == 0) continue;
      for (int at = shared.rank_of_word(word) - before; bits != 0; bits &= bits - 1)
        columns[at++] = low + 32 * word + __ffs(int(bits)) - 1;
    }
    out.send(to + before, columns, count);
  }
}

// start: the place of the slice's first entry in the result.
template <class Value>
__device__ __forceinline__ void write_values(const SliceJob& job, const Shared& shared, Turns<Block>& turns,
                                             CopyOut& out, int64_t start, int64_t row, int32_t low, int32_t high,
                                             int groups) {
  const Value *const a_values = static_cast<const Value*>(job.values.a), *const b_values =
                                                                             static_cast<const Value*>(job.values.b);
  const bool converted = job.values.type == ValueType::float16 || job.values.type == ValueType::bfloat16;
  for (int first = 0, end; first < groups; first = end) {
    end = shared.end_of_part(first, groups, job.layout.out_bytes / int(sizeof(Value)));
    const int before = shared.ranks[first], count = shared.ranks[end] - before;
    if (count == 0) continue;
    Value* const to = converted ? nullptr : static_cast<Value*>(job.output.values) + start + before;
    Value* const sums = out.take<Value>(to, count);
    for (int i = threadIdx.x; i < count; i += Block::size) sums[i] = zero_of<Value>(job.values.semiring);
    __syncthreads();
    const int32_t part_low = low + first * group_columns,
                  part_high = int32_t(min(int64_t(low) + int64_t(end) * group_columns, int64_t(high)));
    for_columns(job, shared.own, row, part_low, part_high, [&](const Product& product) {
      const int rank = product.active ? shared.rank_of(product.column - low) : -1;
      const int place = rank < 0 ? -1 : rank - before;
      turns.in_order(place, product.alone, [&] {
        const Value value = times(job.values.semiring, __ldg(a_values + product.entry), __ldg(b_values + product.at));
        sums[place] = plus(job.values.semiring, sums[place], value);
      });
    });
    if (converted)
      out.send_by(count, [&](int i) { store_value(job.output.values, start + before + i, sums[i], job.values.type); });
    else
      out.send(to, sums, count);
  }
}

// What mark() found.
template <class Value>
__device__ __forceinline__ void write_slice(const SliceJob& job, const Shared& shared, Turns<Block>& turns,
                                            CopyOut& out, int64_t start, int64_t row, int32_t low, int32_t high) {
  const int groups = (high - low + group_columns - 1) / group_columns;
  if (job.output.columns.wide)
    write_columns(shared, out, static_cast<int64_t*>(job.output.columns.columns) + start, low, groups);
  else
    write_columns(shared, out, static_cast<int32_t*>(job.output.columns.columns) + start, low, groups);
  if constexpr (!std::is_same_v<Value, NoValue>)
    write_values<Value>(job, shared, turns, out, start, row, low, high, groups);
  __syncthreads();
}

// Sets the row's own.low and own.high: from the least first to the greatest last column of the rows of B. Block `rank` of
// `size` looks at its part of them alone.
__device__ __forceinline__ void find_span(const SliceJob& job, Slice& own, int64_t row, int rank = 0, int size = 1) {
  const int32_t columns = int32_t(job.b.columns);
  if (threadIdx.x == 0) own.low = columns, own.high = 0;
  __syncthreads();
  const Range entries = row_range(job.a, row);
  int32_t low = columns, high = 0;
  for (int64_t e = entries.begin + rank * Block::size + threadIdx.x; e < entries.end; e += size * Block::size) {
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

}  // namespace
}  // namespace warphash::spgemm
