// SPDX-License-Identifier: Apache-2.0
// Tensors of a call to pointers and sizes, for the CPU and the CUDA entries alike. What the data hold is not looked at.
#pragma once

#include <cstdint>

#include "common/checks.h"
#include "lsh/sketches/sketches.h"

namespace warphash::lsh {

struct SetOperands {
  Tensor tokens, offsets;
  Sets sets{};

  SetOperands(const Tensor& given_tokens, const Tensor& given_offsets)
      : tokens(torch::stable::contiguous(given_tokens)), offsets(torch::stable::contiguous(given_offsets)) {
    const ScalarType type = tokens.scalar_type();
    STD_TORCH_CHECK(tokens.dim() == 1, "tokens must be 1-D");
    STD_TORCH_CHECK(type == ScalarType::Int || type == ScalarType::Long, "tokens must be int32 or int64");
    STD_TORCH_CHECK(offsets.dim() == 1 && offsets.size(0) >= 1 && offsets.scalar_type() == ScalarType::Long,
                    "offsets must be int64 [N + 1]");
    check_same_device(tokens, "tokens", offsets, "offsets");
    sets = {tokens.const_data_ptr(), type == ScalarType::Long, tokens.size(0), offsets.const_data_ptr<int64_t>(),
            offsets.size(0) - 1};
  }
};

struct PermutationOperands {
  Tensor a, b;
  Permutations permutations{};

  PermutationOperands(const Tensor& given_a, const Tensor& given_b, int64_t scheme, const Tensor& tokens)
      : a(checked(given_a, "a", tokens)), b(checked(given_b, "b", tokens)) {
    STD_TORCH_CHECK(a.size(0) == b.size(0), "a and b must be of one length");
    STD_TORCH_CHECK(0 <= scheme && scheme < scheme_count, "scheme must be in [0, ", scheme_count, "), got ", scheme);
    permutations = {reinterpret_cast<const uint64_t*>(a.const_data_ptr<int64_t>()),
                    reinterpret_cast<const uint64_t*>(b.const_data_ptr<int64_t>()), a.size(0),
                    static_cast<Scheme>(scheme)};
  }

 private:
  static Tensor checked(const Tensor& x, const char* name, const Tensor& tokens) {
    STD_TORCH_CHECK(x.dim() == 1 && x.scalar_type() == ScalarType::Long, name, " must be int64 [P]");
    check_same_device(tokens, "tokens", x, name);
    return torch::stable::contiguous(x);
  }
};

inline void check_bins(int64_t bins) {
  STD_TORCH_CHECK(0 < bins && bins < (int64_t{1} << 31), "num_bins must be in [1, 2^31), got ", bins);
}

struct SignatureOperands {
  Tensor held;
  Signatures signatures{};

  explicit SignatureOperands(const Tensor& given) : held(torch::stable::contiguous(given)) {
    STD_TORCH_CHECK(held.dim() == 2 && held.scalar_type() == ScalarType::Int,
                    "signatures must be int32 with two dimensions");
    STD_TORCH_CHECK(held.size(1) < (int64_t{1} << 31), "signatures must be less than 2^31 wide, got ", held.size(1));
    signatures = {reinterpret_cast<const uint32_t*>(held.const_data_ptr<int32_t>()), held.size(0), held.size(1)};
  }
  void check_bands(int64_t bands) const {
    STD_TORCH_CHECK(bands > 0 && signatures.width > 0 && signatures.width % bands == 0, "bands must divide the ",
                    signatures.width, " values of a signature, got ", bands);
  }
  static void check_bits(int64_t bits) {
    STD_TORCH_CHECK(bits == 1 || bits == 2 || bits == 4 || bits == 8 || bits == 16,
                    "bits must be 1, 2, 4, 8 or 16, got ", bits);
  }
  int64_t bytes(int64_t bits) const { return (signatures.width * bits + 7) / 8; }
};

}  // namespace warphash::lsh
