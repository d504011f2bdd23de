// SPDX-License-Identifier: Apache-2.0
// CUDA entries of the sketches. All work goes to the current stream, and nothing waits for it.
#include <torch/csrc/stable/library.h>

#include "common/stream.h"
#include "lsh/sketches/sketches.cuh"
#include "lsh/sketches/sketches_operands.h"

namespace warphash::lsh {
namespace {

uint32_t* words(Tensor& x) { return reinterpret_cast<uint32_t*>(x.mutable_data_ptr<int32_t>()); }

Tensor minhash_cuda(const Tensor& tokens, const Tensor& offsets, const Tensor& a, const Tensor& b, int64_t scheme) {
  const SetOperands operands(tokens, offsets);
  const PermutationOperands parameters(a, b, scheme, tokens);
  const OnDevice device(tokens);
  Tensor signatures = device.empty({operands.sets.sets, parameters.permutations.count}, ScalarType::Int);
  OnDevice::check(minhash(operands.sets, parameters.permutations, words(signatures), device.stream()));
  return signatures;
}

Tensor one_permutation_cuda(const Tensor& tokens, const Tensor& offsets, int64_t num_bins, int64_t a, int64_t b) {
  const SetOperands operands(tokens, offsets);
  check_bins(num_bins);
  const OnDevice device(tokens);
  Tensor signatures = device.empty({operands.sets.sets, num_bins}, ScalarType::Int);
  OnDevice::check(one_permutation(operands.sets, num_bins, static_cast<uint32_t>(a), static_cast<uint32_t>(b),
                                  words(signatures), device.stream()));
  return signatures;
}

Tensor densify_cuda(const Tensor& given, int64_t seed) {
  const SignatureOperands operands(given);
  const OnDevice device(given);
  Tensor filled = device.empty({operands.signatures.rows, operands.signatures.width}, ScalarType::Int);
  OnDevice::check(densify(operands.signatures, static_cast<uint64_t>(seed), words(filled), device.stream()));
  return filled;
}

Tensor band_keys_cuda(const Tensor& given, int64_t bands) {
  const SignatureOperands operands(given);
  operands.check_bands(bands);
  const OnDevice device(given);
  Tensor keys = device.empty({operands.signatures.rows, bands}, ScalarType::Long);
  OnDevice::check(band_keys(operands.signatures, bands, keys.mutable_data_ptr<int64_t>(), device.stream()));
  return keys;
}

Tensor bbit_pack_cuda(const Tensor& given, int64_t bits) {
  const SignatureOperands operands(given);
  SignatureOperands::check_bits(bits);
  const OnDevice device(given);
  Tensor codes = device.empty({operands.signatures.rows, operands.bytes(bits)}, ScalarType::Byte);
  OnDevice::check(
      bbit_pack(operands.signatures, static_cast<int>(bits), codes.mutable_data_ptr<uint8_t>(), device.stream()));
  return codes;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(warphash, CUDA, m) {
  m.impl("lsh_minhash", TORCH_BOX(&minhash_cuda));
  m.impl("lsh_one_permutation", TORCH_BOX(&one_permutation_cuda));
  m.impl("lsh_densify", TORCH_BOX(&densify_cuda));
  m.impl("lsh_band_keys", TORCH_BOX(&band_keys_cuda));
  m.impl("lsh_bbit_pack", TORCH_BOX(&bbit_pack_cuda));
}

}  // namespace warphash::lsh
