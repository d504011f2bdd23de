// SPDX-License-Identifier: Apache-2.0
// Launchers of sketches of token sets on CUDA: raw pointers, sizes, a stream; they return the launch's error and never
// wait. All pointers, also those inside structs, are device memory. Any size may be zero; then nothing is launched that
// would read. Results are the bits of the CPU kernels (sketches.h says what they are); minima ask for no order.
//
// Offsets are not checked here, only held between 0 and the number of tokens: wrong ones give wrong sketches, never an
// access out of bounds. Nor are the parameters of mersenne61, which are taken modulo 2^61 - 1.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/portable.h"
#include "lsh/sketches/sketches.h"

namespace warphash::lsh {

cudaError_t minhash(const Sets& sets, const Permutations& permutations, uint32_t* signatures, cudaStream_t stream);

cudaError_t one_permutation(const Sets& sets, int64_t bins, uint32_t a, uint32_t b, uint32_t* signatures,
                            cudaStream_t stream);

cudaError_t densify(const Signatures& signatures, uint64_t seed, uint32_t* filled, cudaStream_t stream);

cudaError_t band_keys(const Signatures& signatures, int64_t bands, int64_t* keys, cudaStream_t stream);

cudaError_t bbit_pack(const Signatures& signatures, int bits, uint8_t* codes, cudaStream_t stream);

}  // namespace warphash::lsh
