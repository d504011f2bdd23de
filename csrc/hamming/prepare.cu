// SPDX-License-Identifier: Apache-2.0
// Queries brought into the form that the search kernels read. Bound: nothing, the queries are few; the tables of
// asymmetric scores are the largest part, 16 bytes a bit of a query, and are written once.
#include "hamming/keys.cuh"

namespace warphash::hamming {
namespace {

constexpr int threads = 256;

// One warp a padded row: its words and its popcount.
__global__ void __launch_bounds__(threads)
    pad_queries(const uint8_t* __restrict__ queries, int64_t query_count, int64_t bytes, int words, int64_t rows,
                unsigned* padded, unsigned* sizes) {
  const int64_t row = (int64_t(blockIdx.x) * threads + threadIdx.x) / 32;
  const int lane = threadIdx.x % 32;
  if (row >= rows) return;
  unsigned size = 0;
  for (int word = lane; word < words; word += 32) {
    unsigned value[1] = {0};
    if (row < query_count) load_words<1>(queries + row * bytes, int64_t(word) * 4, bytes, value);
    padded[row * words + word] = value[0];
    size += __popc(value[0]);
  }
  size = __reduce_add_sync(0xffffffffu, size);
  if (lane == 0) sizes[row] = size;
}

// One thread a nibble: the 16 sums ((s0 + s1) + s2) + s3, s_i = +q_i where the bit is set and -q_i where not.
__global__ void __launch_bounds__(threads) fill_tables(const float* __restrict__ weights, int64_t query_count,
                                                       int64_t bytes, int64_t nibbles, int64_t count, float* tables) {
  const int64_t step = int64_t(gridDim.x) * threads;
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < count; i += step) {
    const int64_t row = i / nibbles, nibble = i % nibbles;
    float q[4] = {};
    if (row < query_count && nibble < 2 * bytes)
      for (int j = 0; j < 4; ++j) q[j] = weights[row * 8 * bytes + 4 * nibble + j];
#pragma unroll
    for (int bits = 0; bits < 16; ++bits) {
      float sum = bits & 1 ? q[0] : -q[0];
#pragma unroll
      for (int j = 1; j < 4; ++j) sum = __fadd_rn(sum, bits >> j & 1 ? q[j] : -q[j]);
      tables[i * 16 + bits] = sum;
    }
  }
}

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }
int padded_words(int64_t bytes) { return static_cast<int>(round_up((bytes + 3) / 4, word_padding)); }

}  // namespace

size_t prepared_bytes(Metric metric, int64_t query_count, int64_t bytes) {
  const size_t rows = static_cast<size_t>(round_up(query_count, query_padding(metric, bytes))),
               words = padded_words(bytes);
  if (metric == Metric::score) return rows * words * 128 * sizeof(float);
  return rows * (words + 1) * sizeof(unsigned);
}

int alignment_of(const Problem& problem) {
  const uint64_t both = reinterpret_cast<uintptr_t>(problem.database) | static_cast<uint64_t>(problem.bytes);
  return both % 16 == 0 ? 16 : both % 8 == 0 ? 8 : both % 4 == 0 ? 4 : 1;
}

cudaError_t prepare(Metric metric, const Problem& problem, int64_t first_query, int64_t query_count, void* prepared,
                    Search* search, cudaStream_t stream) {
  const int words = padded_words(problem.bytes);
  const int64_t rows = round_up(query_count, query_padding(metric, problem.bytes));
  *search = {};
  search->database = problem.database;
  search->mask_stride = problem.mask_per_query ? problem.database_count : 0;
  search->mask = problem.mask == nullptr ? nullptr : problem.mask + first_query * search->mask_stride;
  search->query_count = query_count;
  search->database_count = problem.database_count;
  search->bytes = problem.bytes;
  search->words = words;
  if (metric == Metric::score) {
    float* tables = static_cast<float*>(prepared);
    search->tables = tables;
    const int64_t nibbles = int64_t(words) * 8, count = rows * nibbles, blocks = (count + threads - 1) / threads;
    if (count == 0) return cudaSuccess;
    return launch(fill_tables, dim3(static_cast<unsigned>(blocks < 65536 ? blocks : 65536)), dim3(threads), 0, stream,
                  problem.weights + first_query * 8 * problem.bytes, query_count, problem.bytes, nibbles, count,
                  tables);
  }
  unsigned* padded = static_cast<unsigned*>(prepared);
  unsigned* sizes = padded + rows * words;
  search->queries = padded;
  search->sizes = sizes;
  return launch(pad_queries, dim3(static_cast<unsigned>((rows * 32 + threads - 1) / threads)), dim3(threads), 0, stream,
                problem.queries + first_query * problem.bytes, query_count, problem.bytes, words, rows, padded, sizes);
}

}  // namespace warphash::hamming
