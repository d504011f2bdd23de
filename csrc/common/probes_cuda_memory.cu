// SPDX-License-Identifier: Apache-2.0
// Random places: how many rows a second are read from a table or added to, and how many words and sums in shared memory.
//
// A place is a hash of a counter, five instructions that need no memory, so that a thread has probe_unroll accesses under
// way and nothing waits but for them. One block of 1024 threads a multiprocessor leaves 64 registers to a thread: 8192
// accesses at once are far more than latency times rate (some hundred cycles, a few accesses a cycle).
#include "common/probes_cuda.cuh"

namespace warphash {
namespace {

__device__ __forceinline__ unsigned mixed(unsigned number) {
  number *= 0x9e3779b1u;
  return (number ^ number >> 15) * 0x85ebca6bu;
}
// One of `count` places, by the upper bits, which are the well mixed ones.
__device__ __forceinline__ unsigned random_place(unsigned number, unsigned count) {
  return __umulhi(mixed(number), count);
}

__device__ __forceinline__ unsigned thread_number() { return blockIdx.x * probe_threads + threadIdx.x; }

__device__ __forceinline__ unsigned folded(uint2 value) { return value.x + value.y; }
__device__ __forceinline__ unsigned folded(uint4 value) { return value.x + value.y + value.z + value.w; }

// `lanes` neighbouring threads read a row together, a Word each.
template <class Word, int lanes>
__global__ void __launch_bounds__(probe_threads, 1)
    gather(const Word* __restrict__ table, const unsigned rows, const int rounds, unsigned* sink) {
  const unsigned readers = gridDim.x * probe_threads / lanes, lane = threadIdx.x % lanes;
  unsigned number = thread_number() / lanes, sum = 0;
  for (int round = 0; round < rounds; ++round) {
    Word values[probe_unroll];
#pragma unroll
    for (int i = 0; i < probe_unroll; ++i, number += readers)
      values[i] = __ldg(table + size_t(random_place(number, rows)) * lanes + lane);
#pragma unroll
    for (int i = 0; i < probe_unroll; ++i) sum += folded(values[i]);
  }
  sink[thread_number()] = sum;
}

template <Addition addition>
__global__ void __launch_bounds__(probe_threads, 1) add(void* table, const unsigned groups, const int rounds) {
  constexpr unsigned two_ones = 0x3c003c00u;  // in float16
  const unsigned threads = gridDim.x * probe_threads;
  unsigned number = thread_number();
  for (int round = 0; round < rounds; ++round)
#pragma unroll
    for (int i = 0; i < probe_unroll; ++i, number += threads) {
      const size_t place = random_place(number, groups);
      float* const floats = static_cast<float*>(table) + place * size_t(addition_bytes(addition) / 4);
      if constexpr (addition == Addition::single) {
        atomicAdd(floats, 1.0f);
        atomicAdd(floats + 1, 1.0f);
      } else if constexpr (addition == Addition::pair) {
        atomic_add_2(floats, 1.0f, 1.0f);
      } else if constexpr (addition == Addition::quad) {
        atomic_add_4(floats, 1.0f, 1.0f, 1.0f, 1.0f);
      } else {
        atomic_add_halves(static_cast<unsigned*>(table) + place, two_ones);
      }
    }
}

__global__ void __launch_bounds__(probe_threads, 1) count_words(const int rounds, unsigned* counts) {
  __shared__ unsigned own[counted_words];
  for (int i = threadIdx.x; i < counted_words; i += probe_threads) own[i] = 0;
  __syncthreads();
  const unsigned threads = gridDim.x * probe_threads;
  unsigned number = thread_number();
  for (int round = 0; round < rounds; ++round)
#pragma unroll
    for (int i = 0; i < probe_unroll; ++i, number += threads) atomicAdd(own + mixed(number) % counted_words, 1u);
  __syncthreads();
  for (int i = threadIdx.x; i < counted_words; i += probe_threads) atomicAdd(counts + i, own[i]);
}

__global__ void __launch_bounds__(probe_threads, 1)
    accumulate(const unsigned* __restrict__ columns, const float* __restrict__ values, const int64_t count,
               const int sums_a_warp, const int rounds, float* totals) {
  DYNAMIC_SHARED(float, all);
  __shared__ float warp_totals[probe_threads / 32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float* const sums = all + warp * sums_a_warp;
  unsigned char* const flags =
      reinterpret_cast<unsigned char*>(all + probe_threads / 32 * sums_a_warp) + warp * sums_a_warp;
  for (int i = lane; i < sums_a_warp; i += 32) sums[i] = 0, flags[i] = 0;
  __syncwarp();
  const int64_t steps = count / probe_threads;
  int64_t step = steps * blockIdx.x / gridDim.x;
  constexpr int ahead = 4;  // entries of so many steps are fetched at once
  for (int round = 0; round < rounds; round += ahead) {
    unsigned column[ahead];
    float product[ahead];
#pragma unroll
    for (int i = 0; i < ahead; ++i) {
      column[i] = __ldg(columns + step * probe_threads + threadIdx.x);
      product[i] = 0.5f * __ldg(values + step * probe_threads + threadIdx.x);
      step = step + 1 == steps ? 0 : step + 1;
    }
#pragma unroll
    for (int i = 0; i < ahead; ++i) {
      sums[column[i]] += product[i];
      flags[column[i]] = 1;
      __syncwarp();
    }
  }
  float total = 0;
  for (int i = lane; i < sums_a_warp; i += 32) total += flags[i] != 0 ? sums[i] : 0.0f;
#pragma unroll
  for (int step = 16; step > 0; step /= 2) total += __shfl_xor_sync(~0u, total, step);
  if (lane == 0) warp_totals[warp] = total;
  __syncthreads();
  if (threadIdx.x > 0) return;
  total = 0;
  for (int w = 0; w < probe_threads / 32; ++w) total += warp_totals[w];
  totals[blockIdx.x] = total;
}

template <Addition addition>
cudaError_t add_with(void* table, int64_t bytes, int multiprocessors, int rounds, cudaStream_t stream) {
  return launch(add<addition>, dim3(unsigned(multiprocessors)), dim3(probe_threads), 0, stream, table,
                unsigned(bytes / addition_bytes(addition)), rounds);
}

}  // namespace

cudaError_t probe_gather_rows(const void* table, int64_t bytes, int multiprocessors, int rounds, unsigned* sink,
                              cudaStream_t stream) {
  return launch(gather<uint2, 1>, dim3(unsigned(multiprocessors)), dim3(probe_threads), 0, stream,
                static_cast<const uint2*>(table), unsigned(bytes / 8), rounds, sink);
}
cudaError_t probe_gather_lines(const void* table, int64_t bytes, int multiprocessors, int rounds, unsigned* sink,
                               cudaStream_t stream) {
  return launch(gather<uint4, 4>, dim3(unsigned(multiprocessors)), dim3(probe_threads), 0, stream,
                static_cast<const uint4*>(table), unsigned(bytes / 64), rounds, sink);
}
cudaError_t probe_add(Addition addition, void* table, int64_t bytes, int multiprocessors, int rounds,
                      cudaStream_t stream) {
  switch (addition) {
    case Addition::single: return add_with<Addition::single>(table, bytes, multiprocessors, rounds, stream);
    case Addition::pair: return add_with<Addition::pair>(table, bytes, multiprocessors, rounds, stream);
    case Addition::quad: return add_with<Addition::quad>(table, bytes, multiprocessors, rounds, stream);
    case Addition::halves: return add_with<Addition::halves>(table, bytes, multiprocessors, rounds, stream);
  }
  return cudaErrorInvalidValue;
}
cudaError_t probe_count(int multiprocessors, int rounds, unsigned* counts, cudaStream_t stream) {
  return launch(count_words, dim3(unsigned(multiprocessors)), dim3(probe_threads), 0, stream, rounds, counts);
}
cudaError_t probe_accumulate(const unsigned* columns, const float* values, int64_t count, int sums_a_warp,
                             int multiprocessors, int rounds, float* totals, cudaStream_t stream) {
  const size_t shared_bytes = size_t(probe_threads / 32) * size_t(sums_a_warp) * (sizeof(float) + 1);
  const cudaError_t error =
      cudaFuncSetAttribute(accumulate, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_bytes));
  if (error != cudaSuccess) return error;
  return launch(accumulate, dim3(unsigned(multiprocessors)), dim3(probe_threads), shared_bytes, stream, columns, values,
                count, sums_a_warp, rounds, totals);
}

}  // namespace warphash
