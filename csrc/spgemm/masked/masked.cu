// SPDX-License-Identifier: Apache-2.0
// Which entries of a mask products fall on: a bit an entry, set by whoever finds one, then counted, summed and written out
// row by row. Bound: latency of the look-ups.
//
// A row is looked at from its cheaper side (sides.cuh). Where the mask's columns are searched in B, an entry is done with
// the first row that has it.
#include "spgemm/masked/masked.cuh"

#include "common/scan.cuh"
#include "spgemm/masked/sides.cuh"

namespace warphash::spgemm {
namespace {

constexpr Parts parts_of_mask{false, pattern_part};

struct Workspace {
  unsigned* bits;  // [mask entries / 32]
  int64_t words;
  void *sums, *rows;

  Workspace(Arena& arena, const Pattern& a, const Pattern& mask) : words(ceil_divide(mask.entries, 32)) {
    bits = arena.take<unsigned>(words);
    sums = arena.take<char>(static_cast<int64_t>(running_sums_workspace(a.rows + 1)));
    Arena of_rows(nullptr);
    LongRows(of_rows, a, mask, parts_of_mask);
    rows = arena.take<char>(static_cast<int64_t>(of_rows.used()));
  }
};

__device__ __forceinline__ bool is_set(const unsigned* bits, int64_t at) {
  return (load_relaxed(bits + at / 32) >> (at % 32) & 1) != 0;
}
__device__ __forceinline__ void set(unsigned* bits, int64_t at) {
  if (!is_set(bits, at)) atomicOr(bits + at / 32, 1u << (at % 32));
}

template <int group>
__global__ void __launch_bounds__(threads, blocks_of_multiprocessor<group>)
    find(const LongRows rows, const Pattern a, const Pattern b, const Pattern mask, unsigned* bits) {
  using Own = Group<group>;
  __shared__ Chunk<group> chunks[threads / group];
  Chunk<group>& chunk = chunks[group == 32 ? threadIdx.x / 32 : 0];
  for_rows<group>(a, mask, rows, [&](int64_t row, Range of_mask) {
    const Range of_a = row_range(a, row), whole = row_range(mask, row);
    if (of_mask.begin == of_mask.end || of_a.begin == of_a.end) return;
    if (!is_search_cheaper<Own>(chunk, a, b, of_a, whole)) {
      const int32_t columns = int32_t(b.columns);
      const int32_t low = of_mask.begin == whole.begin ? 0 : __ldg(mask.col + of_mask.begin);
      const int32_t high = of_mask.end == whole.end ? columns : min(__ldg(mask.col + of_mask.end), columns);
      for_products<Own>(chunk, a, b, row, max(low, 0), high, [&](const Product& product) {
        int64_t at = 0;
        if (product.active && has(mask, of_mask, product.column, at)) set(bits, at);
      });
      return;
    }
    for (int64_t at = of_mask.begin + Own::rank(); at < of_mask.end; at += Own::size) {
      const int32_t column = __ldg(mask.col + at);
      if (column < 0 || column >= b.columns) continue;
      int64_t place = 0;
      for (int64_t e = of_a.begin; e < of_a.end; ++e)
        if (has(b, row_range(b, __ldg(a.col + e)), column, place)) {
          atomicOr(bits + at / 32, 1u << (at % 32));
          break;
        }
    }
  });
}

// The bits of up to 32 entries from `at` on, which is before `end`.
__device__ __forceinline__ unsigned bits_at(const unsigned* bits, int64_t at, int64_t end) {
  const int64_t word = at / 32;
  const int shift = int(at % 32), count = int(min(end - at, int64_t{32}));
  const unsigned high = shift + count > 32 ? __ldg(bits + word + 1) : 0u;
  const unsigned both = __funnelshift_r(__ldg(bits + word), high, unsigned(shift));
  return count == 32 ? both : both & ((1u << count) - 1);
}

// A warp a row: counts [rows + 1] begins with 0.
__global__ void __launch_bounds__(threads)
    count_bits(const Pattern mask, const unsigned* __restrict__ bits, int64_t* counts) {
  const int lane = threadIdx.x % 32;
  if (blockIdx.x == 0 && threadIdx.x == 0) counts[0] = 0;
  for (int64_t row = int64_t(blockIdx.x) * warps + threadIdx.x / 32; row < mask.rows;
       row += int64_t(gridDim.x) * warps) {
    const Range range = row_range(mask, row);
    int64_t count = 0;
    for (int64_t at = range.begin + 32 * lane; at < range.end; at += 32 * 32)
      count += __popc(bits_at(bits, at, range.end));
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) count += __shfl_xor_sync(all_lanes, count, distance);
    if (lane == 0) counts[row + 1] = count;
  }
}

__global__ void __launch_bounds__(threads) write_columns(const Pattern mask, const unsigned* __restrict__ bits,
                                                         const int64_t* __restrict__ crow, int32_t* col) {
  const int lane = threadIdx.x % 32;
  for (int64_t row = int64_t(blockIdx.x) * warps + threadIdx.x / 32; row < mask.rows;
       row += int64_t(gridDim.x) * warps) {
    const Range range = row_range(mask, row);
    int64_t to = __ldg(crow + row);
    for (int64_t at = range.begin; at < range.end; at += 32) {
      const unsigned found = bits_at(bits, at, range.end);
      if (found >> lane & 1) col[to + __popc(found & ((1u << lane) - 1))] = __ldg(mask.col + at + lane);
      to += __popc(found);
    }
  }
}

}  // namespace

size_t masked_workspace(const Pattern& a, const Pattern& mask) {
  Arena arena(nullptr);
  const Workspace workspace(arena, a, mask);
  return arena.used();
}

cudaError_t count_masked(const Pattern& a, const Pattern& b, const Pattern& mask, void* workspace, int64_t* crow,
                         cudaStream_t stream) {
  if (mask.rows == 0) return cudaMemsetAsync(crow, 0, sizeof *crow, stream);
  Arena arena(workspace);
  const Workspace own(arena, a, mask);
  cudaError_t error = cudaMemsetAsync(own.bits, 0, static_cast<size_t>(own.words) * sizeof(unsigned), stream);
  if (error == cudaSuccess && a.entries > 0 && b.entries > 0 && mask.entries > 0)
    error = launch_rows(find<32>, find<threads>, SharedBytes{0, 0}, parts_of_mask, a, mask, own.rows, stream, a, b,
                        mask, own.bits);
  const unsigned* const bits = own.bits;
  if (error == cudaSuccess)
    error = launch(count_bits, blocks_for(mask.rows, warps), dim3(threads), 0, stream, mask, bits, crow);
  return error == cudaSuccess ? running_sums(crow, mask.rows + 1, own.sums, stream) : error;
}

cudaError_t write_masked(const Pattern& a, const Pattern& mask, void* workspace, const int64_t* crow, int32_t* col,
                         cudaStream_t stream) {
  if (mask.rows == 0 || mask.entries == 0) return cudaSuccess;
  Arena arena(workspace);
  const Workspace own(arena, a, mask);
  const unsigned* const bits = own.bits;
  return launch(write_columns, blocks_for(mask.rows, warps), dim3(threads), 0, stream, mask, bits, crow, col);
}

}  // namespace warphash::spgemm
