// SPDX-License-Identifier: Apache-2.0
// One-permutation hashing, and its empty bins filled.
//
// Bound: one atomic minimum a token. A warp takes a set, its bins in shared memory, 32 tokens at a time; so many bins that
// they do not fit there are updated where the result lies.
#include "lsh/sketches/sketches_densify.h"
#include "lsh/sketches/token_sets.cuh"

namespace warphash::lsh {
namespace {

constexpr int most_warps = 8;
#if defined(WARPHASH_CUDA_EMULATION)
constexpr int64_t most_shared_bytes = 4 << 10;
#else
constexpr int64_t most_shared_bytes = 48 << 10;
#endif

// in_shared: each warp has bins in shared memory. Else the rows of all sets are bins, empty at the beginning.
template <bool in_shared>
__global__ void fill_bins(const Sets sets, const uint32_t bins, const uint32_t a, const uint32_t b,
                          const bool long_sets, const int64_t pieces, uint32_t* signatures) {
  DYNAMIC_SHARED(uint32_t, shared);
  const int warps = blockDim.x / 32, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const auto fill = [&](int64_t set, const Span& span) {
    uint32_t* const row = signatures + set * bins;
    uint32_t* const least = in_shared ? shared + size_t(warp) * bins : row;
    if (in_shared) {
      for (uint32_t bin = lane; bin < bins; bin += 32) least[bin] = no_value;
      __syncwarp();
    }
    for (int64_t place = span.begin + lane; place < span.end; place += 32) {
      const uint32_t value = min(fmix32(a * mixed(sets, place) + b), no_value - 1);
      atomicMin(least + __umulhi(value, bins), value);
    }
    if (!in_shared) return;
    __syncwarp();
    for (uint32_t bin = lane; bin < bins; bin += 32) {
      if (!long_sets)
        row[bin] = least[bin];
      else if (least[bin] != no_value)
        atomicMin(row + bin, least[bin]);
    }
    __syncwarp();
  };
  const int64_t items = long_sets ? pieces : sets.sets;
  for (int64_t item = int64_t(blockIdx.x) * warps + warp; item < items; item += int64_t(gridDim.x) * warps) {
#pragma unroll 1
    for (int turn = 0; turn < 2; ++turn) {
      const Part part = part_of(sets, long_sets, item, turn);
      if (part.set >= 0) fill(part.set, part.span);
    }
  }
}

template <bool in_shared>
cudaError_t launch_bins(const Sets& sets, uint32_t bins, uint32_t a, uint32_t b, uint32_t* signatures, int warps,
                        cudaStream_t stream) {
  const size_t shared_bytes = in_shared ? size_t(warps) * bins * sizeof(uint32_t) : 0;
  const int64_t pieces = pieces_of(sets);
  cudaError_t error = launch(fill_bins<in_shared>, blocks_for(sets.sets, warps), dim3(unsigned(32 * warps)),
                             shared_bytes, stream, sets, bins, a, b, false, int64_t{0}, signatures);
  if (error != cudaSuccess || sets.count <= most_tokens) return error;
  return launch(fill_bins<in_shared>, blocks_for(pieces, warps), dim3(unsigned(32 * warps)), shared_bytes, stream, sets,
                bins, a, b, true, pieces, signatures);
}

constexpr int threads = 256, segment_bins = 256;

// A warp for each segment of a row; start: the low half of the mixed seed.
__global__ void __launch_bounds__(threads) fill_empty(const uint32_t* __restrict__ signatures, const int64_t sets,
                                                      const uint32_t bins, const uint32_t start, uint32_t* out) {
  const int lane = threadIdx.x % 32;
  const int64_t segments = (int64_t(bins) + segment_bins - 1) / segment_bins,
                step = int64_t(gridDim.x) * (threads / 32);
  for (int64_t item = int64_t(blockIdx.x) * (threads / 32) + threadIdx.x / 32; item < sets * segments; item += step) {
    const int64_t set = item / segments, first = item % segments * segment_bins;
    const int64_t end = min(first + segment_bins, int64_t(bins));
    const uint32_t* const row = signatures + set * bins;
    // Whether any bin of the row has a value: mostly the first ones looked at do.
    bool any = false;
    for (int64_t bin = 0; bin < bins && !any; bin += 32) {
      const int64_t at = (first + bin + lane) % bins;
      any = __any_sync(all_lanes, bin + lane < bins && __ldg(row + at) != no_value) != 0;
    }
    for (int64_t bin = first + lane; bin < end; bin += 32) {
      uint32_t value = __ldg(row + bin);
      if (any) {
        for (int t = 0; t < densify_attempts && value == no_value; ++t)
          value = __ldg(row + densify_place(static_cast<uint32_t>(bin), static_cast<uint32_t>(t), start, bins));
        for (int64_t next = bin; value == no_value;) {
          next = next + 1 == bins ? 0 : next + 1;
          value = __ldg(row + next);
        }
      }
      out[set * bins + bin] = value;
    }
  }
}

}  // namespace

cudaError_t one_permutation(const Sets& sets, int64_t bins, uint32_t a, uint32_t b, uint32_t* signatures,
                            cudaStream_t stream) {
  if (bins < 0 || bins >= int64_t{1} << 31) return cudaErrorInvalidValue;
  if (sets.sets == 0 || bins == 0) return cudaSuccess;
  const uint32_t width = static_cast<uint32_t>(bins);
  const int64_t warps = clamp(most_shared_bytes / (4 * bins), 0, most_warps);
  if (warps > 0) return launch_bins<true>(sets, width, a, b, signatures, static_cast<int>(warps), stream);
  const cudaError_t error = cudaMemsetAsync(signatures, 0xff, size_t(sets.sets * bins) * sizeof(uint32_t), stream);
  if (error != cudaSuccess) return error;
  return launch_bins<false>(sets, width, a, b, signatures, most_warps, stream);
}

cudaError_t densify(const Signatures& signatures, uint64_t seed, uint32_t* filled, cudaStream_t stream) {
  const int64_t bins = signatures.width, items = signatures.rows * ceil_divide(bins, segment_bins);
  if (bins < 0 || bins >= int64_t{1} << 31) return cudaErrorInvalidValue;
  if (items == 0) return cudaSuccess;
  return launch(fill_empty, blocks_for(items, threads / 32), dim3(threads), 0, stream, signatures.values,
                signatures.rows, static_cast<uint32_t>(bins), static_cast<uint32_t>(fmix64(seed)), filled);
}

}  // namespace warphash::lsh
