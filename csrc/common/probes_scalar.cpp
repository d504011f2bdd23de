// SPDX-License-Identifier: Apache-2.0
// Probe loops for any x86-64 or other processor. Bound: what the compiler's baseline gives; four chains each.
#include <cstddef>
#include <cstdint>

#include "common/probes.h"

namespace warphash::probes {
namespace {

// An empty statement that the compiler must believe to read and change the value: it keeps a chain from being folded.
template <class T>
inline void touch(T& value) {
  asm volatile("" : "+r"(value));
}

uint64_t read(const void* data, size_t bytes) {
  const uint64_t* words = static_cast<const uint64_t*>(data);
  uint64_t a = 0, b = 0, c = 0, d = 0;
  for (size_t i = 0; i < bytes / 8; i += 4) {
    a ^= words[i];
    b ^= words[i + 1];
    c ^= words[i + 2];
    d ^= words[i + 3];
  }
  return a ^ b ^ c ^ d;
}

void write(void* data, size_t bytes) {
  uint64_t* words = static_cast<uint64_t*>(data);
  for (size_t i = 0; i < bytes / 8; ++i) words[i] = i;
}

uint64_t gather_rows(const void* table, const uint32_t* rows, size_t count) {
  const uint64_t* words = static_cast<const uint64_t*>(table);
  uint64_t a = 0, b = 0, c = 0, d = 0;
  for (size_t i = 0; i < count; i += 4) {
    a += words[rows[i]];
    b += words[rows[i + 1]];
    c += words[rows[i + 2]];
    d += words[rows[i + 3]];
  }
  return a + b + c + d;
}

uint64_t count_portable(uint64_t x) {
  x = x - (x >> 1 & 0x5555555555555555u);
  x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
  x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  return x * 0x0101010101010101u >> 56;
}

uint64_t popcount(int64_t rounds) {
  uint64_t x[4] = {1, 3, 5, 7};
  uint64_t sum[4] = {};
  for (int64_t round = 0; round < rounds; ++round)
    for (int chain = 0; chain < 4; ++chain) {
      touch(x[chain]);
      sum[chain] += count_portable(x[chain]);
    }
  return sum[0] + sum[1] + sum[2] + sum[3];
}

uint64_t multiply_add(int64_t rounds) {
  float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  volatile float half_at_run_time = 0.5f;
  const float half = half_at_run_time;
  for (int64_t round = 0; round < rounds; ++round)
    for (float& chain : x) chain = chain * half + half;
  float sum = 0;
  for (float chain : x) sum += chain;
  return static_cast<uint64_t>(sum);
}

uint64_t affine_min(int64_t rounds) {
  uint32_t a[4] = {1, 3, 5, 7}, least[4] = {~0u, ~0u, ~0u, ~0u};
  volatile uint32_t at_run_time = 7;
  uint32_t x = at_run_time;
  for (int64_t round = 0; round < rounds; ++round) {
    x += 2;
    for (int chain = 0; chain < 4; ++chain) {
      const uint32_t value = a[chain] * x + 11;
      least[chain] = value < least[chain] ? value : least[chain];
    }
  }
  return least[0] + least[1] + least[2] + least[3];
}

}  // namespace

const Loops& loops_scalar() {
  static constexpr Loops loops = {read, write, nullptr,           gather_rows, {popcount, 4},
                                  {},   {},    {multiply_add, 8}, {},          {affine_min, 4}};
  return loops;
}

}  // namespace warphash::probes
