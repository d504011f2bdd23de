// SPDX-License-Identifier: Apache-2.0
// Probe loops for AVX-512 with VPOPCNTDQ. Bounds: one or two 64-byte loads, one or two vpopcntq, one or two fused
// multiply-adds and one or two vpdpbusd a cycle, by the processor.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "common/probes.h"

namespace warphash::probes {
namespace {

uint64_t sum_words(__m512i x) {
  alignas(64) uint64_t words[8];
  _mm512_store_si512(words, x);
  uint64_t sum = 0;
  for (uint64_t word : words) sum += word;
  return sum;
}

uint64_t read(const void* data, size_t bytes) {
  const char* place = static_cast<const char*>(data);
  __m512i a[8] = {};
  for (size_t i = 0; i < bytes; i += 512)
    for (int j = 0; j < 8; ++j) a[j] = _mm512_xor_si512(a[j], _mm512_load_si512(place + i + 64 * j));
  for (int j = 1; j < 8; ++j) a[0] = _mm512_xor_si512(a[0], a[j]);
  return sum_words(a[0]);
}

void write(void* data, size_t bytes) {
  char* place = static_cast<char*>(data);
  const __m512i value = _mm512_set1_epi32(1);
  for (size_t i = 0; i < bytes; i += 256)
    for (int j = 0; j < 4; ++j)
      asm volatile("vmovdqa64 %1, %0" : "=m"(*reinterpret_cast<__m512i*>(place + i + 64 * j)) : "v"(value));
}

void write_around(void* data, size_t bytes) {
  char* place = static_cast<char*>(data);
  const __m512i value = _mm512_set1_epi32(1);
  for (size_t i = 0; i < bytes; i += 256)
    for (int j = 0; j < 4; ++j) _mm512_stream_si512(reinterpret_cast<__m512i*>(place + i + 64 * j), value);
  _mm_sfence();
}

uint64_t gather_rows(const void* table, const uint32_t* rows, size_t count) {
  __m512i a[4] = {};
  for (size_t i = 0; i < count; i += 32)
    for (int j = 0; j < 4; ++j) {
      const __m256i places = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows + i + 8 * j));
      // With a mask and a zero, so that a gather does not wait for the register it merges into.
      a[j] = _mm512_add_epi64(a[j], _mm512_mask_i32gather_epi64(_mm512_setzero_si512(), 0xff, places, table, 8));
    }
  return sum_words(_mm512_add_epi64(_mm512_add_epi64(a[0], a[1]), _mm512_add_epi64(a[2], a[3])));
}

// One statement for all chains: with one each, the compiler keeps the chains in memory.
uint64_t popcount(int64_t rounds) {
  __m512i a = _mm512_set1_epi64(1), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
  for (int64_t round = 0; round < rounds; ++round)
    asm volatile(
        "vpopcntq %0, %0\n vpopcntq %1, %1\n vpopcntq %2, %2\n vpopcntq %3, %3\n"
        "vpopcntq %4, %4\n vpopcntq %5, %5\n vpopcntq %6, %6\n vpopcntq %7, %7"
        : "+v"(a), "+v"(b), "+v"(c), "+v"(d), "+v"(e), "+v"(f), "+v"(g), "+v"(h));
  return sum_words(a) + sum_words(b) + sum_words(c) + sum_words(d) + sum_words(e) + sum_words(f) + sum_words(g) +
         sum_words(h);
}

uint64_t distance(int64_t rounds) {
  const __m512i query = _mm512_set1_epi64(0x123456789abcdef), code = _mm512_set1_epi64(77);
  __m512i a = query, b = a, c = a, d = a, e = a, f = a, g = a, h = a;
  for (int64_t round = 0; round < rounds; ++round)
    asm volatile(
        "vpxorq %8, %9, %%zmm24\n vpxorq %8, %9, %%zmm25\n vpxorq %8, %9, %%zmm26\n vpxorq %8, %9, %%zmm27\n"
        "vpxorq %8, %9, %%zmm28\n vpxorq %8, %9, %%zmm29\n vpxorq %8, %9, %%zmm30\n vpxorq %8, %9, %%zmm31\n"
        "vpopcntq %%zmm24, %%zmm24\n vpopcntq %%zmm25, %%zmm25\n vpopcntq %%zmm26, %%zmm26\n"
        "vpopcntq %%zmm27, %%zmm27\n vpopcntq %%zmm28, %%zmm28\n vpopcntq %%zmm29, %%zmm29\n"
        "vpopcntq %%zmm30, %%zmm30\n vpopcntq %%zmm31, %%zmm31\n"
        "vpaddq %%zmm24, %0, %0\n vpaddq %%zmm25, %1, %1\n vpaddq %%zmm26, %2, %2\n vpaddq %%zmm27, %3, %3\n"
        "vpaddq %%zmm28, %4, %4\n vpaddq %%zmm29, %5, %5\n vpaddq %%zmm30, %6, %6\n vpaddq %%zmm31, %7, %7"
        : "+v"(a), "+v"(b), "+v"(c), "+v"(d), "+v"(e), "+v"(f), "+v"(g), "+v"(h)
        : "v"(query), "v"(code)
        : "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31");
  return sum_words(a) + sum_words(b) + sum_words(c) + sum_words(d) + sum_words(e) + sum_words(f) + sum_words(g) +
         sum_words(h);
}

uint64_t multiply_add(int64_t rounds) {
  __m512 x[12];
  for (int j = 0; j < 12; ++j) x[j] = _mm512_set1_ps(static_cast<float>(j));
  __m512 half = _mm512_set1_ps(0.5f);
  asm volatile("" : "+v"(half));
  for (int64_t round = 0; round < rounds; ++round)
    for (int j = 0; j < 12; ++j) x[j] = _mm512_fmadd_ps(x[j], half, half);
  for (int j = 1; j < 12; ++j) x[0] = _mm512_add_ps(x[0], x[j]);
  return sum_words(_mm512_castps_si512(x[0]));
}

// Factors, summands and minima stay in registers; x changes each round, so that no product may be kept.
uint64_t affine_min(int64_t rounds) {
  __m512i x = _mm512_set1_epi32(7), a[8], b[8], least[8];
  for (int j = 0; j < 8; ++j) {
    a[j] = _mm512_set1_epi32(2 * j + 1), b[j] = _mm512_set1_epi32(j), least[j] = _mm512_set1_epi32(-1);
    asm volatile("" : "+v"(a[j]), "+v"(b[j]));
  }
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+v"(x));
    for (int j = 0; j < 8; ++j)
      least[j] = _mm512_min_epu32(least[j], _mm512_add_epi32(_mm512_mullo_epi32(x, a[j]), b[j]));
  }
  for (int j = 1; j < 8; ++j) least[0] = _mm512_xor_si512(least[0], least[j]);
  return sum_words(least[0]);
}

// Written as text because VNNI is not among this file's flags; the caller asks the processor first.
uint64_t int8_dot(int64_t rounds) {
  __m512i a = _mm512_set1_epi32(1), b = a, c = a, d = a, e = a, f = a, g = a, h = a, i = a, j = a;
  const __m512i ones = _mm512_set1_epi8(1);
  for (int64_t round = 0; round < rounds; ++round)
    asm volatile(
        "vpdpbusd %10, %10, %0\n vpdpbusd %10, %10, %1\n vpdpbusd %10, %10, %2\n vpdpbusd %10, %10, %3\n"
        "vpdpbusd %10, %10, %4\n vpdpbusd %10, %10, %5\n vpdpbusd %10, %10, %6\n vpdpbusd %10, %10, %7\n"
        "vpdpbusd %10, %10, %8\n vpdpbusd %10, %10, %9"
        : "+v"(a), "+v"(b), "+v"(c), "+v"(d), "+v"(e), "+v"(f), "+v"(g), "+v"(h), "+v"(i), "+v"(j)
        : "v"(ones));
  return sum_words(a) + sum_words(b) + sum_words(c) + sum_words(d) + sum_words(e) + sum_words(f) + sum_words(g) +
         sum_words(h) + sum_words(i) + sum_words(j);
}

}  // namespace

const Loops& loops_avx512() {
  static constexpr Loops loops = {read,
                                  write,
                                  write_around,
                                  gather_rows,
                                  {popcount, 8 * 8},
                                  {},
                                  {distance, 8 * 8},
                                  {multiply_add, 12 * 16},
                                  {int8_dot, 10 * 64},
                                  {affine_min, 8 * 16}};
  return loops;
}

}  // namespace warphash::probes
