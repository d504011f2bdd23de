// SPDX-License-Identifier: Apache-2.0
// Hash codes of dense vectors: SimHash, structured SimHash, cross-polytope, p-stable. Torch-free.
//
// Every result is the same bit for bit on each instruction set: a projection is one chain of fused multiply-adds in the
// order of the dimensions, a rotation one tree of rounded additions. Real is double for float64 vectors, else float.
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace warphash::lsh {

enum class VectorType { f16, bf16, f32, f64 };

// Vectors [rows, dim], contiguous.
struct Vectors {
  VectorType type;
  const void* data;
  int64_t rows, dim;
};

// Float32 or float64 values, such as planes [dim, columns].
struct Weights {
  const void* data;
  bool wide;  // float64; only beside float64 vectors
};

// ---- Whole calls, parallel over rows ----------------------------------------------------------------------------------
// Throws std::runtime_error where the machine lacks the set.

// Bits x · plane >= 0, packed: codes [rows, ceil(bits / 8)]. fast: by simhash_fast where this machine can.
void simhash(Isa isa, const Vectors& x, const Weights& planes, int64_t bits, bool fast, uint8_t* codes);

// bits (1 to 30) columns a hash: codes [rows, hashes], or their ranks in the order of Gray codes.
void simhash_codes(Isa isa, const Vectors& x, const Weights& planes, int64_t hashes, int bits, bool gray,
                   int32_t* codes);

// floor((x · direction + offset) / width), saturated; NaN gives the least int32: codes [rows, hashes].
void pstable(Isa isa, const Vectors& x, const Weights& directions, const Weights& offsets, int64_t hashes, double width,
             int32_t* codes);

// Of the Hadamard transform: the least power of two >= max(dim, 8).
inline int64_t rotation_size(int64_t dim) {
  int64_t size = 8;
  while (size < dim && size < int64_t{1} << 60) size *= 2;
  return size;
}

// The first `bits` signs of rotated vectors, packed. signs [rotations, 3, size / 8], bit 1 negates.
void hd3(Isa isa, const Vectors& x, const uint8_t* signs, int64_t rotations, int64_t bits, uint8_t* codes);

// Place of the largest magnitude, plus the size where the value is negative: codes [rows, tables].
void cross_polytope(Isa isa, const Vectors& x, const uint8_t* signs, int64_t tables, int32_t* codes);

// ---- Kernels of chains ------------------------------------------------------------------------------------------------

// Rows against one panel of columns. The panel's lines [dim] hold `columns` values, or as many more as the kernel loads
// at once (a panel laid out by `layout_width`).
template <class Real>
struct ChainBlock {
  const Real* rows;
  int64_t row_stride;
  int count;
  const Real* panel;
  int64_t panel_stride;
  int columns;  // 1 to the table's panel_columns
  int64_t dim;
  Real* sums;    // [count, panel_columns]
  bool resumed;  // sums begin with what stands there
};

template <class Real>
struct ChainKernels {
  int panel_columns;                 // a multiple of 8, at most most_panel_columns
  int (*layout_width)(int columns);  // values of a line that are loaded for so many columns
  // Bits sum >= 0 of each row, panel_columns / 8 bytes at bits + row * stride, meaningless from `columns` on.
  void (*signs)(const ChainBlock<Real>& block, uint8_t* bits, int64_t stride);
  // The sums themselves, columns rounded up to layout_width.
  void (*sums)(const ChainBlock<Real>& block);
  // floor((sum + offset) / width) as int32.
  void (*quantise)(const Real* sums, const Real* offsets, Real width, int count, int32_t* codes);
};
constexpr int most_panel_columns = 64;

struct ChainTable {
  ChainKernels<float> single;
  ChainKernels<double> wide;
  // f16 or bf16 to float32, exactly.
  void (*widen)(VectorType type, const uint16_t* from, int64_t count, float* to);
};
const ChainTable& chains_scalar();
const ChainTable& chains_avx2();
const ChainTable& chains_avx512();

// ---- Kernels of rotations ---------------------------------------------------------------------------------------------

// Three rounds of (signs, stages h = 1, 2, 4, ... of the Hadamard transform, times 2^-ceil(log_size / 2)).
template <class Real>
struct RotationBlock {
  const Real* rows;  // [count] of 2^log_size values each
  int64_t row_stride;
  int count;
  int log_size;
  const uint8_t* signs;  // [rotations, 3, size / 8]
  const Real* factors;   // [rotations, 3, size], sign times the power of two of the round before; null for large sizes
  int64_t rotations;
  Real* work;  // one row
};
constexpr int most_factors_log = 8;  // sizes up to 2^8 come with factors

template <class Real>
struct RotationKernels {
  int least_log_size;  // smaller ones are left to the set below
  // Bits value >= 0 of all rotations, rotations * size / 8 bytes at bits + row * stride.
  void (*signs)(const RotationBlock<Real>& block, uint8_t* bits, int64_t stride);
  // Place of the largest magnitude, plus the size where the value is negative: codes [count, rotations].
  void (*largest)(const RotationBlock<Real>& block, int32_t* codes);
};

struct RotationTable {
  RotationKernels<float> single;
  RotationKernels<double> wide;
};
const RotationTable& rotations_scalar();
const RotationTable& rotations_avx2();
const RotationTable& rotations_avx512();

}  // namespace warphash::lsh
