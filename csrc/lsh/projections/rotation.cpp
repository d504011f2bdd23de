// SPDX-License-Identifier: Apache-2.0
// Structured SimHash and cross-polytope codes: rows padded to a power of two, signs laid out, kernels chosen by size.
#include <cstring>

#include "lsh/projections/blocks.h"

namespace warphash::lsh {
namespace {

constexpr int64_t block_bytes = 64 * 1024;  // of float rows
constexpr int64_t task_work = 1 << 19;      // values through a rotation that are worth a task's overhead

const RotationTable& table_for(Isa isa) {
  return isa == Isa::scalar ? rotations_scalar() : isa == Isa::avx2 ? rotations_avx2() : rotations_avx512();
}
const RotationKernels<float>& kernels_of(const RotationTable& table, float) { return table.single; }
const RotationKernels<double>& kernels_of(const RotationTable& table, double) { return table.wide; }

// Of the set, or of the one below for sizes that do not fill its registers.
template <class Real>
const RotationKernels<Real>& kernels_for(Isa isa, int log_size) {
  for (int level = static_cast<int>(std::min(isa, Isa::avx512));; --level) {
    const RotationKernels<Real>& kernels = kernels_of(table_for(static_cast<Isa>(level)), Real{});
    if (log_size >= kernels.least_log_size) return kernels;
  }
}

// Signs as factors: the first round's ±1, the others' times the power of two that ends the round before.
template <class Real>
AlignedBuffer factors_of(const uint8_t* signs, int64_t rotations, int log_size) {
  const int64_t size = int64_t{1} << log_size;
  const Real scale = Real{1} / static_cast<Real>(int64_t{1} << (log_size + 1) / 2);
  AlignedBuffer factors(sizeof(Real) * rotations * 3 * size);
  Real* to = factors.template as<Real>();
  for (int64_t row = 0; row < rotations * 3; ++row, signs += size / 8)
    for (int64_t i = 0; i < size; ++i) {
      const Real factor = row % 3 == 0 ? 1 : scale;
      *to++ = signs[i / 8] >> (i % 8) & 1 ? -factor : factor;
    }
  return factors;
}

// body(first row, block) over blocks of rows that lie padded and in the kernels' type.
template <class Real, class Body>
void over_rotations(Isa isa, const Vectors& x, const uint8_t* signs, int64_t rotations, size_t row_bytes,
                    const Body& body) {
  const int64_t size = rotation_size(x.dim);
  const int log_size = __builtin_ctzll(static_cast<uint64_t>(size));
  const RotationKernels<Real>& kernels = kernels_for<Real>(isa, log_size);
  const ChainTable& chains = isa == Isa::scalar ? chains_scalar() : isa == Isa::avx2 ? chains_avx2() : chains_avx512();
  const bool in_place = is_direct<Real>(x.type) && x.dim == size;
  const AlignedBuffer factors =
      log_size <= most_factors_log ? factors_of<Real>(signs, rotations, log_size) : AlignedBuffer();
  const int64_t block_rows = std::max<int64_t>(1, block_bytes / (size * static_cast<int64_t>(sizeof(Real))));
  const int64_t rows_a_task = block_rows * std::clamp<int64_t>(task_work / (block_rows * size * rotations), 1, 64);
  const size_t work_bytes = (sizeof(Real) * size + 63) / 64 * 64;
  const size_t rows_bytes = in_place ? 0 : sizeof(Real) * block_rows * size;
  over_rows(x.rows, rows_a_task, x.rows * size * rotations > task_work / 8,
            work_bytes + rows_bytes + block_rows * row_bytes, [&](int64_t first, int64_t last, uint8_t* memory) {
              RotationBlock<Real> block{};
              block.row_stride = size;
              block.log_size = log_size;
              block.signs = signs;
              block.factors = factors.template as<Real>();
              block.rotations = rotations;
              block.work = reinterpret_cast<Real*>(memory);
              Real* padded = reinterpret_cast<Real*>(memory + work_bytes);
              if (!in_place) std::memset(padded, 0, sizeof(Real) * size * std::min(block_rows, last - first));
              for (int64_t row = first; row < last; row += block_rows) {
                block.count = static_cast<int>(std::min(block_rows, last - row));
                block.rows = padded;
                const uint8_t* from = static_cast<const uint8_t*>(x.data) + row * x.dim * bytes_of(x.type);
                if (in_place)
                  block.rows = reinterpret_cast<const Real*>(from);
                else if (x.dim > 0)
                  for (int i = 0; i < block.count; ++i, from += x.dim * bytes_of(x.type)) {
                    if (is_direct<Real>(x.type))
                      std::memcpy(padded + i * size, from, x.dim * sizeof(Real));
                    else if constexpr (std::is_same_v<Real, float>)
                      chains.widen(x.type, reinterpret_cast<const uint16_t*>(from), x.dim, padded + i * size);
                  }
                body(kernels, row, block, memory + work_bytes + rows_bytes);
              }
            });
}

template <class Real>
void hd3_in(Isa isa, const Vectors& x, const uint8_t* signs, int64_t rotations, int64_t bits, uint8_t* codes) {
  const int64_t stride = rotations * rotation_size(x.dim) / 8, bytes = ceil_div(bits, 8);
  const bool direct = bits == 8 * stride;
  over_rotations<Real>(
      isa, x, signs, rotations, direct ? 0 : stride,
      [&](const RotationKernels<Real>& kernels, int64_t row, const RotationBlock<Real>& block, uint8_t* scratch) {
        if (direct) return kernels.signs(block, codes + row * stride, stride);
        kernels.signs(block, scratch, stride);
        for (int i = 0; i < block.count; ++i) copy_bits(scratch + i * stride, bits, codes + (row + i) * bytes);
      });
}

template <class Real>
void cross_polytope_in(Isa isa, const Vectors& x, const uint8_t* signs, int64_t tables, int32_t* codes) {
  over_rotations<Real>(isa, x, signs, tables, 0,
                       [&](const RotationKernels<Real>& kernels, int64_t row, const RotationBlock<Real>& block,
                           uint8_t*) { kernels.largest(block, codes + row * tables); });
}

}  // namespace

void hd3(Isa isa, const Vectors& x, const uint8_t* signs, int64_t rotations, int64_t bits, uint8_t* codes) {
  require(isa);
  if (x.rows == 0 || bits == 0) return;
  if (x.type == VectorType::f64) return hd3_in<double>(isa, x, signs, rotations, bits, codes);
  hd3_in<float>(isa, x, signs, rotations, bits, codes);
}

void cross_polytope(Isa isa, const Vectors& x, const uint8_t* signs, int64_t tables, int32_t* codes) {
  require(isa);
  if (x.rows == 0 || tables == 0) return;
  if (x.type == VectorType::f64) return cross_polytope_in<double>(isa, x, signs, tables, codes);
  cross_polytope_in<float>(isa, x, signs, tables, codes);
}

}  // namespace warphash::lsh
