// SPDX-License-Identifier: Apache-2.0
// Schemas of the projections and their CPU entries.
#include <torch/csrc/stable/library.h>

#include "lsh/projections/operands.h"

namespace warphash::lsh {
namespace {

Tensor simhash_cpu(const Tensor& x, const Tensor& planes, bool fast) {
  const Operands vectors(x);
  const Matrix columns(planes, "planes", vectors);
  Tensor codes = empty_on_cpu(vectors.with_last((columns.count + 7) / 8), ScalarType::Byte);
  simhash(chosen_isa(), vectors.vectors, columns.weights, columns.count, fast, codes.mutable_data_ptr<uint8_t>());
  return codes;
}

Tensor simhash_codes_cpu(const Tensor& x, const Tensor& planes, int64_t bits, bool gray) {
  const Operands vectors(x);
  const Matrix columns(planes, "planes", vectors);
  check_bits(bits, columns.count);
  const int64_t hashes = columns.count / bits;
  Tensor codes = empty_on_cpu(vectors.with_last(hashes), ScalarType::Int);
  simhash_codes(chosen_isa(), vectors.vectors, columns.weights, hashes, static_cast<int>(bits), gray,
                codes.mutable_data_ptr<int32_t>());
  return codes;
}

Tensor hd3_cpu(const Tensor& x, const Tensor& signs, int64_t bits) {
  const Operands vectors(x);
  const Rotations rotations(signs, vectors);
  check_rotation_bits(bits, rotations);
  Tensor codes = empty_on_cpu(vectors.with_last((bits + 7) / 8), ScalarType::Byte);
  hd3(chosen_isa(), vectors.vectors, rotations.data(), rotations.count, bits, codes.mutable_data_ptr<uint8_t>());
  return codes;
}

Tensor cross_polytope_cpu(const Tensor& x, const Tensor& signs) {
  const Operands vectors(x);
  const Rotations rotations(signs, vectors);
  Tensor codes = empty_on_cpu(vectors.with_last(rotations.count), ScalarType::Int);
  cross_polytope(chosen_isa(), vectors.vectors, rotations.data(), rotations.count, codes.mutable_data_ptr<int32_t>());
  return codes;
}

Tensor pstable_cpu(const Tensor& x, const Tensor& directions, const Tensor& offsets, double width) {
  const Operands vectors(x);
  const Matrix columns(directions, "directions", vectors);
  const Row shifts(offsets, "offsets", vectors, columns.count);
  check_width(width, vectors);
  Tensor codes = empty_on_cpu(vectors.with_last(columns.count), ScalarType::Int);
  pstable(chosen_isa(), vectors.vectors, columns.weights, shifts.weights, columns.count, width,
          codes.mutable_data_ptr<int32_t>());
  return codes;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(warphash, m) {
  m.def("lsh_simhash(Tensor x, Tensor planes, bool fast) -> Tensor");
  m.def("lsh_simhash_codes(Tensor x, Tensor planes, int bits, bool gray) -> Tensor");
  m.def("lsh_hd3(Tensor x, Tensor signs, SymInt bits) -> Tensor");
  m.def("lsh_cross_polytope(Tensor x, Tensor signs) -> Tensor");
  m.def("lsh_pstable(Tensor x, Tensor directions, Tensor offsets, float width) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(warphash, CPU, m) {
  m.impl("lsh_simhash", TORCH_BOX(&simhash_cpu));
  m.impl("lsh_simhash_codes", TORCH_BOX(&simhash_codes_cpu));
  m.impl("lsh_hd3", TORCH_BOX(&hd3_cpu));
  m.impl("lsh_cross_polytope", TORCH_BOX(&cross_polytope_cpu));
  m.impl("lsh_pstable", TORCH_BOX(&pstable_cpu));
}

}  // namespace warphash::lsh
