// SPDX-License-Identifier: Apache-2.0
// Rotations by signs and Hadamard transforms, as they are defined; what the compiler makes of it.
#include "lsh/projections/projections.h"

namespace warphash::lsh {
namespace {

inline float magnitude(float x) { return __builtin_fabsf(x); }
inline double magnitude(double x) { return __builtin_fabs(x); }

// A row rotated into block.work.
template <class Real>
void rotate(const RotationBlock<Real>& block, const Real* row, int64_t rotation) {
  const int64_t size = int64_t{1} << block.log_size;
  const Real scale = Real{1} / static_cast<Real>(int64_t{1} << (block.log_size + 1) / 2);
  Real* work = block.work;
  for (int round = 0; round < 3; ++round) {
    const uint8_t* negate = block.signs + (rotation * 3 + round) * (size / 8);
    for (int64_t i = 0; i < size; ++i) {
      const Real value = round == 0 ? row[i] : work[i] * scale;
      work[i] = negate[i / 8] >> (i % 8) & 1 ? -value : value;
    }
    for (int64_t h = 1; h < size; h *= 2)
      for (int64_t first = 0; first < size; first += 2 * h)
        for (int64_t i = first; i < first + h; ++i) {
          const Real a = work[i], b = work[i + h];
          work[i] = a + b;
          work[i + h] = a - b;
        }
  }
  for (int64_t i = 0; i < size; ++i) work[i] *= scale;
}

template <class Real>
void signs(const RotationBlock<Real>& block, uint8_t* bits, int64_t stride) {
  const int64_t size = int64_t{1} << block.log_size;
  for (int row = 0; row < block.count; ++row, bits += stride)
    for (int64_t rotation = 0; rotation < block.rotations; ++rotation) {
      rotate(block, block.rows + row * block.row_stride, rotation);
      for (int64_t byte = 0; byte < size / 8; ++byte) {
        unsigned packed = 0;
        for (int i = 0; i < 8; ++i) packed |= static_cast<unsigned>(block.work[8 * byte + i] >= 0) << i;
        bits[rotation * (size / 8) + byte] = static_cast<uint8_t>(packed);
      }
    }
}

template <class Real>
void largest(const RotationBlock<Real>& block, int32_t* codes) {
  const int64_t size = int64_t{1} << block.log_size;
  for (int row = 0; row < block.count; ++row)
    for (int64_t rotation = 0; rotation < block.rotations; ++rotation) {
      rotate(block, block.rows + row * block.row_stride, rotation);
      int64_t place = 0;
      Real most = -1;
      for (int64_t i = 0; i < size; ++i)
        if (magnitude(block.work[i]) > most) most = magnitude(block.work[i]), place = i;
      *codes++ = static_cast<int32_t>(place + (block.work[place] < 0 ? size : 0));
    }
}

}  // namespace

const RotationTable& rotations_scalar() {
  static constexpr RotationTable table = {{3, signs<float>, largest<float>}, {3, signs<double>, largest<double>}};
  return table;
}

}  // namespace warphash::lsh
