// SPDX-License-Identifier: Apache-2.0
// Top-k for many queries by Hopper's warpgroup instructions, which reach rates that mma.sync does not. Compiled for
// sm_90a alone, not emulated and NOT YET RUN ON A CARD: topk_mma.cu is the twin that is tested in its place, and topk()
// never chooses this by itself. Lists, limits and keys are the twin's (tile_lists.cuh).
//
// Bound: as the twin, but for bytes the tensor cores' full rate. Codes are the 64 rows of a, in registers; 64 queries
// are the columns of b, laid out in shared memory once a block. Registers and shared memory use the same order of words
// (a lane takes words 2 * member and 2 * member + 1 of each 8), and for bytes the same four bits a byte step.
#include "common/wgmma.cuh"
#include "hamming/tile_lists.cuh"

namespace warphash::hamming {
namespace {

constexpr int warps = 8, group_codes = 64, round_codes = warps / 4 * group_codes;
constexpr int column_tiles = tile_queries / 8;
static_assert(tile_queries == wgmma_columns);

// Place p of a step's 8 words holds this word, so that a lane's a[0], a[1] and a[2], a[3] are neighbours in memory.
__device__ __forceinline__ int word_at(int p) { return p < 4 ? 2 * p : 2 * (p - 4) + 1; }

template <Metric metric, bool bytes, int alignment>
__global__ void __launch_bounds__(32 * warps) compare_warpgroups(const Search search, const Lists lists) {
  __shared__ TileState state;
  DYNAMIC_SHARED(uint8_t, dynamic);
  constexpr int parts = bytes ? 8 : 1;  // instructions a step of 8 words
  const int steps = search.words / word_padding;
  uint8_t* const columns = dynamic;
  Entry* const scratches = reinterpret_cast<Entry*>(dynamic + steps * parts * wgmma_step_bytes);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = lane / 4, member = lane % 4;
  TileLists<warps, round_codes> tile(search, lists, state, scratches);

  for (int i = threadIdx.x; i < tile_queries * search.words; i += 32 * warps) {
    const int query = i / search.words, step = i % search.words / 8, place = i % 8;
    const unsigned word = search.queries[(tile.first_query() + query) * search.words + 8 * step + word_at(place)];
#pragma unroll
    for (int j = 0; j < parts; ++j)
      *reinterpret_cast<unsigned*>(columns + (step * parts + j) * wgmma_step_bytes + wgmma_offset(query, 4 * place)) =
          bytes ? word >> j & 0x01010101u : word;
  }
  fence_shared_for_async();
  __syncthreads();

  // Columns of this thread's counts: 8 n + 2 * member + i. Rows: half h is code group + 8 h of the warp's 16.
  unsigned query_sizes[column_tiles][2];
#pragma unroll
  for (int n = 0; n < column_tiles; ++n)
#pragma unroll
    for (int i = 0; i < 2; ++i) query_sizes[n][i] = search.sizes[tile.first_query() + 8 * n + 2 * member + i];

  for (int64_t first = tile.begin(); first < tile.end(); first += round_codes) {
    const int64_t code = first + 16 * warp + group;
    const uint8_t* rows[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) rows[h] = search.database + min(code + 8 * h, tile.end() - 1) * search.bytes;
    int d[wgmma_registers] = {}, sizes[2] = {};
    for (int step = 0; step < steps; ++step) {
      unsigned words[2][2], a[parts][4];
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        load_words<alignment>(rows[h], 4 * int64_t(8 * step + 2 * member), search.bytes, words[h]);
        sizes[h] += __popc(words[h][0]) + __popc(words[h][1]);
      }
#pragma unroll
      for (int j = 0; j < parts; ++j)
#pragma unroll
        for (int r = 0; r < 4; ++r) a[j][r] = bytes ? words[r % 2][r / 2] >> j & 0x01010101u : words[r % 2][r / 2];
      wgmma_fence();
#pragma unroll
      for (int j = 0; j < parts; ++j) {
        const uint64_t b = wgmma_descriptor(columns + (step * parts + j) * wgmma_step_bytes);
        if constexpr (bytes)
          wgmma_m64n64k32_s8(d, a[j], b, true);
        else
          wgmma_m64n64k256_b1_and(d, a[j], b, true);
      }
      wgmma_commit();
      wgmma_wait(d);
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      sizes[h] += __shfl_xor_sync(all_lanes, sizes[h], 1);
      sizes[h] += __shfl_xor_sync(all_lanes, sizes[h], 2);
    }
    bool passes = false, full = false;
#pragma unroll
    for (int n = 0; n < column_tiles; ++n)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int row = 8 * n + 2 * member + i;
        Filter<metric> filter;
        filter.set(state.key_limits[row], query_sizes[n][i], tile.exists(row));
        passes |= filter.passes(d[4 * n + i], sizes[0]) | filter.passes(d[4 * n + 2 + i], sizes[1]);
      }
    if (passes) {
      // Two columns at a time, as in the twin.
#pragma unroll 1
      for (int tile_here = 0; tile_here < column_tiles; ++tile_here) {
        int common[4] = {};
        unsigned query_size[2] = {};
#pragma unroll
        for (int n = 0; n < column_tiles; ++n) {
#pragma unroll
          for (int r = 0; r < 4; ++r) common[r] = n == tile_here ? d[4 * n + r] : common[r];
#pragma unroll
          for (int i = 0; i < 2; ++i) query_size[i] = n == tile_here ? query_sizes[n][i] : query_size[i];
        }
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const unsigned key = Filter<metric>::key(common[r], query_size[r % 2], sizes[r / 2]);
          full |= tile.offer(8 * tile_here + 2 * member + r % 2, key, code + 8 * (r / 2));
        }
      }
    }
    tile.end_round(full);
  }
  tile.finish();
}

template <Metric metric, bool bytes>
cudaError_t launch_warpgroups(const Search& search, int alignment, const Lists& lists, cudaStream_t stream) {
  const int64_t tiles = (search.query_count + tile_queries - 1) / tile_queries;
  const size_t columns = size_t(search.words / word_padding) * (bytes ? 8 : 1) * wgmma_step_bytes;
  const size_t shared_bytes = columns + size_t(warps) * lists.capacity * sizeof(Entry);
  constexpr size_t most = 200 << 10;  // of 227 KiB a block may have on sm_90
  if (shared_bytes > most) return cudaErrorNotSupported;
  return with_alignment<8, 4, 1>(alignment, [&](auto constant) {
    auto kernel = compare_warpgroups<metric, bytes, constant.value>;
    cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_bytes));
    if (error != cudaSuccess) return error;
    return launch(kernel, dim3(unsigned(tiles * lists.splits)), dim3(32 * warps), shared_bytes, stream, search, lists);
  });
}

}  // namespace

cudaError_t wgmma_topk(Metric metric, Algorithm algorithm, const Search& search, int alignment, const Lists& lists,
                       cudaStream_t stream) {
  int device = 0, major = 0, minor = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  if (error != cudaSuccess) return error;
  if (major != 9 || minor != 0) return cudaErrorNotSupported;
  const bool bytes = algorithm == Algorithm::wgmma_s8;
  if (metric == Metric::distance)
    return bytes ? launch_warpgroups<Metric::distance, true>(search, alignment, lists, stream)
                 : launch_warpgroups<Metric::distance, false>(search, alignment, lists, stream);
  return bytes ? launch_warpgroups<Metric::jaccard, true>(search, alignment, lists, stream)
               : launch_warpgroups<Metric::jaccard, false>(search, alignment, lists, stream);
}

}  // namespace warphash::hamming
