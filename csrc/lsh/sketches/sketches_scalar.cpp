// SPDX-License-Identifier: Apache-2.0
// The loops of sketches in plain C++.
#include "lsh/sketches/sketches_loops.h"

namespace warphash::lsh {
namespace {

constexpr uint64_t mersenne61 = (uint64_t{1} << 61) - 1;

// Four permutations at a time, whose parameters and minima stay in registers.
template <class Token, class Parameter, class Value>
void fold(const void* token_data, int64_t count, const void* a_data, const void* b_data, int64_t permutations,
          uint32_t* row, Value value) {
  constexpr int together = 4;
  const Token* tokens = static_cast<const Token*>(token_data);
  const Parameter *a = static_cast<const Parameter*>(a_data), *b = static_cast<const Parameter*>(b_data);
  for (int64_t first = 0; first < permutations; first += together) {
    Parameter factor[together], summand[together];
    uint32_t least[together];
    for (int k = 0; k < together; ++k) factor[k] = a[first + k], summand[k] = b[first + k], least[k] = row[first + k];
    for (int64_t t = 0; t < count; ++t)
      for (int k = 0; k < together; ++k) {
        const uint32_t hash = value(factor[k], static_cast<Parameter>(tokens[t]), summand[k]);
        least[k] = hash < least[k] ? hash : least[k];
      }
    for (int k = 0; k < together; ++k) row[first + k] = least[k];
  }
}

void affine32(const void* tokens, int64_t count, const void* a, const void* b, int64_t permutations, uint32_t* row) {
  fold<uint32_t, uint32_t>(tokens, count, a, b, permutations, row,
                           [](uint32_t a, uint32_t x, uint32_t b) { return a * x + b; });
}
void multiply_shift64(const void* tokens, int64_t count, const void* a, const void* b, int64_t permutations,
                      uint32_t* row) {
  fold<uint32_t, uint64_t>(tokens, count, a, b, permutations, row,
                           [](uint64_t a, uint64_t x, uint64_t b) { return static_cast<uint32_t>((a * x + b) >> 32); });
}
void mersenne(const void* tokens, int64_t count, const void* a, const void* b, int64_t permutations, uint32_t* row) {
  fold<uint32_t, uint64_t>(tokens, count, a, b, permutations, row, [](uint64_t a, uint64_t x, uint64_t b) {
    const unsigned __int128 sum = static_cast<unsigned __int128>(a) * x + b;  // below 2^93
    const uint64_t folded = (static_cast<uint64_t>(sum) & mersenne61) + static_cast<uint64_t>(sum >> 61);
    return static_cast<uint32_t>(folded % mersenne61);
  });
}
void datasketch_legacy(const void* tokens, int64_t count, const void* a, const void* b, int64_t permutations,
                       uint32_t* row) {
  fold<uint64_t, uint64_t>(tokens, count, a, b, permutations, row, [](uint64_t a, uint64_t x, uint64_t b) {
    return static_cast<uint32_t>((a * x + b) % mersenne61);
  });
}

void bins(const uint32_t* tokens, int64_t count, uint32_t a, uint32_t b, uint32_t bins, uint32_t* row) {
  for (int64_t t = 0; t < count; ++t) {
    uint32_t hash = fmix32(a * tokens[t] + b);
    hash = hash == no_value ? no_value - 1 : hash;
    uint32_t& least = row[(static_cast<uint64_t>(hash) * bins) >> 32];
    least = hash < least ? hash : least;
  }
}

}  // namespace

const SketchKernels& sketch_kernels_scalar() {
  static constexpr SketchKernels kernels = {mix_tokens, mix_wide_tokens,   affine32, multiply_shift64,
                                            mersenne,   datasketch_legacy, bins,     densify_row,
                                            key_bands,  pack_bits};
  return kernels;
}

}  // namespace warphash::lsh
