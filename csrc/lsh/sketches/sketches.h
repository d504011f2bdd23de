// SPDX-License-Identifier: Apache-2.0
// Sketches of sets of tokens: MinHash, one-permutation MinHash, and what is made of their signatures. Torch-free.
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace warphash::lsh {

// Set i holds tokens[offsets[i]] ... tokens[offsets[i + 1] - 1].
struct Sets {
  const void* tokens;  // [count]
  bool wide;           // int64, else int32
  int64_t count;
  const int64_t* offsets;  // [sets + 1]
  int64_t sets;
};

// Throws std::invalid_argument where offsets do not ascend from 0 to count.
void check_offsets(const Sets& sets);

// Their order is that of the operators' argument.
enum class Scheme : int { affine32, multiply_shift64, mersenne61, datasketch, datasketch_legacy };
constexpr int scheme_count = 5;

struct Permutations {
  const uint64_t* a;  // [count]; below 2^61 - 1 for mersenne61, of which 32 bits count for affine32 and datasketch
  const uint64_t* b;
  int64_t count;
  Scheme scheme;
};

// Throws std::invalid_argument where parameters are not below 2^61 - 1 in mersenne61.
void check_parameters(const Permutations& permutations);

// signatures [sets, permutations]. Both throw as check_offsets does.
void minhash(Isa isa, const Sets& sets, const Permutations& permutations, uint32_t* signatures);
// signatures [sets, bins], 0 < bins < 2^31.
void one_permutation(Isa isa, const Sets& sets, int64_t bins, uint32_t a, uint32_t b, uint32_t* signatures);

// signatures [rows, width] of what follows.
struct Signatures {
  const uint32_t* values;
  int64_t rows, width;
};
constexpr uint32_t no_value = 0xFFFFFFFF;  // of an empty bin, of an empty set
constexpr int densify_attempts = 256;

// filled [rows, width], width < 2^31
void densify(Isa isa, const Signatures& signatures, uint64_t seed, uint32_t* filled);
// keys [rows, bands]; bands divides the width.
void band_keys(Isa isa, const Signatures& signatures, int64_t bands, int64_t* keys);
// codes [rows, ceil(width * bits / 8)]; bits is 1, 2, 4, 8 or 16.
void bbit_pack(Isa isa, const Signatures& signatures, int bits, uint8_t* codes);

// ---- Loops of one instruction set each ------------------------------------------------------------------------------

// row[p] = min(row[p], value of permutation p) over the tokens. Arrays of permutations are padded to a multiple of
// `permutation_block` and aligned to 64 bytes. Tokens, a and b are uint32 for affine32; multiply_shift64 and mersenne61
// take uint32 tokens beside uint64 parameters, datasketch_legacy takes uint64 for all.
constexpr int64_t permutation_block = 16;
using Fold = void (*)(const void* tokens, int64_t count, const void* a, const void* b, int64_t permutations,
                      uint32_t* row);

struct SketchKernels {
  // fmix32 of each; the low halves of fmix64. `mixed` may be `tokens`.
  void (*mix)(const uint32_t* tokens, int64_t count, uint32_t* mixed);
  void (*mix_wide)(const uint64_t* tokens, int64_t count, uint32_t* mixed);
  Fold affine32, multiply_shift64, mersenne61, datasketch_legacy;
  // row[bin] = min(row[bin], hash) over mixed tokens
  void (*bins)(const uint32_t* tokens, int64_t count, uint32_t a, uint32_t b, uint32_t bins, uint32_t* row);
  // The empty bins of a row from others; start: the low half of fmix64 of the seed. Rows that are all empty stay so.
  void (*densify)(const uint32_t* row, uint32_t bins, uint32_t start, uint32_t* filled);
  void (*band_keys)(const uint32_t* row, int64_t bands, int64_t values, int64_t* keys);
  // 32-bit values are mixed and packed; `codes` has room for whole bytes alone.
  void (*bbit_pack)(const uint32_t* row, int64_t width, int bits, uint8_t* codes);
};
const SketchKernels& sketch_kernels_scalar();
const SketchKernels& sketch_kernels_avx2();
const SketchKernels& sketch_kernels_avx512();

// Throws std::runtime_error where this machine lacks the level.
const SketchKernels& sketch_kernels(Isa isa);

}  // namespace warphash::lsh
