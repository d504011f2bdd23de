// SPDX-License-Identifier: Apache-2.0
// Rows with many products: a block goes over slices of the columns (product_slice.cuh), from the least to the greatest of
// the row's products. Bound: reading B's rows (twice where values are asked for) and the turns of the sums (walk.cuh), by
// latency rather than bandwidth.
//
// Where the device has no clusters (product_clusters.cu), the columns of the longest rows are cut into parts, a block each.
#include "spgemm/product/product_slice.cuh"

namespace warphash::spgemm {
namespace {

template <class Value, bool counts>
__global__ void __launch_bounds__(block_threads, 2) do_slices(const SliceJob job) {
  DYNAMIC_SHARED(char, bytes);
  const Shared shared(bytes, job.layout);
  Turns<Block> turns{shared.own.claims, 0};
  turns.begin();
  CopyOut out(shared.out, job.layout.half_bytes());
  unsigned long long* const taken = job.bins.taken + (counts ? count_slices : write_slices);
  const int64_t rows = int64_t(job.bins.above[job.above]), split = job.split_rows();
  const int64_t own_parts = job.cluster_blocks > 0 ? 0 : parts;  // of a row that is split
  for (;;) {
    const int64_t item = next_place(taken, &shared.own.place);
    if (item >= rows + split * (own_parts - 1)) break;
    const bool is_part = item < split * own_parts;
    const int64_t place = is_part ? item / parts : item - split * (own_parts - 1);
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
      if constexpr (!counts) write_slice<Value>(job, shared, turns, out, at, row, int32_t(low), end);
      at += count;
    }
    if (counts && threadIdx.x == 0) {
      if (is_part) job.part_counts[item] = at;
      atomicAdd(reinterpret_cast<unsigned long long*>(job.crow + row + 1), static_cast<unsigned long long>(at));
    }
  }
  out.finish();
}

template <class Value, bool counts>
cudaError_t run_with(const ProductJob& job, cudaStream_t stream) {
  SliceJob own{};
  static_cast<ProductJob&>(own) = job;
  own.layout = Layout::of(job, sizeof(Value));
  own.above = job.has_lists() ? list_class : small_class;
  const int64_t most = own.a.rows + (parts - 1) * clamp(own.a.rows, 0, most_split);
  return launch_persistent(do_slices<Value, counts>, block_threads, own.layout.bytes(), most, own, stream);
}

}  // namespace

cudaError_t run_slices(const ProductJob& job, cudaStream_t stream) {
  if (job.output.columns.columns == nullptr) return run_with<NoValue, true>(job, stream);
  if (job.values.a == nullptr) return run_with<NoValue, false>(job, stream);
  return with_sum_type(job.values.type,
                       [&](auto value) { return run_with<typename decltype(value)::type, false>(job, stream); });
}

}  // namespace warphash::spgemm
