// SPDX-License-Identifier: Apache-2.0
// Probe loops for AVX2, FMA and POPCNT. Bounds: two 32-byte loads a cycle, the vector ports for
// the nibble counts, two fused multiply-adds a cycle, one to four popcnt a cycle.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "common/probes.h"

namespace warphash::probes {
namespace {

uint64_t sum_words(__m256i x) {
  alignas(32) uint64_t words[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(words), x);
  return words[0] + words[1] + words[2] + words[3];
}

uint64_t read(const void* data, size_t bytes) {
  const char* place = static_cast<const char*>(data);
  __m256i a[8] = {};
  for (size_t i = 0; i < bytes; i += 256)
    for (int j = 0; j < 8; ++j)
      a[j] = _mm256_xor_si256(a[j], _mm256_load_si256(reinterpret_cast<const __m256i*>(place + i + 32 * j)));
  for (int j = 1; j < 8; ++j) a[0] = _mm256_xor_si256(a[0], a[j]);
  return sum_words(a[0]);
}

void write(void* data, size_t bytes) {
  char* place = static_cast<char*>(data);
  const __m256i value = _mm256_set1_epi32(1);
  for (size_t i = 0; i < bytes; i += 128)
    for (int j = 0; j < 4; ++j) {
      asm volatile("vmovdqa %1, %0" : "=m"(*reinterpret_cast<__m256i*>(place + i + 32 * j)) : "x"(value));
    }
}

void write_around(void* data, size_t bytes) {
  char* place = static_cast<char*>(data);
  const __m256i value = _mm256_set1_epi32(1);
  for (size_t i = 0; i < bytes; i += 128)
    for (int j = 0; j < 4; ++j) _mm256_stream_si256(reinterpret_cast<__m256i*>(place + i + 32 * j), value);
  _mm_sfence();
}

uint64_t gather_rows(const void* table, const uint32_t* rows, size_t count) {
  const long long* words = static_cast<const long long*>(table);
  const __m256i all = _mm256_set1_epi64x(-1);
  __m256i a[4] = {};
  for (size_t i = 0; i < count; i += 16)
    for (int j = 0; j < 4; ++j) {
      const __m128i places = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + i + 4 * j));
      a[j] = _mm256_add_epi64(a[j], _mm256_mask_i32gather_epi64(_mm256_setzero_si256(), words, places, all, 8));
    }
  return sum_words(_mm256_add_epi64(_mm256_add_epi64(a[0], a[1]), _mm256_add_epi64(a[2], a[3])));
}

// The comparing loop of hamming_avx2.cpp without its loads: tables that serve two queries, three nibbles of 32 codes added
// before the halves are taken apart: 12 words.
uint64_t distance_nibbles(int64_t rounds) {
  const __m256i table =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 17, 17, 34, 17, 34, 34, 51, 17, 34, 34, 51, 34, 51, 51, 68));
  const __m256i half = _mm256_set1_epi8(15);
  __m256i x = _mm256_set1_epi8(5), first[4] = {}, second[4] = {};
  for (int64_t round = 0; round < rounds; ++round)
    for (int j = 0; j < 4; ++j) {
      asm volatile("" : "+x"(x));
      __m256i both = _mm256_shuffle_epi8(table, x);
      asm volatile("" : "+x"(x));
      both = _mm256_add_epi8(both, _mm256_shuffle_epi8(table, x));
      asm volatile("" : "+x"(x));
      both = _mm256_add_epi8(both, _mm256_shuffle_epi8(table, x));
      first[j] = _mm256_add_epi8(first[j], _mm256_and_si256(both, half));
      second[j] = _mm256_add_epi8(second[j], _mm256_and_si256(_mm256_srli_epi16(both, 4), half));
    }
  for (int j = 0; j < 4; ++j) first[0] = _mm256_add_epi8(first[0], _mm256_add_epi8(first[j], second[j]));
  return sum_words(first[0]);
}

uint64_t popcount_words(int64_t rounds) {
  uint64_t a = 1, b = 3, c = 5, d = 7, e = 9, f = 11, g = 13, h = 15;
  for (int64_t round = 0; round < rounds; ++round)
    asm volatile(
        "popcnt %0, %0\n popcnt %1, %1\n popcnt %2, %2\n popcnt %3, %3\n"
        "popcnt %4, %4\n popcnt %5, %5\n popcnt %6, %6\n popcnt %7, %7"
        : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f), "+r"(g), "+r"(h)
        :
        : "cc");
  return a + b + c + d + e + f + g + h;
}

uint64_t distance(int64_t rounds) {
  uint64_t a = 1, b = 3, c = 5, d = 7, sum_a = 0, sum_b = 0, sum_c = 0, sum_d = 0, t = 0, u = 0, v = 0, w = 0;
  const uint64_t query = 0x123456789abcdef;
  for (int64_t round = 0; round < rounds; ++round)
    asm volatile(
        "xor %12, %0\n xor %12, %1\n xor %12, %2\n xor %12, %3\n"
        "popcnt %0, %4\n popcnt %1, %5\n popcnt %2, %6\n popcnt %3, %7\n"
        "add %4, %8\n add %5, %9\n add %6, %10\n add %7, %11"
        : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(t), "+r"(u), "+r"(v), "+r"(w), "+r"(sum_a), "+r"(sum_b), "+r"(sum_c),
          "+r"(sum_d)
        : "r"(query)
        : "cc");
  return sum_a + sum_b + sum_c + sum_d;
}

uint64_t multiply_add(int64_t rounds) {
  __m256 x[12];
  for (int j = 0; j < 12; ++j) x[j] = _mm256_set1_ps(static_cast<float>(j));
  __m256 half = _mm256_set1_ps(0.5f);
  asm volatile("" : "+x"(half));
  for (int64_t round = 0; round < rounds; ++round)
    for (int j = 0; j < 12; ++j) x[j] = _mm256_fmadd_ps(x[j], half, half);
  for (int j = 1; j < 12; ++j) x[0] = _mm256_add_ps(x[0], x[j]);
  return sum_words(_mm256_castps_si256(x[0]));
}

uint64_t affine_min(int64_t rounds) {
  __m256i x = _mm256_set1_epi32(7), a[4], b[4], least[4];
  for (int j = 0; j < 4; ++j) {
    a[j] = _mm256_set1_epi32(2 * j + 1), b[j] = _mm256_set1_epi32(j), least[j] = _mm256_set1_epi32(-1);
    asm volatile("" : "+x"(a[j]), "+x"(b[j]));
  }
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+x"(x));
    for (int j = 0; j < 4; ++j)
      least[j] = _mm256_min_epu32(least[j], _mm256_add_epi32(_mm256_mullo_epi32(x, a[j]), b[j]));
  }
  for (int j = 1; j < 4; ++j) least[0] = _mm256_xor_si256(least[0], least[j]);
  return sum_words(least[0]);
}

}  // namespace

const Loops& loops_avx2() {
  static constexpr Loops loops = {read,
                                  write,
                                  write_around,
                                  gather_rows,
                                  {distance_nibbles, 4 * 12},
                                  {popcount_words, 8},
                                  {distance, 4},
                                  {multiply_add, 12 * 8},
                                  {},
                                  {affine_min, 4 * 8}};
  return loops;
}

}  // namespace warphash::probes
