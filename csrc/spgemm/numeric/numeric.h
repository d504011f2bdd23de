// SPDX-License-Identifier: Apache-2.0
// Values of a product on a pattern that is known, the gradients of its operands, and which products win. Torch-free.
//
// A column of -1 in the pattern is no entry: its value is the semiring's zero, its gradient is not looked at.
#pragma once

#include <cstdint>

#include "common/isa.h"
#include "spgemm/spgemm_values.h"

namespace warphash::spgemm {

// Of a [M, K] times b [K, N] at `pattern` [M, N]. Operands' values are of sum_type(type).
struct NumericJob {
  Pattern a, b, pattern;
  const void *a_values, *b_values;
  ValueType type;
  Semiring semiring;
  bool covers;   // no product falls outside of the pattern
  void* values;  // [pattern.entries], of `type`
};

// dA_ik = sum_j G_ij B_kj at a's entries, dB_kj = sum_i A_ik G_ij at b's; G at `pattern`, 0 elsewhere.
// A sum of dA runs in 16 lanes, by the position in b's row modulo 16, folded by 8, 4, 2, 1. A sum of dB runs over ascending
// i within a block of rows; the blocks' sums are added in order. Their number depends on the operands alone.
struct GradientJob {
  Pattern a, b, pattern;
  const void *gradient, *a_values, *b_values;  // of sum_type(type)
  ValueType type;                              // a float type
  void *of_a, *of_b;                           // of `type`; null: not wanted
};

// Positions in the operands' values of the product that gives each entry of the pattern, -1 where there is none.
struct WinnerJob {
  Pattern a, b, pattern;
  const void *a_values, *b_values;  // of sum_type(type)
  ValueType type;
  Semiring semiring;         // min_plus or max_times
  int64_t *from_a, *from_b;  // [pattern.entries]
};

// Working memory: a worker has a value for each column, with marks a byte more, for winners 16 bytes more. Gradients of b:
// the blocks' sums besides, at most two for each entry of a, b and the pattern, and of half types a float for each of b's.
// All throw std::invalid_argument and std::out_of_range for operands that would lead outside of their arrays.
void numeric(Isa isa, const NumericJob& job);
void gradients(Isa isa, const GradientJob& job);
void winners(Isa isa, const WinnerJob& job);

// ---- Kernels: rows [begin, end) -------------------------------------------------------------------------------------
// They return the first row whose pattern has a column outside of [-1, columns), or -1. What is as wide as the product
// points at column 0 and has one more place before it; it is all zero before and after.

// `sums` of the semiring's zero. Where the pattern does not cover the product, `marks` let all products but those on its
// columns be passed over; without them all are added and what they changed is cleared.
using NumericRows = int64_t (*)(const NumericJob& job, int64_t begin, int64_t end, void* sums, uint8_t* marks);
NumericRows numeric_rows_scalar(ValueType type, Semiring semiring);

// Of the rows of a, what meets b's rows [b_begin, b_end). `gradient` is a row of sums; `of_b` is the sum of b's entry 0.
struct GradientPiece {
  int64_t begin, end, b_begin, b_end;
};
using GradientRows = int64_t (*)(const GradientJob& job, const GradientPiece& piece, void* gradient, void* of_b);
GradientRows gradient_rows_scalar(ValueType type);
GradientRows gradient_rows_avx2(ValueType type);
GradientRows gradient_rows_avx512(ValueType type);

}  // namespace warphash::spgemm
