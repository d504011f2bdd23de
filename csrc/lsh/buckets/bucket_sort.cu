// SPDX-License-Identifier: Apache-2.0
// The stable sort of codes into buckets, all tables at once: counts of digits, where each digit begins, one pass a digit
// (place.cu). Bound: memory; see there.
//
// Up to 4096 buckets there is one pass, and its starts are the offsets. Above, the last pass also writes the codes in
// order, in which a search for each bucket finds where it begins: counting so many buckets would need an atomic an item.
#include "lsh/buckets/digits.cuh"

namespace warphash::lsh {
namespace {

constexpr int most_digit_bits = 8;
constexpr int count_threads = 512, count_batch = 8, start_threads = 256, search_threads = 256;
constexpr int64_t searched_buckets = 1024;  // of a block
constexpr int64_t wanted_blocks = 512;
#if defined(WARPHASH_CUDA_EMULATION)
constexpr int64_t most_starts_blocks = 3, most_search_blocks = 3;
constexpr int most_sorted_bits = 17;
constexpr int64_t least_counted = 512;
#else
constexpr int64_t most_starts_blocks = int64_t{1} << 20, most_search_blocks = int64_t{1} << 20;
constexpr int most_sorted_bits = 32;     // of codes that are written in order
constexpr int64_t least_counted = 4096;  // items of a block
#endif

// How a sort goes: passes over digits of so many bits.
struct Digits {
  int passes, bits;  // of a digit
  int index_bits;    // of a record
  int top_bits;      // of the last digit
  int digits, top_digits;
  Digits(int64_t buckets) {
    int code_bits = 0;
    while (code_bits < 62 && (int64_t{1} << code_bits) < buckets) ++code_bits;
    index_bits = 64 - code_bits;
    passes = 1, bits = top_bits = code_bits, digits = top_digits = int(buckets);
    if (buckets <= most_counted) return;
    passes = int(ceil_divide(code_bits, most_digit_bits));
    bits = int(ceil_divide(code_bits, passes));
    top_bits = code_bits - bits * (passes - 1);
    digits = 1 << bits, top_digits = 1 << top_bits;
  }
  // Of counters in a row, one row of `digits` for each pass.
  int counters() const { return passes * digits; }
};

// Counts [tables, passes, digits] of the codes' digits, in shared memory first. A block has `block_items` items of a table.
__global__ void __launch_bounds__(count_threads)
    count_digits(const void* __restrict__ codes, const int bytes, const int64_t tables, const int64_t items,
                 const Code last, const int passes, const int bits, const int digits, const int64_t block_items,
                 Code* counts) {
  DYNAMIC_SHARED(unsigned, own);
  const int counters = passes * digits;
  const int64_t blocks_a_table = (items + block_items - 1) / block_items;
  for (int64_t block = blockIdx.x; block < tables * blocks_a_table; block += gridDim.x) {
    const int64_t table = block / blocks_a_table, first = block % blocks_a_table * block_items;
    const int count = int(min(block_items, items - first));
    for (int i = threadIdx.x; i < counters; i += count_threads) own[i] = 0;
    __syncthreads();
    for (int begin = threadIdx.x; begin < count; begin += count_threads * count_batch) {
      Code batch[count_batch];
      load_codes(codes, bytes, table * items + first, begin, count_threads, count, last, batch);
#pragma unroll
      for (int j = 0; j < count_batch; ++j) {
        if (begin + j * count_threads >= count) break;
        if (passes == 1) {
          atomicAdd(own + batch[j], 1u);
        } else {
          for (int pass = 0; pass < passes; ++pass)
            atomicAdd(own + pass * digits + (unsigned(batch[j] >> (pass * bits)) & unsigned(digits - 1)), 1u);
        }
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < counters; i += count_threads)
      if (own[i] != 0) atomicAdd(counts + table * counters + i, Code(own[i]));
    __syncthreads();
  }
}

// starts [rows, digits], `stride` apart: counts of a row before. If offsets are asked for, starts are these, with the
// number of items as the last.
__global__ void __launch_bounds__(start_threads)
    find_starts(const Code* __restrict__ counts, const int64_t rows, const int digits, const int64_t items,
                int64_t* starts, const int64_t stride, const bool ends) {
  __shared__ int64_t warp_sums[start_threads / 32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    int64_t before = 0;
    for (int first = 0; first < digits; first += start_threads) {
      const int digit = first + int(threadIdx.x);
      const int64_t own = digit < digits ? int64_t(counts[row * digits + digit]) : 0;
      int64_t sum = own;
#pragma unroll
      for (int step = 1; step < 32; step *= 2) {
        const int64_t left = __shfl_up_sync(all_lanes, sum, step);
        if (lane >= step) sum += left;
      }
      if (lane == 31) warp_sums[warp] = sum;
      __syncthreads();
      int64_t total = 0;
      for (int w = 0; w < start_threads / 32; ++w) {
        if (w == warp) sum += total;
        total += warp_sums[w];
      }
      if (digit < digits) starts[row * stride + digit] = before + sum - own;
      before += total;
      __syncthreads();
    }
    if (ends && threadIdx.x == 0) starts[row * stride + digits] = items;
  }
}

// Codes of a table in order: as they were written, or, where they are too wide for that, by order.
struct Sorted {
  const unsigned* sorted;  // [tables, items], or null
  const int64_t* order;
  const void* codes;
  int bytes;
  Code last;

  __device__ __forceinline__ Code operator()(int64_t row, int64_t i) const {
    if (sorted != nullptr) return __ldg(sorted + row + i);
    Code code[1];
    load_codes(codes, bytes, row + __ldg(order + row + i), 0, 1, 1, last, code);
    return code[0];
  }
  // How many of items [low, high) and before have a code below `bucket`.
  __device__ __forceinline__ int64_t count_below(int64_t row, Code bucket, int64_t low, int64_t high) const {
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if ((*this)(row, middle) < bucket)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
};

// offsets [tables, buckets + 1]. A block has a run of buckets of a table, whose items it finds first.
__global__ void __launch_bounds__(search_threads)
    find_offsets(const Sorted sorted, const int64_t tables, const int64_t items, const int64_t buckets,
                 int64_t* offsets) {
  __shared__ int64_t range[2];
  const int64_t runs = (buckets + searched_buckets) / searched_buckets;  // of buckets + 1
  for (int64_t block = blockIdx.x; block < tables * runs; block += gridDim.x) {
    const int64_t table = block / runs, first = block % runs * searched_buckets;
    const int64_t end = min(first + searched_buckets, buckets + 1);
    const int64_t row = table * items;
    if (threadIdx.x < 2) range[threadIdx.x] = sorted.count_below(row, Code(threadIdx.x == 0 ? first : end), 0, items);
    __syncthreads();
    for (int64_t bucket = first + threadIdx.x; bucket < end; bucket += search_threads)
      offsets[table * (buckets + 1) + bucket] = sorted.count_below(row, Code(bucket), range[0], range[1]);
    __syncthreads();
  }
}

struct Plan {
  Code *counts, *ticket;
  void* states;  // of all passes
  size_t cleared;
  int64_t* starts;
  Record* records;
  unsigned* sorted;
};

size_t state_bytes(const Codes& codes, int digits) {
  return static_cast<size_t>(state_words(codes.tables, codes.items, digits)) * (has_narrow_states(codes.items) ? 4 : 8);
}

Plan plan_sort(const Codes& codes, const Digits& digits, Arena& arena) {
  Plan plan{};
  plan.counts = arena.take<Code>(codes.tables * digits.counters());
  plan.ticket = arena.take<Code>(digits.passes);
  plan.states = arena.take<char>(static_cast<int64_t>(digits.passes * state_bytes(codes, digits.digits)));
  plan.cleared = arena.used();
  if (digits.passes == 1) return plan;
  plan.starts = arena.take<int64_t>(codes.tables * digits.counters());
  plan.records = arena.take<Record>(codes.tables * codes.items);
  if (64 - digits.index_bits <= most_sorted_bits) plan.sorted = arena.take<unsigned>(codes.tables * codes.items);
  return plan;
}

cudaError_t count_all(const Codes& codes, const Digits& digits, Code last, Code* counts, cudaStream_t stream) {
  // Many enough to fill the device, but each with more items than it has counts to add up at its end.
  const int64_t counters = digits.counters(), wanted = ceil_divide(codes.tables * codes.items, wanted_blocks);
  const int64_t block_items = clamp(wanted, least_counted + 4 * counters, 4 * least_counted + 16 * counters);
  const int64_t blocks = clamp(codes.tables * ceil_divide(codes.items, block_items), 1, most_blocks);
  return launch(count_digits, dim3(static_cast<unsigned>(blocks)), dim3(count_threads),
                static_cast<size_t>(digits.counters()) * sizeof(unsigned), stream, codes.data, codes.bytes,
                codes.tables, codes.items, last, digits.passes, digits.bits, digits.digits, block_items, counts);
}

}  // namespace

size_t bucket_sort_workspace(const Codes& codes) {
  if (codes.tables * codes.items == 0) return 0;
  Arena arena(nullptr);
  plan_sort(codes, Digits(codes.buckets), arena);
  return arena.used();
}

cudaError_t bucket_sort(const Codes& codes, void* workspace, int64_t* order, int64_t* inverse, int64_t* offsets,
                        cudaStream_t stream) {
  const int64_t tables = codes.tables, items = codes.items, buckets = codes.buckets;
  if (tables * items == 0)
    return cudaMemsetAsync(offsets, 0, static_cast<size_t>(tables * (buckets + 1)) * sizeof(int64_t), stream);
  if (buckets <= 0) return cudaErrorInvalidValue;
  const Digits digits(buckets);
  if (digits.passes > 1 && digits.index_bits < 63 && items > int64_t{1} << digits.index_bits)
    return cudaErrorInvalidValue;
  Arena arena(workspace);
  const Plan plan = plan_sort(codes, digits, arena);
  const Code last = Code(buckets - 1);
  cudaError_t error = cudaMemsetAsync(workspace, 0, plan.cleared, stream);
  if (error == cudaSuccess) error = count_all(codes, digits, last, plan.counts, stream);
  if (error != cudaSuccess) return error;

  const bool counting = digits.passes == 1;
  int64_t* const starts = counting ? offsets : plan.starts;
  const int64_t rows = tables * digits.passes, stride = counting ? buckets + 1 : digits.digits;
  error = launch(find_starts, dim3(static_cast<unsigned>(clamp(rows, 1, most_starts_blocks))), dim3(start_threads), 0,
                 stream, plan.counts, rows, digits.digits, items, starts, stride, counting);
  for (int number = 0; number < digits.passes && error == cudaSuccess; ++number) {
    Pass pass{};
    const int left = digits.passes - 1 - number;
    pass.codes = codes.data, pass.bytes = codes.bytes, pass.last = last;
    pass.index_bits = digits.index_bits;
    pass.shift = number * digits.bits;
    pass.bits = left == 0 ? digits.top_bits : digits.bits;
    pass.digits = left == 0 ? digits.top_digits : digits.digits;
    pass.tables = tables, pass.items = items;
    pass.starts = starts + (counting ? 0 : number * digits.digits);
    pass.start_stride = counting ? stride : digits.counters();
    pass.states = static_cast<char*>(plan.states) + number * state_bytes(codes, digits.digits);
    pass.tickets = plan.ticket + number;
    // Records go to and fro between the workspace and `order`, and the last pass reads them from the workspace.
    Record* const in_order = reinterpret_cast<Record*>(order);
    if (number > 0) pass.records = left % 2 == 0 ? plan.records : in_order;
    if (left > 0) pass.to_records = left % 2 == 1 ? plan.records : in_order;
    pass.order = order, pass.inverse = inverse, pass.sorted = plan.sorted;
    error = place_items(pass, stream);
  }
  if (counting || error != cudaSuccess) return error;

  const Sorted sorted{plan.sorted, order, codes.data, codes.bytes, last};
  const int64_t runs = tables * (buckets / searched_buckets + 1);
  return launch(find_offsets, dim3(static_cast<unsigned>(clamp(runs, 1, most_search_blocks))), dim3(search_threads), 0,
                stream, sorted, tables, items, buckets, offsets);
}

}  // namespace warphash::lsh
