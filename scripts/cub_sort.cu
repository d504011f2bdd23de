// SPDX-License-Identifier: Apache-2.0
// CUB's radix sort of what bucket_sort sorts: codes of several tables with the table in front, so that one sort does all, and
// an index beside each. Prints the milliseconds of each timed sort. Compiled and run by time_sorts.py; no part of the package.
#include <cuda_runtime.h>
#include <cub/device/device_radix_sort.cuh>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "CUDA: %s\n", cudaGetErrorString(error));
  std::exit(1);
}

template <class T>
T* allocated(size_t count) {
  T* memory = nullptr;
  check(cudaMalloc(&memory, count * sizeof(T)));
  return memory;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 5) return std::fprintf(stderr, "usage: cub_sort TABLES ITEMS BITS REPEATS\n"), 2;
  const int tables = std::atoi(arguments[1]), items = std::atoi(arguments[2]), bits = std::atoi(arguments[3]);
  const int repeats = std::atoi(arguments[4]), all = tables * items;
  int table_bits = 0;
  while (1 << table_bits < tables) ++table_bits;
  std::vector<uint32_t> keys(static_cast<size_t>(all)), places(keys.size());
  uint32_t state = 1;
  for (int i = 0; i < all; ++i) {
    state = state * 1664525u + 1013904223u;
    keys[size_t(i)] = uint32_t(i / items) << bits | state >> (32 - bits);
    places[size_t(i)] = uint32_t(i % items);
  }
  auto *from = allocated<uint32_t>(keys.size()), *to = allocated<uint32_t>(keys.size());
  auto *items_from = allocated<uint32_t>(keys.size()), *items_to = allocated<uint32_t>(keys.size());
  check(cudaMemcpy(from, keys.data(), keys.size() * 4, cudaMemcpyHostToDevice));
  check(cudaMemcpy(items_from, places.data(), keys.size() * 4, cudaMemcpyHostToDevice));
  size_t bytes = 0;
  const auto sort = [&](void* workspace) {
    check(cub::DeviceRadixSort::SortPairs(workspace, bytes, from, to, items_from, items_to, all, 0, bits + table_bits));
  };
  sort(nullptr);
  void* const workspace = allocated<char>(bytes);
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin));
  check(cudaEventCreate(&end));
  sort(workspace);
  for (int repeat = 0; repeat < repeats; ++repeat) {
    float milliseconds = 0;
    check(cudaEventRecord(begin));
    sort(workspace);
    check(cudaEventRecord(end));
    check(cudaEventSynchronize(end));
    check(cudaEventElapsedTime(&milliseconds, begin, end));
    std::printf("%g\n", milliseconds);
  }
  return 0;
}
