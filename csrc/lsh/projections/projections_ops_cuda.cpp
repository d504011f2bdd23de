// SPDX-License-Identifier: Apache-2.0
// CUDA entries of the projections. All work goes to the current stream, and nothing waits for it.
#include <torch/csrc/stable/library.h>

#include "common/stream.h"
#include "lsh/projections/operands.h"
#include "lsh/projections/projections.cuh"

namespace warphash::lsh {
namespace {

Tensor simhash_cuda(const Tensor& x, const Tensor& planes, bool fast) {
  const Operands vectors(x);
  const Matrix columns(planes, "planes", vectors);
  const OnDevice device(x);
  Tensor codes = device.empty(vectors.with_last((columns.count + 7) / 8), ScalarType::Byte);
  uint8_t* const out = codes.mutable_data_ptr<uint8_t>();
  if (!fast || vectors.wide()) {
    OnDevice::check(simhash(vectors.vectors, columns.weights, columns.count, out, device.stream()));
    return codes;
  }
  Tensor workspace = device.workspace(simhash_fast_workspace(vectors.vectors, columns.count));
  OnDevice::check(simhash_fast(vectors.vectors, columns.weights, columns.count, device.multiprocessors(),
                               workspace.mutable_data_ptr(), out, device.stream()));
  return codes;
}

Tensor simhash_codes_cuda(const Tensor& x, const Tensor& planes, int64_t bits, bool gray) {
  const Operands vectors(x);
  const Matrix columns(planes, "planes", vectors);
  check_bits(bits, columns.count);
  const int64_t hashes = columns.count / bits;
  const OnDevice device(x);
  Tensor codes = device.empty(vectors.with_last(hashes), ScalarType::Int);
  OnDevice::check(simhash_codes(vectors.vectors, columns.weights, hashes, static_cast<int>(bits), gray,
                                codes.mutable_data_ptr<int32_t>(), device.stream()));
  return codes;
}

Tensor hd3_cuda(const Tensor& x, const Tensor& signs, int64_t bits) {
  const Operands vectors(x);
  const Rotations rotations(signs, vectors);
  check_rotation_bits(bits, rotations);
  const OnDevice device(x);
  const int multiprocessors = device.multiprocessors();
  Tensor codes = device.empty(vectors.with_last((bits + 7) / 8), ScalarType::Byte);
  Tensor workspace = device.workspace(rotation_workspace(vectors.vectors, rotations.count, multiprocessors));
  OnDevice::check(hd3(vectors.vectors, rotations.data(), rotations.count, bits, multiprocessors,
                      workspace.mutable_data_ptr(), codes.mutable_data_ptr<uint8_t>(), device.stream()));
  return codes;
}

Tensor cross_polytope_cuda(const Tensor& x, const Tensor& signs) {
  const Operands vectors(x);
  const Rotations rotations(signs, vectors);
  const OnDevice device(x);
  const int multiprocessors = device.multiprocessors();
  Tensor codes = device.empty(vectors.with_last(rotations.count), ScalarType::Int);
  Tensor workspace = device.workspace(rotation_workspace(vectors.vectors, rotations.count, multiprocessors));
  OnDevice::check(cross_polytope(vectors.vectors, rotations.data(), rotations.count, multiprocessors,
                                 workspace.mutable_data_ptr(), codes.mutable_data_ptr<int32_t>(), device.stream()));
  return codes;
}

Tensor pstable_cuda(const Tensor& x, const Tensor& directions, const Tensor& offsets, double width) {
  const Operands vectors(x);
  const Matrix columns(directions, "directions", vectors);
  const Row shifts(offsets, "offsets", vectors, columns.count);
  check_width(width, vectors);
  const OnDevice device(x);
  Tensor codes = device.empty(vectors.with_last(columns.count), ScalarType::Int);
  OnDevice::check(pstable(vectors.vectors, columns.weights, shifts.weights, columns.count, width,
                          codes.mutable_data_ptr<int32_t>(), device.stream()));
  return codes;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(warphash, CUDA, m) {
  m.impl("lsh_simhash", TORCH_BOX(&simhash_cuda));
  m.impl("lsh_simhash_codes", TORCH_BOX(&simhash_codes_cuda));
  m.impl("lsh_hd3", TORCH_BOX(&hd3_cuda));
  m.impl("lsh_cross_polytope", TORCH_BOX(&cross_polytope_cuda));
  m.impl("lsh_pstable", TORCH_BOX(&pstable_cuda));
}

}  // namespace warphash::lsh
