// SPDX-License-Identifier: Apache-2.0
// Chains of fused multiply-adds for processors that may lack the instruction: its result by float64 arithmetic, since a
// libm without the instruction takes far longer. Bound: about ten operations a multiply-add.
#include <cstring>

#include "lsh/projections/projections.h"

namespace warphash::lsh {
namespace {

// s + error, where s is the rounded sum, rounded to odd instead: rounding that to float32 is right at any bit.
float rounded_once(double s, double error) {
  uint64_t bits;
  std::memcpy(&bits, &s, 8);
  if (error == 0 || (bits & 1) != 0) return static_cast<float>(s);
  bits += (error > 0) == (s > 0) ? 1 : -1;
  std::memcpy(&s, &bits, 8);
  return static_cast<float>(s);
}

inline float multiply_add(float a, float b, float c) {
  const double product = static_cast<double>(a) * b, sum = product + c;  // the product is exact
  uint64_t bits;
  std::memcpy(&bits, &sum, 8);
  // The second rounding goes wrong only half-way between two float32, whose bits end so or which are subnormal.
  const bool plain = (bits & 0x1fffffff) != 0x10000000 && (bits << 1) >= (uint64_t{0x381} << 53);
  if (__builtin_expect(plain, 1)) return static_cast<float>(sum);
  if (sum == 0 || !__builtin_isfinite(sum)) return static_cast<float>(sum);
  const double rest = sum - product;
  return rounded_once(sum, (product - (sum - rest)) + (c - rest));
}
inline double multiply_add(double a, double b, double c) { return __builtin_fma(a, b, c); }

inline float floor_of(float x) { return __builtin_floorf(x); }
inline double floor_of(double x) { return __builtin_floor(x); }

constexpr int panel = 16;
int layout_width(int columns) { return columns; }

template <class Real>
void row_sums(const ChainBlock<Real>& block, int row, Real* sums) {
  const Real* x = block.rows + row * block.row_stride;
  const Real* line = block.panel;
  if (block.resumed)
    std::memcpy(sums, block.sums + static_cast<int64_t>(row) * panel, sizeof(Real) * block.columns);
  else
    std::memset(sums, 0, sizeof(Real) * block.columns);
  for (int64_t j = 0; j < block.dim; ++j, line += block.panel_stride)
    for (int column = 0; column < block.columns; ++column)
      sums[column] = multiply_add(x[j], line[column], sums[column]);
}

template <class Real>
void signs(const ChainBlock<Real>& block, uint8_t* bits, int64_t stride) {
  for (int row = 0; row < block.count; ++row, bits += stride) {
    Real sums[panel] = {};
    row_sums(block, row, sums);
    unsigned word = 0;
    for (int column = 0; column < panel; ++column) word |= static_cast<unsigned>(sums[column] >= 0) << column;
    bits[0] = static_cast<uint8_t>(word);
    bits[1] = static_cast<uint8_t>(word >> 8);
  }
}

template <class Real>
void sums(const ChainBlock<Real>& block) {
  for (int row = 0; row < block.count; ++row) {
    Real sums[panel];
    row_sums(block, row, sums);
    std::memcpy(block.sums + static_cast<int64_t>(row) * panel, sums, sizeof(Real) * block.columns);
  }
}

template <class Real>
void quantise(const Real* sums, const Real* offsets, Real width, int count, int32_t* codes) {
  constexpr Real end = 2147483648.0;
  for (int i = 0; i < count; ++i) {
    const Real place = floor_of((sums[i] + offsets[i]) / width);
    codes[i] = place >= end ? INT32_MAX : place >= -end ? static_cast<int32_t>(place) : INT32_MIN;
  }
}

void widen(VectorType type, const uint16_t* from, int64_t count, float* to) {
  if (type == VectorType::bf16) {
    for (int64_t i = 0; i < count; ++i) {
      const uint32_t bits = static_cast<uint32_t>(from[i]) << 16;
      std::memcpy(to + i, &bits, 4);
    }
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    _Float16 half;
    std::memcpy(&half, from + i, 2);
    to[i] = static_cast<float>(half);
  }
}

}  // namespace

const ChainTable& chains_scalar() {
  static constexpr ChainTable table = {{panel, layout_width, signs<float>, sums<float>, quantise<float>},
                                       {panel, layout_width, signs<double>, sums<double>, quantise<double>},
                                       widen};
  return table;
}

}  // namespace warphash::lsh
