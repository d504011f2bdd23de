// SPDX-License-Identifier: Apache-2.0
// The stages by one point at a time, for processors without AVX2, and all of float64. Bound: the reads of the table's rows.
#include <emmintrin.h>

#include "common/half.h"
#include "hashgrid/hashgrid_stages.h"

namespace warphash::hashgrid {
namespace {

template <class R>
struct One {
  using Real = R;
  using Reals = R;
  using Words = uint32_t;
  static constexpr int width = 1;
  static Reals fused(Reals x, Real scale, Real shift) { return std::fma(x, scale, shift); }
  static bool all_near(Reals x) { return std::fabs(x) < Real(0x1p31); }
  static Reals floored(Reals x, Words& cell) {
    int32_t low = static_cast<int32_t>(x);
    if (x < static_cast<Reals>(low)) --low;
    cell = static_cast<uint32_t>(low);
    return static_cast<Reals>(low);
  }
  static Words less_if_reached(Words row, uint32_t rows) { return row >= rows ? row - rows : row; }
  static bool any_reaches(Words row, uint32_t rows) { return row >= rows; }
};

// Rows of `stored` values, each of `width` of its features or, with width 1, one feature of any number.
template <class Real, class Stored, int width, Real (*value)(Stored)>
struct Rows {
  static constexpr int features = width;
  static constexpr bool pairs = false;
  const Stored* base;
  int64_t stride;
  Rows(const void* rows, int all, int first) : base(static_cast<const Stored*>(rows) + first), stride(all) {}
  void read(const uint32_t* row, Real* out) const {
    const Stored* from = base + *row * stride;
    for (int f = 0; f < width; ++f) out[f] = value(from[f]);
  }
};

template <class Real>
Real same(Real value) {
  return value;
}

template <class Real, class Stored, Real (*value)(Stored)>
constexpr void set_type(Kernels<Real>& kernels, TableType type) {
  using L = One<Real>;
  set_rows<L, Rows<Real, Stored, 1, value>>(kernels, type, 0);
  set_rows<L, Rows<Real, Stored, 1, value>>(kernels, type, 1);
  set_rows<L, Rows<Real, Stored, 2, value>>(kernels, type, 2);
  set_rows<L, Rows<Real, Stored, 4, value>>(kernels, type, 3);
  set_rows<L, Rows<Real, Stored, 8, value>>(kernels, type, 4);
}

template <class Real>
void turn(const Real* const* in, int64_t rows, int64_t columns, Real* out, int64_t out_stride) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) out[j * out_stride + i] = in[i][j];
}
// By squares of 4 x 4 in vectors of SSE2, which every x86-64 has.
template <>
void turn(const float* const* in, int64_t rows, int64_t columns, float* out, int64_t out_stride) {
  const int64_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
  for (int64_t i = 0; i < whole_rows; i += 4) {
    for (int64_t j = 0; j < whole_columns; j += 4) {
      __m128 a = _mm_loadu_ps(in[i] + j), b = _mm_loadu_ps(in[i + 1] + j);
      __m128 c = _mm_loadu_ps(in[i + 2] + j), d = _mm_loadu_ps(in[i + 3] + j);
      _MM_TRANSPOSE4_PS(a, b, c, d);
      float* to = out + j * out_stride + i;
      _mm_storeu_ps(to, a);
      _mm_storeu_ps(to + out_stride, b);
      _mm_storeu_ps(to + 2 * out_stride, c);
      _mm_storeu_ps(to + 3 * out_stride, d);
    }
    for (int64_t j = whole_columns; j < columns; ++j)
      for (int64_t k = i; k < i + 4; ++k) out[j * out_stride + k] = in[k][j];
  }
  for (int64_t i = whole_rows; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) out[j * out_stride + i] = in[i][j];
}

void widen(TableType type, const uint16_t* from, int64_t count, float* to) {
  if (type == TableType::bf16)
    for (int64_t i = 0; i < count; ++i) to[i] = float_of_bfloat16(from[i]);
  else
    for (int64_t i = 0; i < count; ++i) to[i] = float_of_float16(from[i]);
}
void narrow(TableType type, const float* from, int64_t count, uint16_t* to) {
  if (type == TableType::bf16)
    for (int64_t i = 0; i < count; ++i) to[i] = bfloat16_of_float(from[i]);
  else
    for (int64_t i = 0; i < count; ++i) to[i] = float16_of_float(from[i]);
}

constexpr Kernels<float> float_kernels() {
  Kernels<float> kernels{};
  kernels.isa = Isa::scalar;
  kernels.turn = turn;
  set_stages<One<float>>(kernels);
  set_type<float, float, same<float>>(kernels, TableType::f32);
  set_type<float, uint16_t, float_of_float16>(kernels, TableType::f16);
  set_type<float, uint16_t, float_of_bfloat16>(kernels, TableType::bf16);
  kernels.widen = widen;
  kernels.narrow = narrow;
  return kernels;
}

constexpr Kernels<double> double_kernels() {
  Kernels<double> kernels{};
  kernels.isa = Isa::scalar;
  kernels.turn = turn;
  set_stages<One<double>>(kernels);
  set_type<double, double, same<double>>(kernels, TableType::f64);
  return kernels;
}

}  // namespace

const Kernels<float>& kernels_scalar() {
  static constexpr Kernels<float> kernels = float_kernels();
  return kernels;
}
const Kernels<double>& kernels_float64() {
  static constexpr Kernels<double> kernels = double_kernels();
  return kernels;
}

const Kernels<float>& kernels_for(Isa isa) {
  return isa >= Isa::avx512 ? kernels_avx512() : isa == Isa::avx2 ? kernels_avx2() : kernels_scalar();
}

}  // namespace warphash::hashgrid
