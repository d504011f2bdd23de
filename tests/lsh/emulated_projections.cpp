// SPDX-License-Identifier: Apache-2.0
// Names the launchers for Python: structs taken apart, workspaces of exactly the size asked for, so that mode asan sees
// what goes past them.
#include <cstdlib>
#include <cstring>

#include "lsh/projections/projections.cuh"

namespace warphash::lsh {
namespace {

constexpr int multiprocessors = 2;

class Workspace {
 public:
  explicit Workspace(size_t bytes) : data_(std::aligned_alloc(256, (bytes + 255) / 256 * 256)) {
    if (data_ != nullptr) std::memset(data_, 0xff, bytes);
  }
  ~Workspace() { std::free(data_); }
  operator void*() const { return data_; }

 private:
  void* data_;
};

Vectors vectors_of(int type, const void* x, int64_t rows, int64_t dim) {
  return {static_cast<VectorType>(type), x, rows, dim};
}

cudaError_t emulated_simhash(int type, const void* x, int64_t rows, int64_t dim, const void* planes, bool wide,
                             int64_t bits, uint8_t* codes, cudaStream_t stream) {
  return simhash(vectors_of(type, x, rows, dim), {planes, wide}, bits, codes, stream);
}

cudaError_t emulated_simhash_fast(int type, const void* x, int64_t rows, int64_t dim, const float* planes, int64_t bits,
                                  uint8_t* codes, cudaStream_t stream) {
  const Vectors vectors = vectors_of(type, x, rows, dim);
  return simhash_fast(vectors, {planes, false}, bits, multiprocessors, Workspace(simhash_fast_workspace(vectors, bits)),
                      codes, stream);
}

cudaError_t emulated_simhash_codes(int type, const void* x, int64_t rows, int64_t dim, const void* planes, bool wide,
                                   int64_t hashes, int bits, bool gray, int32_t* codes, cudaStream_t stream) {
  return simhash_codes(vectors_of(type, x, rows, dim), {planes, wide}, hashes, bits, gray, codes, stream);
}

cudaError_t emulated_pstable(int type, const void* x, int64_t rows, int64_t dim, const void* directions, bool wide,
                             const void* offsets, bool wide_offsets, int64_t hashes, double width, int32_t* codes,
                             cudaStream_t stream) {
  return pstable(vectors_of(type, x, rows, dim), {directions, wide}, {offsets, wide_offsets}, hashes, width, codes,
                 stream);
}

cudaError_t emulated_hd3(int type, const void* x, int64_t rows, int64_t dim, const uint8_t* signs, int64_t rotations,
                         int64_t bits, uint8_t* codes, cudaStream_t stream) {
  const Vectors vectors = vectors_of(type, x, rows, dim);
  return hd3(vectors, signs, rotations, bits, multiprocessors,
             Workspace(rotation_workspace(vectors, rotations, multiprocessors)), codes, stream);
}

cudaError_t emulated_cross_polytope(int type, const void* x, int64_t rows, int64_t dim, const uint8_t* signs,
                                    int64_t tables, int32_t* codes, cudaStream_t stream) {
  const Vectors vectors = vectors_of(type, x, rows, dim);
  return cross_polytope(vectors, signs, tables, multiprocessors,
                        Workspace(rotation_workspace(vectors, tables, multiprocessors)), codes, stream);
}

}  // namespace
}  // namespace warphash::lsh

EMULATED_LAUNCHER(simhash, warphash::lsh::emulated_simhash);
EMULATED_LAUNCHER(simhash_fast, warphash::lsh::emulated_simhash_fast);
EMULATED_LAUNCHER(simhash_codes, warphash::lsh::emulated_simhash_codes);
EMULATED_LAUNCHER(pstable, warphash::lsh::emulated_pstable);
EMULATED_LAUNCHER(hd3, warphash::lsh::emulated_hd3);
EMULATED_LAUNCHER(cross_polytope, warphash::lsh::emulated_cross_polytope);
