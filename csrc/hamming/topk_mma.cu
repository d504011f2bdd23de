// SPDX-License-Identifier: Apache-2.0
// Top-k for many queries, on the tensor cores: counts of common bits |q & x|, from which |q ^ x| = |q| + |x| - 2 |q &
// x| follows as well as the Jaccard similarity.
//
// Bound: the comparison of each pair with its query's limit, two instructions, as soon as the tensor cores work on bits
// (m16n8k256, 32768 pairs of bits an instruction); on bytes (m16n8k32) the tensor cores themselves. A block takes 64
// queries, which its 8 warps compare with 32 codes each. Codes go from global memory straight into fragments: each is
// needed by one warp alone, and any order of words will do if queries have the same, so a lane takes 8 bytes in a row.
// Bytes come out of bits in registers: (x >> j) & 0x01010101 are four bits of 32, for j = 0 to 7 all of them.
#include "hamming/tile_lists.cuh"

namespace warphash::hamming {
namespace {

constexpr int warps = 8, warp_codes = 32, round_codes = warps * warp_codes;
constexpr int query_tiles = tile_queries / 16, code_tiles = warp_codes / 8;

// One step of 256 bits: d[m][n] += counts of query tile m and code tile n.
template <bool bytes>
__device__ __forceinline__ void count_common(int (&d)[query_tiles][code_tiles][4], const unsigned (&a)[query_tiles][4],
                                             const unsigned (&b)[code_tiles][2]) {
  if constexpr (!bytes) {
#pragma unroll
    for (int m = 0; m < query_tiles; ++m)
#pragma unroll
      for (int n = 0; n < code_tiles; ++n) mma_m16n8k256_b1_and(d[m][n], a[m], b[n]);
  } else {
    constexpr unsigned lowest = 0x01010101u;
#pragma unroll 1
    for (int j = 0; j < 8; ++j) {
      unsigned codes[code_tiles][2];
#pragma unroll
      for (int n = 0; n < code_tiles; ++n) codes[n][0] = b[n][0] >> j & lowest, codes[n][1] = b[n][1] >> j & lowest;
#pragma unroll
      for (int m = 0; m < query_tiles; ++m) {
        unsigned query[4];
#pragma unroll
        for (int r = 0; r < 4; ++r) query[r] = a[m][r] >> j & lowest;
#pragma unroll
        for (int n = 0; n < code_tiles; ++n) mma_m16n8k32_s8(d[m][n], query, codes[n]);
      }
    }
  }
}

template <Metric metric, bool bytes, int alignment>
__global__ void __launch_bounds__(32 * warps) compare(const Search search, const Lists lists) {
  __shared__ TileState state;
  DYNAMIC_SHARED(Entry, scratches);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = lane / 4, member = lane % 4;
  TileLists<warps, round_codes> tile(search, lists, state, scratches);

  // Rows of this thread's counts: half h of query tile m is row 16 m + 8 h + group.
  unsigned query_sizes[query_tiles][2];
#pragma unroll
  for (int m = 0; m < query_tiles; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) query_sizes[m][h] = search.sizes[tile.first_query() + 16 * m + 8 * h + group];

  for (int64_t first = tile.begin(); first < tile.end(); first += round_codes) {
    int d[query_tiles][code_tiles][4] = {};
    int sizes[code_tiles] = {};
    const uint8_t* rows[code_tiles];
#pragma unroll
    for (int n = 0; n < code_tiles; ++n)
      rows[n] = search.database + min(first + warp * warp_codes + 8 * n + group, tile.end() - 1) * search.bytes;
    const unsigned* query_words = search.queries + (tile.first_query() + group) * search.words + 2 * member;
    for (int word = 0; word < search.words; word += word_padding) {
      unsigned a[query_tiles][4], b[code_tiles][2];
#pragma unroll
      for (int m = 0; m < query_tiles; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const uint2 v =
              __ldg(reinterpret_cast<const uint2*>(query_words + int64_t(16 * m + 8 * h) * search.words + word));
          a[m][h] = v.x, a[m][h + 2] = v.y;
        }
#pragma unroll
      for (int n = 0; n < code_tiles; ++n) {
        load_words<alignment>(rows[n], 4 * int64_t(word + 2 * member), search.bytes, b[n]);
        sizes[n] += __popc(b[n][0]) + __popc(b[n][1]);
      }
      count_common<bytes>(d, a, b);
    }
    // Sizes of the codes in this thread's columns 2 * member and 2 * member + 1; so far a lane has a part of code
    // `group`.
    int code_sizes[code_tiles][2];
#pragma unroll
    for (int n = 0; n < code_tiles; ++n) {
      int size = sizes[n];
      size += __shfl_xor_sync(all_lanes, size, 1);
      size += __shfl_xor_sync(all_lanes, size, 2);
      code_sizes[n][0] = __shfl_sync(all_lanes, size, 8 * member);
      code_sizes[n][1] = __shfl_sync(all_lanes, size, 8 * member + 4);
    }
    bool passes = false, full = false;
#pragma unroll
    for (int m = 0; m < query_tiles; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int row = 16 * m + 8 * h + group;
        Filter<metric> filter;
        filter.set(state.key_limits[row], query_sizes[m][h], tile.exists(row));
#pragma unroll
        for (int n = 0; n < code_tiles; ++n)
          passes |=
              filter.passes(d[m][n][2 * h], code_sizes[n][0]) | filter.passes(d[m][n][2 * h + 1], code_sizes[n][1]);
      }
    if (passes) {
      // A row at a time, so that this rarely taken code stays small; registers cannot be indexed, so its counts are
      // picked.
#pragma unroll 1
      for (int r = 0; r < 2 * query_tiles; ++r) {
        int common[code_tiles][2] = {};
        unsigned query_size = 0;
#pragma unroll
        for (int m = 0; m < query_tiles; ++m)
#pragma unroll
          for (int h = 0; h < 2; ++h) {
            const bool here = r == 2 * m + h;
            query_size = here ? query_sizes[m][h] : query_size;
#pragma unroll
            for (int n = 0; n < code_tiles; ++n)
#pragma unroll
              for (int i = 0; i < 2; ++i) common[n][i] = here ? d[m][n][2 * h + i] : common[n][i];
          }
#pragma unroll
        for (int n = 0; n < code_tiles; ++n)
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const unsigned key = Filter<metric>::key(common[n][i], query_size, code_sizes[n][i]);
            full |= tile.offer(8 * r + group, key, first + warp * warp_codes + 8 * n + 2 * member + i);
          }
      }
    }
    tile.end_round(full);
  }
  tile.finish();
}

template <Metric metric, bool bytes>
cudaError_t launch_compare(const Search& search, int alignment, const Lists& lists, cudaStream_t stream) {
  const int64_t tiles = (search.query_count + tile_queries - 1) / tile_queries;
  const size_t shared_bytes = size_t(warps) * lists.capacity * sizeof(Entry);
  return with_alignment<8, 4, 1>(alignment, [&](auto constant) {
    auto kernel = compare<metric, bytes, constant.value>;
    cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_bytes));
    if (error != cudaSuccess) return error;
    return launch(kernel, dim3(unsigned(tiles * lists.splits)), dim3(32 * warps), shared_bytes, stream, search, lists);
  });
}

}  // namespace

// A round may bring every code; as much again behind the k that stay.
int mma_capacity(int k) { return power_of_two_from(k + round_codes); }

cudaError_t mma_topk(Metric metric, Algorithm algorithm, const Search& search, int alignment, const Lists& lists,
                     cudaStream_t stream) {
  const bool bytes = algorithm == Algorithm::mma_s8;
  if (metric == Metric::distance)
    return bytes ? launch_compare<Metric::distance, true>(search, alignment, lists, stream)
                 : launch_compare<Metric::distance, false>(search, alignment, lists, stream);
  return bytes ? launch_compare<Metric::jaccard, true>(search, alignment, lists, stream)
               : launch_compare<Metric::jaccard, false>(search, alignment, lists, stream);
}

}  // namespace warphash::hamming
