// SPDX-License-Identifier: Apache-2.0
// The k largest entries of each row of a sparse product. Torch-free.
#pragma once

#include <cstdint>

#include "common/isa.h"
#include "spgemm/spgemm_values.h"

namespace warphash::spgemm {

// What sums are rounded to, once and before they are compared.
enum class Rounding : int { none = 0, float16 = 1, bfloat16 = 2 };
constexpr Rounding rounding_of(ValueType type) {
  return type == ValueType::float16    ? Rounding::float16
         : type == ValueType::bfloat16 ? Rounding::bfloat16
                                       : Rounding::none;
}

// values and indices [a.rows, k]: entries by (value descending, column ascending), NaN last, then -inf and -1 where there
// are no more. An entry is a sum of products in the order of a's columns, without fused multiply-adds. `values` are
// floats or doubles as the operands, or the bits of halves. Throws std::invalid_argument where pointers or columns of what
// is read are broken. Memory: about 2 MB a thread, and 12 bytes for each of k where rows are asked for more than 10^5.
void topk(Isa isa, const Csr<float>& a, const Csr<float>& b, int64_t k, Rounding rounding, void* values,
          int64_t* indices);
void topk(Isa isa, const Csr<double>& a, const Csr<double>& b, int64_t k, void* values, int64_t* indices);

// Entries that may be among the best, columns beside values. Both arrays may be written 16 entries beyond `room`.
template <class Value>
struct Found {
  Value* values;
  int32_t* columns;
  int64_t count, room;
};

// Loops over the columns of a window [base, base + width), by instruction set. A column without products has the sum -0,
// which no sum of products is where none of them is 0.
template <class Value>
struct TopkKernels {
  // How many of the first of `count` columns lie in the window, up to the first that does not. `least` becomes the least
  // magnitude of their values, or 0 where one is NaN.
  int64_t (*inspect)(const int32_t* col, const Value* values, int64_t count, int32_t base, int32_t width, Value* least);
  // sums += factor · row over whole rows; width is a multiple of 16.
  void (*add)(Value* sums, const Value* row, int64_t width, Value factor);
  // Sums but -0 from `begin` on that are at least `floor` (`all`: whatever they are) are found, and all set to -0. Ends
  // before the room does: returns the column up to which it came. width is a multiple of 16.
  int64_t (*collect)(Value* sums, int64_t begin, int64_t width, int32_t base, Value floor, bool all,
                     Found<Value>* found);
  // The same among marked columns, whose marks are cleared.
  int64_t (*collect_marked)(Value* sums, uint8_t* marks, int64_t begin, int64_t width, int32_t base, Value floor,
                            bool all, Found<Value>* found);
};

const TopkKernels<float>& topk_kernels_scalar(float);
const TopkKernels<float>& topk_kernels_avx2(float);
const TopkKernels<float>& topk_kernels_avx512(float);
const TopkKernels<double>& topk_kernels_scalar(double);
const TopkKernels<double>& topk_kernels_avx2(double);
const TopkKernels<double>& topk_kernels_avx512(double);

}  // namespace warphash::spgemm
