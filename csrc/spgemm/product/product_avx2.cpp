// SPDX-License-Identifier: Apache-2.0
// Rows of the product with AVX2: see product_windows.h. Vectors read flags, 32 at a time; AVX2 can neither compress nor
// expand, so entries leave windows one by one.
#include <immintrin.h>

#include "spgemm/product/product_kernels.h"

namespace warphash::spgemm {
namespace {

struct Avx2Lanes {
  static constexpr int64_t few = 0;       // no sorting in registers
  static constexpr int64_t together = 4;  // rows of B whose words are alike

  template <class A>
  static constexpr bool adds_words() {
    return false;
  }

  // Bit i: whether flag i of 64 is set; all are zero afterwards.
  static uint64_t take_flags(uint8_t* flags) {
    __m256i* at = reinterpret_cast<__m256i*>(flags);
    const __m256i zero = _mm256_setzero_si256();
    // Flags are 0 or 1: the sign of what they are below zero is the mask.
    const uint32_t low = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_sub_epi8(zero, _mm256_load_si256(at))));
    const uint32_t high = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_sub_epi8(zero, _mm256_load_si256(at + 1))));
    _mm256_store_si256(at, zero), _mm256_store_si256(at + 1, zero);
    return static_cast<uint64_t>(high) << 32 | low;
  }

  static void write_columns(uint64_t mask, int32_t column, int32_t* columns, int64_t room) {
    write_columns_singly(mask, column, columns, room);
  }
  template <class A>
  static void write(uint64_t mask, int32_t column, typename A::Value* sums, int32_t* columns, typename A::Value* values,
                    int64_t room) {
    write_singly<A>(mask, column, sums, columns, values, room);
  }
};

}  // namespace

void count_rows_avx2(const ProductOperands& operands, Scratch& scratch, int64_t first, int64_t last, int64_t* counts) {
  count_rows<Avx2Lanes>(operands, scratch, first, last, counts);
}

void fill_rows_avx2(const FillTask& task) { fill_rows<Avx2Lanes>(task); }

}  // namespace warphash::spgemm
