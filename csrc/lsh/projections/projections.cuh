// SPDX-License-Identifier: Apache-2.0
// Launchers of hash codes of dense vectors on CUDA: raw pointers, sizes, a stream; they return the launch's error and
// never wait. All pointers, also those inside Vectors and Weights, are device memory. Any size may be zero; then nothing
// is launched that would read. Workspaces are the caller's, of the size that the function beside tells, aligned to 256
// bytes. `multiprocessors` is the device's count: it sets how work is cut, never a result.
//
// All codes but those of simhash_fast are the bits of the CPU kernels (projections.h says what they are).
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/portable.h"
#include "lsh/projections/projections.h"

namespace warphash::lsh {

cudaError_t simhash(const Vectors& x, const Weights& planes, int64_t bits, uint8_t* codes, cudaStream_t stream);

// Tensor cores: values and planes rounded to bfloat16, sums in float32. Vectors are not float64.
size_t simhash_fast_workspace(const Vectors& x, int64_t bits);
cudaError_t simhash_fast(const Vectors& x, const Weights& planes, int64_t bits, int multiprocessors, void* workspace,
                         uint8_t* codes, cudaStream_t stream);

cudaError_t simhash_codes(const Vectors& x, const Weights& planes, int64_t hashes, int bits, bool gray, int32_t* codes,
                          cudaStream_t stream);

cudaError_t pstable(const Vectors& x, const Weights& directions, const Weights& offsets, int64_t hashes, double width,
                    int32_t* codes, cudaStream_t stream);

// Of hd3 and cross_polytope; 0 unless vectors are too long for shared memory.
size_t rotation_workspace(const Vectors& x, int64_t rotations, int multiprocessors);
cudaError_t hd3(const Vectors& x, const uint8_t* signs, int64_t rotations, int64_t bits, int multiprocessors,
                void* workspace, uint8_t* codes, cudaStream_t stream);
cudaError_t cross_polytope(const Vectors& x, const uint8_t* signs, int64_t tables, int multiprocessors, void* workspace,
                           int32_t* codes, cudaStream_t stream);

}  // namespace warphash::lsh
