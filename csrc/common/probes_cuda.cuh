// SPDX-License-Identifier: Apache-2.0
// Kernels that do one thing as fast as the device can: the limits that benches compare with. Torch-free; the caller
// times them with events.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/portable.h"

namespace warphash {

// to[i] = from[i]; bytes is a multiple of 16, as the addresses are. Reads and writes `bytes`.
cudaError_t probe_copy(const void* from, void* to, int64_t bytes, int multiprocessors, cudaStream_t stream);

// popcs of 32-bit words; sink [multiprocessors * probe_threads] keeps the work from being left out.
cudaError_t probe_popc(int multiprocessors, int rounds, unsigned* sink, cudaStream_t stream);

// mma.sync on bits (m16n8k256) or bytes (m16n8k32); sink as above.
cudaError_t probe_mma_b1(int multiprocessors, int rounds, unsigned* sink, cudaStream_t stream);
cudaError_t probe_mma_s8(int multiprocessors, int rounds, unsigned* sink, cudaStream_t stream);

constexpr int probe_threads = 1024;  // a multiprocessor's block
constexpr int probe_unroll = 8;      // popcs or mmas a thread, or warp, and round; independent of one another

}  // namespace warphash
