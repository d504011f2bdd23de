// SPDX-License-Identifier: Apache-2.0
// SimHash with values rounded to bfloat16 and float32 sums, by instructions that multiply pairs of them. Torch-free.
#pragma once

#include "lsh/projections/projections.h"

namespace warphash::lsh {

// Does this level of this machine have the instructions?
bool has_simhash_fast(Isa isa);

// By AMX where the level is amx, the processor has AMX-BF16 and Linux permits it, else by AVX512_BF16: the two add in
// different orders. Vectors are not float64.
void simhash_fast(Isa isa, const Vectors& x, const Weights& planes, int64_t bits, uint8_t* codes);

// A pair of bfloat16, the even dimension in the low half, as one value of chain kernels; their sums are bits of float32.
using Pair = uint32_t;

// float32, float16 or bfloat16 values of a row to (count + 1) / 2 pairs, rounded to nearest, ties to even.
using RoundPairs = void(VectorType type, const void* from, int64_t count, Pair* to);
RoundPairs round_avx512bf16;

struct FastTable {
  ChainKernels<Pair> pairs;  // without quantise
  int pair_multiple;         // rows and panels are padded with zeros to a multiple of so many pairs
  RoundPairs* round;
};
const FastTable& fast_avx512bf16();
const FastTable& fast_amx();  // needs AVX512_BF16 too

}  // namespace warphash::lsh
