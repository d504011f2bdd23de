// SPDX-License-Identifier: Apache-2.0
// Gradients on a known pattern, sixteen columns at a time; what is left over of a row of b goes one by one into the lanes in
// memory. Bound: the loads of the gradient, one a column; the gather instruction is no faster on most processors.
#include <immintrin.h>

#include "spgemm/numeric/gradient_rows.h"

namespace warphash::spgemm {
namespace {

// Eight floats or four doubles.
struct Floats {
  using Value = float;
  using Vector = __m256;
  static constexpr int64_t width = 8;
  static Vector zero() { return _mm256_setzero_ps(); }
  static Vector all(float x) { return _mm256_set1_ps(x); }
  static Vector load(const float* from) { return _mm256_loadu_ps(from); }
  static void store(float* to, Vector x) { _mm256_storeu_ps(to, x); }
  static Vector add(Vector x, Vector y) { return _mm256_add_ps(x, y); }
  static Vector times(Vector x, Vector y) { return _mm256_mul_ps(x, y); }
  static Vector gather(const float* gradient, const int32_t* col) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(four(gradient, col)), four(gradient, col + 4), 1);
  }

 private:
  static __m128 four(const float* gradient, const int32_t* col) {
    const __m128 first = _mm_load_ss(gradient + col[0]);
    const __m128 two = _mm_insert_ps(first, _mm_load_ss(gradient + col[1]), 0x10);
    const __m128 three = _mm_insert_ps(two, _mm_load_ss(gradient + col[2]), 0x20);
    return _mm_insert_ps(three, _mm_load_ss(gradient + col[3]), 0x30);
  }
};
struct Doubles {
  using Value = double;
  using Vector = __m256d;
  static constexpr int64_t width = 4;
  static Vector zero() { return _mm256_setzero_pd(); }
  static Vector all(double x) { return _mm256_set1_pd(x); }
  static Vector load(const double* from) { return _mm256_loadu_pd(from); }
  static void store(double* to, Vector x) { _mm256_storeu_pd(to, x); }
  static Vector add(Vector x, Vector y) { return _mm256_add_pd(x, y); }
  static Vector times(Vector x, Vector y) { return _mm256_mul_pd(x, y); }
  static Vector gather(const double* gradient, const int32_t* col) {
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(two(gradient, col)), two(gradient, col + 2), 1);
  }

 private:
  static __m128d two(const double* gradient, const int32_t* col) {
    return _mm_loadh_pd(_mm_load_sd(gradient + col[0]), gradient + col[1]);
  }
};

template <class Type>
struct Walk {
  using Vectors = std::conditional_t<sizeof(Type) == 4, Floats, Doubles>;
  using Vector = typename Vectors::Vector;
  static constexpr int64_t width = Vectors::width, vectors = lanes / width;

  template <bool of_a, bool of_b>
  static Type row(const int32_t* col, const Type* b, int64_t count, Type a, const Type* gradient, Type* b_sums) {
    const Vector factor = Vectors::all(a);
    Vector sums[vectors];
    for (int64_t v = 0; v < vectors; ++v) sums[v] = Vectors::zero();
    int64_t at = 0;
    for (; at + lanes <= count; at += lanes)
      for (int64_t v = 0; v < vectors; ++v)
        sums[v] = step<of_a, of_b>(sums[v], col, b, at + v * width, factor, gradient, b_sums);
    alignas(32) Type left[lanes];
    for (int64_t v = 0; v < vectors; ++v) Vectors::store(left + v * width, sums[v]);
    for (int64_t lane = 0; at + lane < count; ++lane) {
      const Type g = gradient[col[at + lane]];
      if constexpr (of_a) left[lane] += g * b[at + lane];
      if constexpr (of_b) b_sums[at + lane] += a * g;
    }
    if constexpr (of_a)
      for (int64_t half = lanes / 2; half > 0; half /= 2)
        for (int64_t lane = 0; lane < half; ++lane) left[lane] += left[lane + half];
    return left[0];
  }

 private:
  template <bool of_a, bool of_b>
  static Vector step(Vector sums, const int32_t* col, const Type* b, int64_t at, Vector factor, const Type* gradient,
                     Type* b_sums) {
    const Vector g = Vectors::gather(gradient, col + at);
    if constexpr (of_b)
      Vectors::store(b_sums + at, Vectors::add(Vectors::load(b_sums + at), Vectors::times(factor, g)));
    return of_a ? Vectors::add(sums, Vectors::times(g, Vectors::load(b + at))) : sums;
  }
};

}  // namespace

GradientRows gradient_rows_avx2(ValueType type) { return gradient_rows_with<Walk>(type); }

}  // namespace warphash::spgemm
