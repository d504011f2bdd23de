// SPDX-License-Identifier: Apache-2.0
// Names the launchers for Python: structs taken apart.
#include "lsh/sketches/sketches.cuh"

namespace warphash::lsh {
namespace {

cudaError_t emulated_minhash(const void* tokens, bool wide, int64_t count, const int64_t* offsets, int64_t sets,
                             const int64_t* a, const int64_t* b, int64_t permutations, int scheme, int32_t* signatures,
                             cudaStream_t stream) {
  const Permutations given{reinterpret_cast<const uint64_t*>(a), reinterpret_cast<const uint64_t*>(b), permutations,
                           static_cast<Scheme>(scheme)};
  return minhash({tokens, wide, count, offsets, sets}, given, reinterpret_cast<uint32_t*>(signatures), stream);
}

cudaError_t emulated_one_permutation(const void* tokens, bool wide, int64_t count, const int64_t* offsets, int64_t sets,
                                     int64_t bins, uint32_t a, uint32_t b, int32_t* signatures, cudaStream_t stream) {
  return one_permutation({tokens, wide, count, offsets, sets}, bins, a, b, reinterpret_cast<uint32_t*>(signatures),
                         stream);
}

Signatures signatures_of(const int32_t* values, int64_t rows, int64_t width) {
  return {reinterpret_cast<const uint32_t*>(values), rows, width};
}

cudaError_t emulated_densify(const int32_t* values, int64_t rows, int64_t width, int64_t seed, int32_t* filled,
                             cudaStream_t stream) {
  return densify(signatures_of(values, rows, width), static_cast<uint64_t>(seed), reinterpret_cast<uint32_t*>(filled),
                 stream);
}

cudaError_t emulated_band_keys(const int32_t* values, int64_t rows, int64_t width, int64_t bands, int64_t* keys,
                               cudaStream_t stream) {
  return band_keys(signatures_of(values, rows, width), bands, keys, stream);
}

cudaError_t emulated_bbit_pack(const int32_t* values, int64_t rows, int64_t width, int bits, uint8_t* codes,
                               cudaStream_t stream) {
  return bbit_pack(signatures_of(values, rows, width), bits, codes, stream);
}

}  // namespace
}  // namespace warphash::lsh

EMULATED_LAUNCHER(minhash, warphash::lsh::emulated_minhash);
EMULATED_LAUNCHER(one_permutation, warphash::lsh::emulated_one_permutation);
EMULATED_LAUNCHER(densify, warphash::lsh::emulated_densify);
EMULATED_LAUNCHER(band_keys, warphash::lsh::emulated_band_keys);
EMULATED_LAUNCHER(bbit_pack, warphash::lsh::emulated_bbit_pack);
