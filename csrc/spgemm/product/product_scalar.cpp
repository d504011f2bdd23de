// SPDX-License-Identifier: Apache-2.0
// Rows of the product without vectors: see product_windows.h. Flags are read eight at a time, as one word.
#include <cstring>

#include "spgemm/product/product_kernels.h"

namespace warphash::spgemm {
namespace {

struct ScalarLanes {
  static constexpr int64_t few = 0;       // no sorting in registers
  static constexpr int64_t together = 4;  // rows of B whose words are alike

  // No vectors that take a word at a time.
  template <class A>
  static constexpr bool adds_words() {
    return false;
  }

  // Bit i: whether flag i of 64 is set; all are zero afterwards.
  static uint64_t take_flags(uint8_t* flags) {
    uint64_t mask = 0;
    for (int i = 0; i < 8; ++i) {
      uint64_t eight;
      std::memcpy(&eight, flags + 8 * i, 8);
      // Flags are 0 or 1: the product gathers them in the topmost byte.
      mask |= (eight * 0x0102040810204080ull >> 56) << 8 * i;
    }
    std::memset(flags, 0, 64);
    return mask;
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

void count_rows_scalar(const ProductOperands& operands, Scratch& scratch, int64_t first, int64_t last,
                       int64_t* counts) {
  count_rows<ScalarLanes>(operands, scratch, first, last, counts);
}

void fill_rows_scalar(const FillTask& task) { fill_rows<ScalarLanes>(task); }

}  // namespace warphash::spgemm
