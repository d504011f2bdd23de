// SPDX-License-Identifier: Apache-2.0
// Rows with very many products, where the device has clusters: the blocks of one do a row together, each a slice of its
// columns (product_slice.cuh) that it alone owns. Bound: as in product_slices.cu, an eighth of it a row.
//
// A block looks at the part of B's rows within its slice, found by search. Blocks tell one another through distributed shared
// memory which row comes next, what columns their share of A's entries spans, and how many entries their slice has: so each
// knows where its own begin before any is written, from one walk. Values stay at home: sums are the CPU's, bit for bit.
//
// Columns are unevenly popular, so that slices of equal width would leave most blocks waiting for one. They are cut where a
// histogram of sampled columns of B says that products are shared out evenly; a sample is the same in all blocks, which
// therefore agree. A row wider than half of what its cluster has bits for takes several rounds.
#include "spgemm/product/product_slice.cuh"

namespace warphash::spgemm {
namespace {

constexpr int bins = Block::size / 2;
constexpr int samples = 8;  // of a row of B; as many rows as the block has threads

struct Together {
  // What the blocks of a cluster tell each other. A block may be a round ahead of those that still read the counts.
  int64_t place;
  int lows[most_cluster], highs[most_cluster], counts[2][most_cluster];
  // The block's own. What is kept of a row stands here, since registers are short.
  int64_t row, first, at;  // first: the round's first column; at: the place of its first entry
  int round;               // 0 and 1 by turns
  int32_t cuts[most_cluster + 1];
  unsigned long long weights[bins], warp_sums[Block::warps], weight;
};
constexpr size_t together_bytes = (sizeof(Together) + 15) / 16 * 16;

// Writes a number into every block of the cluster, where the caller's block has its own. One warp is enough.
template <class Number>
__device__ __forceinline__ void tell(Number* own, Number number) {
  if (threadIdx.x < cluster_size()) *peer_shared(own, threadIdx.x) = number;
}

// Sets together.place to the cluster's next one in the list.
__device__ __forceinline__ void next_row(unsigned long long* taken, Together& together) {
  if (cluster_rank() == 0 && threadIdx.x < 32) {
    unsigned long long next = 0;
    if (threadIdx.x == 0) next = atomicAdd(taken, 1ull);
    tell(&together.place, int64_t(__shfl_sync(all_lanes, next, 0)));
  }
  cluster_sync();
}

// Sets own.low and own.high, each block looking at its share of A's entries.
__device__ __forceinline__ void find_span_together(const SliceJob& job, Together& together, Slice& own) {
  const int rank = int(cluster_rank()), blocks = int(cluster_size());
  find_span(job, own, together.row, rank, blocks);
  tell(together.lows + rank, own.low);
  tell(together.highs + rank, own.high);
  cluster_sync();
  if (threadIdx.x == 0)
    for (int r = 0; r < blocks; ++r) {
      own.low = min(own.low, together.lows[r]);
      own.high = max(own.high, together.highs[r]);
    }
}

// Sets cuts [blocks + 1], no two neighbours further apart than a slice may be wide: from the round's first column to its end,
// which is the row's or half of what the cluster has bits for.
__device__ __forceinline__ void cut_columns(const SliceJob& job, Together& together, int32_t row_high) {
  const int blocks = int(cluster_size());
  const int64_t most = job.layout.columns, low64 = together.first;
  const int32_t low = int32_t(low64), high = int32_t(min(low64 + most * blocks / 2, int64_t(row_high)));
  const int thread = threadIdx.x, width = (high - low + bins - 1) / bins;
  for (int i = thread; i < bins; i += Block::size) together.weights[i] = 0;
  if (thread <= blocks) together.cuts[thread] = low + int(int64_t(high - low) * thread / blocks);
  __syncthreads();
  const Range entries = row_range(job.a, together.row);
  const int64_t all = entries.end - entries.begin, entry = all <= Block::size ? thread : all * thread / Block::size;
  if (entry < all) {
    const Range part = row_range(job.b, __ldg(job.a.col + entries.begin + entry));
    const int64_t length = part.end - part.begin, offset = thread * 40503 % 65536;  // spread evenly over the threads
    for (int s = 0; s < samples && length > 0; ++s) {
      const int32_t column = __ldg(job.b.col + part.begin + ((s << 16) + offset) * length / (samples << 16));
      if (column >= low && column < high)
        atomicAdd(together.weights + (column - low) / width, static_cast<unsigned long long>(length));
    }
  }
  __syncthreads();
  const unsigned long long own = thread < bins ? together.weights[thread] : 0;
  const unsigned long long sum = Block::running_sum(own, together.warp_sums);
  if (thread == Block::size - 1) together.weight = sum;
  __syncthreads();
  for (int cut = 1; cut < blocks; ++cut) {
    const unsigned long long share = together.weight * cut / blocks, before = sum - own;
    if (before < share && share <= sum)
      together.cuts[cut] =
          int32_t(min(int64_t(low) + int64_t(width) * thread + int64_t(width * (share - before) / own), int64_t(high)));
  }
  __syncthreads();
  if (thread == 0)
    for (int cut = 1; cut < blocks; ++cut) {
      const int64_t before = together.cuts[cut - 1], least = int64_t(high) - int64_t(blocks - cut) * most;
      together.cuts[cut] = int32_t(min(max(int64_t(together.cuts[cut]), max(before, least)), before + most));
    }
  __syncthreads();
}

template <class Value, bool counts>
__global__ void __launch_bounds__(block_threads, 2) do_huge_rows(const SliceJob job) {
  if (!has_clusters()) return;  // never launched there
  DYNAMIC_SHARED(char, bytes);
  Together& together = *reinterpret_cast<Together*>(bytes);
  const Shared shared(bytes + together_bytes, job.layout);
  if (job.split_rows() == 0) return;
  Turns<Block> turns{shared.own.claims, 0};
  turns.begin();
  CopyOut out(shared.out, job.layout.half_bytes());
  cluster_sync();
  for (;;) {
    next_row(job.bins.taken + (counts ? count_huge : write_huge), together);
    if (together.place >= job.split_rows()) break;
    if (threadIdx.x == 0) together.row = job.bins.list[together.place];
    __syncthreads();
    find_span_together(job, together, shared.own);
    if (threadIdx.x == 0) {
      together.first = shared.own.low, together.at = counts ? 0 : job.crow[together.row];
      together.round = 0;
    }
    __syncthreads();
    while (together.first < shared.own.high) {
      cut_columns(job, together, shared.own.high);
      const int32_t begin = together.cuts[cluster_rank()], end = together.cuts[cluster_rank() + 1];
      const int count = begin < end ? mark(job, shared, together.row, begin, end) : 0;
      if constexpr (!counts) {
        tell(&together.counts[together.round][cluster_rank()], count);
        cluster_sync();
        if (count > 0) {
          int64_t start = together.at;
          for (int r = 0; r < int(cluster_rank()); ++r) start += together.counts[together.round][r];
          write_slice<Value>(job, shared, turns, out, start, together.row, begin, end);
        }
      }
      __syncthreads();
      if (threadIdx.x == 0) {
        together.first = together.cuts[cluster_size()];
        if (counts)
          together.at += count;
        else
          for (int r = 0; r < int(cluster_size()); ++r) together.at += together.counts[together.round][r];
        together.round ^= 1;
      }
      __syncthreads();
    }
    if (counts && threadIdx.x == 0)
      atomicAdd(reinterpret_cast<unsigned long long*>(job.crow + together.row + 1),
                static_cast<unsigned long long>(together.at));
  }
  out.finish();
}

// How many clusters of so many blocks are on the device at once.
template <class Kernel>
cudaError_t clusters_of(Kernel* kernel, int blocks, size_t shared_bytes, int* clusters) {
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
  return error == cudaSuccess ? most_clusters(clusters, kernel, blocks, block_threads, shared_bytes) : error;
}

template <class Value, bool counts>
cudaError_t run_with(const ProductJob& job, cudaStream_t stream) {
  SliceJob own{};
  static_cast<ProductJob&>(own) = job;
  own.layout = Layout::of(job, sizeof(Value));
  const size_t shared_bytes = together_bytes + own.layout.bytes();
  int clusters = 0;
  const cudaError_t error = clusters_of(do_huge_rows<Value, counts>, job.cluster_blocks, shared_bytes, &clusters);
  if (error != cudaSuccess) return error;
  const int64_t all = clamp(clusters, 1, clamp(job.a.rows, 1, most_at_once));
  return launch_clusters(do_huge_rows<Value, counts>, job.cluster_blocks, dim3(unsigned(all) * job.cluster_blocks),
                         dim3(block_threads), shared_bytes, stream, own);
}

}  // namespace

cudaError_t choose_cluster(int* blocks) {
  // Counting and writing must choose alike, since what is not counted in parts cannot be written so, and cuts depend on the
  // number of blocks. Hence one kernel is asked, with the most shared memory that any takes; registers are bounded alike.
  for (*blocks = most_cluster; *blocks > 1; *blocks /= 2) {
    int clusters = 0;
    const cudaError_t error =
        clusters_of(do_huge_rows<NoValue, true>, *blocks, together_bytes + Layout::largest().bytes(), &clusters);
    if (error != cudaSuccess || clusters > 0) return error;
  }
  *blocks = 0;
  return cudaSuccess;
}

cudaError_t run_huge_rows(const ProductJob& job, cudaStream_t stream) {
  if (job.output.columns.columns == nullptr) return run_with<NoValue, true>(job, stream);
  if (job.values.a == nullptr) return run_with<NoValue, false>(job, stream);
  return with_sum_type(job.values.type,
                       [&](auto value) { return run_with<typename decltype(value)::type, false>(job, stream); });
}

}  // namespace warphash::spgemm
