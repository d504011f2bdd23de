// SPDX-License-Identifier: Apache-2.0
// Schemas of the sketches and their CPU entries.
#include <torch/csrc/stable/library.h>

#include "lsh/sketches/sketches_operands.h"

namespace warphash::lsh {
namespace {

uint32_t* words(Tensor& x) { return reinterpret_cast<uint32_t*>(x.mutable_data_ptr<int32_t>()); }

Tensor minhash_cpu(const Tensor& tokens, const Tensor& offsets, const Tensor& a, const Tensor& b, int64_t scheme) {
  const SetOperands operands(tokens, offsets);
  const PermutationOperands parameters(a, b, scheme, tokens);
  check_parameters(parameters.permutations);
  check_offsets(operands.sets);
  Tensor signatures = empty_on_cpu({operands.sets.sets, parameters.permutations.count}, ScalarType::Int);
  minhash(chosen_isa(), operands.sets, parameters.permutations, words(signatures));
  return signatures;
}

Tensor one_permutation_cpu(const Tensor& tokens, const Tensor& offsets, int64_t num_bins, int64_t a, int64_t b) {
  const SetOperands operands(tokens, offsets);
  check_bins(num_bins);
  check_offsets(operands.sets);
  Tensor signatures = empty_on_cpu({operands.sets.sets, num_bins}, ScalarType::Int);
  one_permutation(chosen_isa(), operands.sets, num_bins, static_cast<uint32_t>(a), static_cast<uint32_t>(b),
                  words(signatures));
  return signatures;
}

Tensor densify_cpu(const Tensor& given, int64_t seed) {
  const SignatureOperands operands(given);
  Tensor filled = empty_on_cpu({operands.signatures.rows, operands.signatures.width}, ScalarType::Int);
  densify(chosen_isa(), operands.signatures, static_cast<uint64_t>(seed), words(filled));
  return filled;
}

Tensor band_keys_cpu(const Tensor& given, int64_t bands) {
  const SignatureOperands operands(given);
  operands.check_bands(bands);
  Tensor keys = empty_on_cpu({operands.signatures.rows, bands}, ScalarType::Long);
  band_keys(chosen_isa(), operands.signatures, bands, keys.mutable_data_ptr<int64_t>());
  return keys;
}

Tensor bbit_pack_cpu(const Tensor& given, int64_t bits) {
  const SignatureOperands operands(given);
  SignatureOperands::check_bits(bits);
  Tensor codes = empty_on_cpu({operands.signatures.rows, operands.bytes(bits)}, ScalarType::Byte);
  bbit_pack(chosen_isa(), operands.signatures, static_cast<int>(bits), codes.mutable_data_ptr<uint8_t>());
  return codes;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(warphash, m) {
  m.def("lsh_minhash(Tensor tokens, Tensor offsets, Tensor a, Tensor b, int scheme) -> Tensor");
  m.def("lsh_one_permutation(Tensor tokens, Tensor offsets, SymInt num_bins, int a, int b) -> Tensor");
  m.def("lsh_densify(Tensor signatures, int seed) -> Tensor");
  m.def("lsh_band_keys(Tensor signatures, SymInt bands) -> Tensor");
  m.def("lsh_bbit_pack(Tensor signatures, int bits) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(warphash, CPU, m) {
  m.impl("lsh_minhash", TORCH_BOX(&minhash_cpu));
  m.impl("lsh_one_permutation", TORCH_BOX(&one_permutation_cpu));
  m.impl("lsh_densify", TORCH_BOX(&densify_cpu));
  m.impl("lsh_band_keys", TORCH_BOX(&band_keys_cpu));
  m.impl("lsh_bbit_pack", TORCH_BOX(&bbit_pack_cpu));
}

}  // namespace warphash::lsh
