// SPDX-License-Identifier: Apache-2.0
// What becomes of signatures: keys of bands, b-bit codes. Bound: reading them, so four values are one load where rows
// allow it.
#include "lsh/sketches/token_sets.cuh"

namespace warphash::lsh {
namespace {

constexpr int threads = 256;

// Calls body(value) for `count` values; fours: count and all rows are multiples of four values.
template <class Body>
__device__ __forceinline__ void for_values(const uint32_t* values, int64_t count, bool fours, const Body& body) {
  if (fours) {
    for (int64_t i = 0; i < count; i += 4) {
      const uint4 v = __ldg(reinterpret_cast<const uint4*>(values + i));
      body(v.x), body(v.y), body(v.z), body(v.w);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) body(__ldg(values + i));
  }
}

__global__ void __launch_bounds__(threads)
    hash_bands(const uint32_t* __restrict__ signatures, const int64_t sets, const int64_t permutations,
               const int64_t bands, const int64_t band_values, const bool fours, int64_t* keys) {
  const int64_t count = sets * bands, step = int64_t(gridDim.x) * threads;
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < count; i += step) {
    const int64_t set = i / bands, band = i % bands;
    const uint32_t* const row = signatures + set * permutations;
    uint64_t h = static_cast<uint64_t>(band);
    bool empty = true;
    for_values(row + band * band_values, band_values, fours, [&](uint32_t value) {
      h = (h ^ value) * uint64_t{0x9E3779B97F4A7C15};
      h ^= h >> 29;
      empty = empty && value == no_value;
    });
    // Hardly any band of a set that has tokens gets here.
    for (int64_t p = 0; p < permutations && empty; ++p) empty = __ldg(row + p) == no_value;
    keys[i] = empty ? -1 : static_cast<int64_t>(fmix64(h) & ~(uint64_t{1} << 63));
  }
}

// A thread for each byte of the code, for 16 bits for each value.
template <int bits>
__global__ void __launch_bounds__(threads) pack_low_bits(const uint32_t* __restrict__ signatures, const int64_t sets,
                                                         const int64_t permutations, const bool fours, uint8_t* codes) {
  constexpr int unit = bits < 8 ? 8 / bits : 1;  // values of a thread
  const int64_t row_units = (permutations + unit - 1) / unit, step = int64_t(gridDim.x) * threads;
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < sets * row_units; i += step) {
    const int64_t set = i / row_units, first = i % row_units * unit;
    unsigned packed = 0;
    int place = 0;
    for_values(signatures + set * permutations + first, min(int64_t(unit), permutations - first), unit >= 4 && fours,
               [&](uint32_t value) {
                 packed |= (fmix32(value) & ((1u << bits) - 1)) << place;
                 place += bits;
               });
    if constexpr (bits == 16)
      reinterpret_cast<uint16_t*>(codes)[i] = static_cast<uint16_t>(packed);
    else
      codes[i] = static_cast<uint8_t>(packed);
  }
}

bool rows_of_fours(const Signatures& signatures) {
  return reinterpret_cast<uintptr_t>(signatures.values) % 16 == 0 && signatures.width % 4 == 0;
}

template <int bits>
cudaError_t launch_pack(const Signatures& signatures, uint8_t* codes, cudaStream_t stream) {
  const int64_t units = signatures.rows * ceil_divide(signatures.width, bits < 8 ? 8 / bits : 1);
  return launch(pack_low_bits<bits>, blocks_for(units, threads), dim3(threads), 0, stream, signatures.values,
                signatures.rows, signatures.width, rows_of_fours(signatures), codes);
}

}  // namespace

cudaError_t band_keys(const Signatures& signatures, int64_t bands, int64_t* keys, cudaStream_t stream) {
  if (signatures.rows == 0 || bands == 0) return cudaSuccess;
  const int64_t band_values = signatures.width / bands;
  const bool fours = rows_of_fours(signatures) && band_values % 4 == 0;
  return launch(hash_bands, blocks_for(signatures.rows * bands, threads), dim3(threads), 0, stream, signatures.values,
                signatures.rows, signatures.width, bands, band_values, fours, keys);
}

cudaError_t bbit_pack(const Signatures& signatures, int bits, uint8_t* codes, cudaStream_t stream) {
  if (signatures.rows == 0 || signatures.width == 0) return cudaSuccess;
  switch (bits) {
    case 1: return launch_pack<1>(signatures, codes, stream);
    case 2: return launch_pack<2>(signatures, codes, stream);
    case 4: return launch_pack<4>(signatures, codes, stream);
    case 8: return launch_pack<8>(signatures, codes, stream);
    case 16: return launch_pack<16>(signatures, codes, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace warphash::lsh
