// SPDX-License-Identifier: Apache-2.0
// What the tensor-core kernels share behind the counting of common bits: a quick test of counts against limits, and the
// lists of a tile of 64 queries, kept by a block that goes through its split in rounds.
#pragma once

#include "hamming/lists.cuh"

namespace warphash::hamming {

constexpr int tile_queries = 64;

// A quick test that no key within the limit fails; what it lets through is looked at again by its exact key.
template <Metric metric>
struct Filter;

template <>
struct Filter<Metric::distance> {
  int bound;  // of |x| - 2 |q & x|
  __device__ __forceinline__ void set(unsigned key_limit, unsigned query_size, bool exists) {
    bound = exists ? int(min(key_limit, 0x3fffffffu)) - int(query_size) : -0x40000000;
  }
  __device__ __forceinline__ bool passes(int common, int code_size) const { return code_size - 2 * common <= bound; }
  static __device__ __forceinline__ unsigned key(unsigned common, unsigned query_size, unsigned code_size) {
    return query_size + code_size - 2 * common;
  }
};

template <>
struct Filter<Metric::jaccard> {
  float floor;  // of the similarity, a little low because of the product's rounding
  int size;
  __device__ __forceinline__ void set(unsigned key_limit, unsigned query_size, bool exists) {
    size = int(query_size);
    floor = -1.0f;
    if (key_limit <= key_of_similarity_one) floor = __uint_as_float(key_of_similarity_one - key_limit) * (1.0f - 1e-6f);
    if (!exists) floor = __uint_as_float(0x7f800000u);  // times an empty union it is NaN, which passes nothing either
  }
  __device__ __forceinline__ bool passes(int common, int code_size) const {
    return __int2float_rn(common) >= __fmul_rn(floor, __int2float_rn(size + code_size - common));
  }
  static __device__ __forceinline__ unsigned key(unsigned common, unsigned query_size, unsigned code_size) {
    return jaccard_key(common, query_size + code_size);
  }
};

// In shared memory, a row a query.
struct TileState {
  Entry limits[tile_queries];         // the k-th best entry of this split so far
  unsigned key_limits[tile_queries];  // no key above is wanted: by this split or by another that has got further
  int counts[tile_queries];
};

// warps: of the block, each of which has a scratch of lists.capacity entries. round_codes: what a round may append to a
// row.
template <int warps, int round_codes>
class TileLists {
 public:
  __device__ __forceinline__ TileLists(const Search& search, const Lists& lists, TileState& state, Entry* scratches)
      : search_(search),
        lists_(lists),
        state_(state),
        scratch_(scratches + threadIdx.x / 32 * lists.capacity),
        first_query_(int64_t(blockIdx.x / lists.splits) * tile_queries),
        split_(int(blockIdx.x % lists.splits)) {
    begin_ = split_ * lists.split_codes;
    end_ = min(begin_ + lists.split_codes, search.database_count);
    if (threadIdx.x < tile_queries) {
      state.limits[threadIdx.x] = no_entry, state.counts[threadIdx.x] = 0;
      state.key_limits[threadIdx.x] = rejected - 1;
      if (exists(threadIdx.x)) state.key_limits[threadIdx.x] = min(rejected - 1, common_limit(threadIdx.x));
    }
    __syncthreads();
  }

  __device__ __forceinline__ int64_t first_query() const { return first_query_; }
  __device__ __forceinline__ int64_t begin() const { return begin_; }
  __device__ __forceinline__ int64_t end() const { return end_; }
  __device__ __forceinline__ bool exists(int row) const { return first_query_ + row < search_.query_count; }

  // Appends the code at `index` if it may be among the best. Returns whether the list must be shortened before the next
  // round.
  __device__ __forceinline__ bool offer(int row, unsigned key, int64_t index) {
    const Entry entry = Entry(key) << 32 | unsigned(index - begin_);
    if (!exists(row) || key > state_.key_limits[row] || entry >= state_.limits[row] || index >= end_) return false;
    if (!search_.allowed(first_query_ + row, index)) return false;
    const int position = atomicAdd(&state_.counts[row], 1);
    lists_.list(first_query_ + row, split_)[position] = entry;
    return position + 1 > nearly_full();
  }

  // By all threads at the end of a round; full: a result of offer().
  __device__ __forceinline__ void end_round(bool full) {
    constexpr int refresh_rounds = 8,
                  warp_rows = tile_queries / warps;  // other blocks' limits are looked at now and then
    const bool refresh = ++round_ % refresh_rounds == 0;
    if (!__syncthreads_or(full) && !refresh) return;
    const int first = int(threadIdx.x / 32) * warp_rows;
    for (int row = first; row < first + warp_rows; ++row) {
      if (state_.counts[row] > nearly_full()) shorten(row);
      __syncwarp();
      if (threadIdx.x % 32 == 0 && exists(row))
        state_.key_limits[row] = min(min(rejected - 1, unsigned(state_.limits[row] >> 32)), common_limit(row));
    }
    __syncthreads();
  }

  // By all threads behind the last round: lists sorted, their lengths told.
  __device__ __forceinline__ void finish() {
    for (int row = int(threadIdx.x / 32); row < tile_queries && exists(row); row += warps) {
      shorten(row);
      if (threadIdx.x % 32 == 0)
        lists_.counts[(first_query_ + row) * lists_.splits + split_] = unsigned(state_.counts[row]);
    }
  }

 private:
  __device__ __forceinline__ int nearly_full() const { return lists_.capacity - round_codes; }
  __device__ __forceinline__ unsigned common_limit(int row) const {
    return load_acquire(lists_.key_limits + first_query_ + row);
  }
  __device__ __forceinline__ void shorten(int row) {
    Entry limit;
    const int kept = keep_best(lists_.list(first_query_ + row, split_), state_.counts[row], lists_.k, scratch_, &limit);
    if (threadIdx.x % 32 != 0) return;
    state_.counts[row] = kept, state_.limits[row] = limit;
    if (limit != no_entry) atomicMin(lists_.key_limits + first_query_ + row, unsigned(limit >> 32));
  }

  const Search& search_;
  const Lists& lists_;
  TileState& state_;
  Entry* const scratch_;
  const int64_t first_query_;
  const int split_;
  int64_t begin_, end_;
  int round_ = 0;
};

}  // namespace warphash::hamming
