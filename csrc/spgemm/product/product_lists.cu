// SPDX-License-Identifier: Apache-2.0
// Rows with few products: their columns are a list in shared memory, sorted and freed of equal ones. A warp does a row of
// less than 2^small_class products, a block one of less than 2^list_class where B is too wide for slices. Bound: latency of
// B's rows for the short rows, barriers of the sort for the longer ones.
//
// A product's place in the sums is found by search in the sorted list. So nothing is probed, the list is full, and the
// columns come out in order.
#include "spgemm/product/product_kernels.cuh"
#include "spgemm/semirings.cuh"
#include "spgemm/walk.cuh"

namespace warphash::spgemm {
namespace {

constexpr int32_t no_column = 0x7fffffff;

template <class Group, class Value>
struct List {
  static constexpr bool has_values = !std::is_same_v<Value, NoValue>;
  static constexpr int capacity = 1 << (Group::size == 32 ? small_class : list_class);

  Chunk<Group::size> chunk;
  int64_t place;
  Value sums[has_values ? capacity : 1];
  int32_t columns[capacity];
  unsigned claims[has_values ? Turns<Group>::slots : 1];
  int warp_sums[Group::warps], count;
};

// Ascending; count is a power of two.
template <class Group>
__device__ __forceinline__ void sort(int32_t* columns, int count) {
  for (int span = 2; span <= count; span *= 2)
    for (int distance = span / 2; distance > 0; distance /= 2) {
      for (int i = Group::rank(); i < count / 2; i += Group::size) {
        const int low = 2 * i - (i & (distance - 1)), high = low + distance;
        const int32_t a = columns[low], b = columns[high];
        if ((a > b) == ((low & span) == 0)) columns[low] = b, columns[high] = a;
      }
      Group::sync();
    }
}

// The columns of a row's products, ascending, different, without the excluded ones. Returns how many.
template <class Group, class Value>
__device__ __forceinline__ int make_list(const ProductJob& job, List<Group, Value>& list, int64_t row) {
  constexpr int capacity = List<Group, Value>::capacity;
  const int64_t products = min(job.bins.products[row], int64_t{capacity});
  int count = 32;
  while (count < products) count *= 2;
  for (int i = Group::rank(); i < count; i += Group::size) list.columns[i] = no_column;
  Group::sync();
  for_products<Group>(list.chunk, job.a, job.b, row, 0, int32_t(job.b.columns), [&](const Product& product) {
    if (product.active && product.number < count) list.columns[product.number] = product.column;
  });
  sort<Group>(list.columns, count);
  const Range excluded = job.excluded.crow != nullptr ? row_range(job.excluded, row) : Range{0, 0};
  int kept = 0;
  for (int first = 0; first < count; first += Group::size) {
    const int i = first + Group::rank();
    const int32_t column = i < count ? list.columns[i] : no_column;
    // What was moved down to i - 1 is what stood there, or less than that stands below it.
    bool keep = column != no_column && (i == 0 || list.columns[i - 1] != column);
    if (keep && excluded.begin < excluded.end) {
      const int64_t at = lower_bound(job.excluded.col, excluded.begin, excluded.end, column);
      keep = at == excluded.end || __ldg(job.excluded.col + at) != column;
    }
    const int sum = Group::running_sum(int(keep), list.warp_sums);
    if (Group::rank() == Group::size - 1) list.count = kept + sum;
    Group::sync();
    if (keep) list.columns[kept + sum - 1] = column;
    kept = list.count;
    Group::sync();
  }
  return kept;
}

template <class Group, class Value, bool counts>
__device__ __forceinline__ void do_row(const ProductJob& job, List<Group, Value>& list, int64_t row) {
  const int count = make_list(job, list, row);
  if constexpr (counts) {
    if (Group::rank() == 0) job.crow[row + 1] = count;
  } else {
    const int64_t start = job.crow[row];
    for (int i = Group::rank(); i < count; i += Group::size)
      store_column(job.output.columns, start + i, list.columns[i]);
    if constexpr (List<Group, Value>::has_values) {
      const Value *const a_values = static_cast<const Value*>(job.values.a), *const b_values =
                                                                                 static_cast<const Value*>(
                                                                                     job.values.b);
      for (int i = Group::rank(); i < count; i += Group::size) list.sums[i] = zero_of<Value>(job.values.semiring);
      Turns<Group> turns{list.claims, 0};
      turns.begin();
      for_products<Group>(list.chunk, job.a, job.b, row, 0, int32_t(job.b.columns), [&](const Product& product) {
        int place = -1;
        if (product.active) {
          int low = 0, high = count;
          while (low < high) {
            const int middle = (low + high) / 2;
            if (list.columns[middle] < product.column)
              low = middle + 1;
            else
              high = middle;
          }
          if (low < count && list.columns[low] == product.column) place = low;
        }
        turns.in_order(place, product.alone, [&] {
          const Value value = times(job.values.semiring, __ldg(a_values + product.entry), __ldg(b_values + product.at));
          list.sums[place] = plus(job.values.semiring, list.sums[place], value);
        });
      });
      for (int i = Group::rank(); i < count; i += Group::size)
        store_value(job.output.values, start + i, list.sums[i], job.values.type);
    }
  }
  Group::sync();
}

constexpr int warps = 4;

template <class Value, bool counts>
__global__ void __launch_bounds__(32 * warps, 10) do_small_rows(const ProductJob job) {
  using WarpList = List<Warp, Value>;
  DYNAMIC_SHARED(WarpList, lists);
  const int warp = threadIdx.x / 32;
  for (int64_t row = int64_t(blockIdx.x) * warps + warp; row < job.a.rows; row += int64_t(gridDim.x) * warps) {
    const int64_t products = job.bins.products[row];
    if (products > 0 && products < WarpList::capacity) do_row<Warp, Value, counts>(job, lists[warp], row);
  }
}

template <class Value, bool counts>
__global__ void __launch_bounds__(block_threads, 2) do_lists(const ProductJob job) {
  using BlockList = List<Block, Value>;
  DYNAMIC_SHARED(BlockList, list);
  const int64_t begin = int64_t(job.bins.above[list_class]), end = int64_t(job.bins.above[small_class]);
  unsigned long long* const taken = job.bins.taken + (counts ? count_lists : write_lists);
  for (;;) {
    const int64_t place = begin + next_place(taken, &list->place);
    if (place >= end) return;
    do_row<Block, Value, counts>(job, *list, job.bins.list[place]);
  }
}

template <class Value, bool counts>
cudaError_t run_with(const ProductJob& job, cudaStream_t stream) {
  if (job.has_lists()) {
    const cudaError_t error =
        launch_persistent(do_lists<Value, counts>, block_threads, sizeof(List<Block, Value>), job.a.rows, job, stream);
    if (error != cudaSuccess) return error;
  }
  return launch(do_small_rows<Value, counts>, blocks_for(job.a.rows, warps), dim3(32 * warps),
                warps * sizeof(List<Warp, Value>), stream, job);
}

}  // namespace

cudaError_t run_lists(const ProductJob& job, cudaStream_t stream) {
  if (job.output.columns.columns == nullptr) return run_with<NoValue, true>(job, stream);
  if (job.values.a == nullptr) return run_with<NoValue, false>(job, stream);
  return with_sum_type(job.values.type,
                       [&](auto value) { return run_with<typename decltype(value)::type, false>(job, stream); });
}

}  // namespace warphash::spgemm
