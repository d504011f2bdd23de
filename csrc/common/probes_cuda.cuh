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

// a * x + b of 32 bits and a minimum, as MinHash has them for each token and permutation; sink as above.
cudaError_t probe_affine_min(int multiprocessors, int rounds, unsigned* sink, cudaStream_t stream);

constexpr int probe_threads = 1024;  // a multiprocessor's block
constexpr int probe_unroll = 8;      // popcs or mmas a thread, or warp, and round; independent of one another
constexpr int affine_unroll = 16;    // minima a thread and round

// ---- probes_cuda_memory.cu: random places ---------------------------------------------------------------------------

// Rows of 8 bytes, or lines of 64, read from a table of so many, a multiple of them; at the address of a line. A thread reads
// probe_unroll rows a round, or the quarters of as many lines.
cudaError_t probe_gather_rows(const void* table, int64_t bytes, int multiprocessors, int rounds, unsigned* sink,
                              cudaStream_t stream);
cudaError_t probe_gather_lines(const void* table, int64_t bytes, int multiprocessors, int rounds, unsigned* sink,
                               cudaStream_t stream);

// How ones are added to a table's rows: float by float, two floats or four by one instruction (of sm_90; before, float by
// float too), or two float16.
enum class Addition { single, pair, quad, halves };
constexpr int64_t addition_bytes(Addition addition) {
  return addition == Addition::quad ? 16 : addition == Addition::halves ? 4 : 8;
}
// A thread adds to probe_unroll groups of addition_bytes a round, at random places of a table of so many bytes.
cudaError_t probe_add(Addition addition, void* table, int64_t bytes, int multiprocessors, int rounds,
                      cudaStream_t stream);

// Counts in shared memory: a thread counts probe_unroll random words of counted_words a round. counts [counted_words] grow
// by what all blocks have counted.
constexpr int counted_words = 4096;
cudaError_t probe_count(int multiprocessors, int rounds, unsigned* counts, cudaStream_t stream);

// Products added to float32 sums in shared memory, whose flags are set. Entries [count], a multiple of probe_threads, are
// read in order by each block, from a place of its own on and round the end. Each warp has a part of a block's sums to itself
// (sums_a_warp), and of 32 entries, which a warp adds at a time, columns differ: nothing is added by atomics. totals
// [multiprocessors] are sums over a block's sums whose flag is set. rounds is a multiple of 4.
cudaError_t probe_accumulate(const unsigned* columns, const float* values, int64_t count, int sums_a_warp,
                             int multiprocessors, int rounds, float* totals, cudaStream_t stream);

}  // namespace warphash
