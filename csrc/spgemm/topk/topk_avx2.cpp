// SPDX-License-Identifier: Apache-2.0
// Windows of sums by 32 bytes at a time. Bound: a load and a store of the first-level cache for each vector of sums.
#include <immintrin.h>

#include "spgemm/topk/topk_loops.h"

namespace warphash::spgemm {
namespace {

// Vectors of a type of values: lanes, and the few operations that differ.
struct Floats {
  using Value = float;
  using Vector = __m256;
  static constexpr int64_t lanes = 8;
  static Vector load(const float* from) { return _mm256_loadu_ps(from); }
  static void store(float* to, Vector x) { _mm256_storeu_ps(to, x); }
  static Vector all(float x) { return _mm256_set1_ps(x); }
  static Vector plus_product(Vector sum, Vector a, Vector b) { return _mm256_add_ps(sum, _mm256_mul_ps(a, b)); }
  static unsigned at_least(Vector x, Vector floor) {
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(x, floor, _CMP_GE_OQ)));
  }
  static unsigned same_bits(Vector x, Vector y) {
    const __m256i same = _mm256_cmpeq_epi32(_mm256_castps_si256(x), _mm256_castps_si256(y));
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(same)));
  }
};
struct Doubles {
  using Value = double;
  using Vector = __m256d;
  static constexpr int64_t lanes = 4;
  static Vector load(const double* from) { return _mm256_loadu_pd(from); }
  static void store(double* to, Vector x) { _mm256_storeu_pd(to, x); }
  static Vector all(double x) { return _mm256_set1_pd(x); }
  static Vector plus_product(Vector sum, Vector a, Vector b) { return _mm256_add_pd(sum, _mm256_mul_pd(a, b)); }
  static unsigned at_least(Vector x, Vector floor) {
    return static_cast<unsigned>(_mm256_movemask_pd(_mm256_cmp_pd(x, floor, _CMP_GE_OQ)));
  }
  static unsigned same_bits(Vector x, Vector y) {
    const __m256i same = _mm256_cmpeq_epi64(_mm256_castpd_si256(x), _mm256_castpd_si256(y));
    return static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(same)));
  }
};

int64_t inspect_f32(const int32_t* col, const float* values, int64_t count, int32_t base, int32_t width, float* least) {
  // Unsigned comparison: a number is at most the last one where the smaller of both is itself.
  const __m256i low = _mm256_set1_epi32(base), last = _mm256_set1_epi32(width - 1);
  __m256 lowest = _mm256_set1_ps(__builtin_inff()), good = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256i at = _mm256_sub_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(col + i)), low);
    const __m256i inside = _mm256_cmpeq_epi32(_mm256_min_epu32(at, last), at);
    if (_mm256_movemask_epi8(inside) != -1) break;
    const __m256 v = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_loadu_ps(values + i));
    good = _mm256_and_ps(good, _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_GT_OQ));
    lowest = _mm256_min_ps(lowest, v);
  }
  float lanes[8];
  _mm256_storeu_ps(lanes, lowest);
  float found = lanes[0];
  for (int lane = 1; lane < 8; ++lane) found = lanes[lane] < found ? lanes[lane] : found;
  *least = _mm256_movemask_ps(good) == 0xff ? found : 0.0f;
  return inspect_loop(col, values, count, base, width, i, least);
}

int64_t inspect_f64(const int32_t* col, const double* values, int64_t count, int32_t base, int32_t width,
                    double* least) {
  *least = __builtin_inf();
  return inspect_loop(col, values, count, base, width, 0, least);
}

template <class Type, class Value = typename Type::Value>
void add(Value* sums, const Value* row, int64_t width, Value factor) {
  const typename Type::Vector a = Type::all(factor);
  for (int64_t i = 0; i < width; i += Type::lanes)
    Type::store(sums + i, Type::plus_product(Type::load(sums + i), a, Type::load(row + i)));
}

template <class Type, class Value = typename Type::Value>
int64_t collect(Value* sums, int64_t begin, int64_t width, int32_t base, Value floor, bool all, Found<Value>* found) {
  const typename Type::Vector least = Type::all(floor), untouched = Type::all(Value(-0.0));
  constexpr unsigned lanes = (1u << Type::lanes) - 1;
  for (int64_t i = begin; i < width; i += Type::lanes) {
    const typename Type::Vector sum = Type::load(sums + i);
    unsigned wanted = all ? lanes : Type::at_least(sum, least);
    if (__builtin_expect(wanted != 0, 0)) {
      wanted &= ~Type::same_bits(sum, untouched);
      if (found->count + 16 > found->room) return i;
      for (; wanted != 0; wanted &= wanted - 1) {
        const int lane = __builtin_ctz(wanted);
        keep(sums[i + lane], base + static_cast<int32_t>(i) + lane, true, found);
      }
    }
    Type::store(sums + i, untouched);
  }
  return width;
}

template <class Type, class Value = typename Type::Value>
int64_t collect_marked(Value* sums, uint8_t* marks, int64_t begin, int64_t width, int32_t base, Value floor, bool all,
                       Found<Value>* found) {
  for (int64_t i = begin; i < width; i += 16) {
    const __m128i flags = _mm_loadu_si128(reinterpret_cast<const __m128i*>(marks + i));
    unsigned marked = 0xffffu & ~static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(flags, _mm_setzero_si128())));
    if (marked == 0) continue;
    if (found->count + 16 > found->room) return i;
    for (; marked != 0; marked &= marked - 1) {
      const int lane = __builtin_ctz(marked);
      const Value sum = sums[i + lane] + Value(0);
      keep(sum, base + static_cast<int32_t>(i) + lane, all || sum >= floor, found);
    }
    for (int64_t j = i; j < i + 16; j += Type::lanes) Type::store(sums + j, Type::all(Value(-0.0)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(marks + i), _mm_setzero_si128());
  }
  return width;
}

constexpr TopkKernels<float> kernels_f32 = {inspect_f32, add<Floats>, collect<Floats>, collect_marked<Floats>};
constexpr TopkKernels<double> kernels_f64 = {inspect_f64, add<Doubles>, collect<Doubles>, collect_marked<Doubles>};

}  // namespace

const TopkKernels<float>& topk_kernels_avx2(float) { return kernels_f32; }
const TopkKernels<double>& topk_kernels_avx2(double) { return kernels_f64; }

}  // namespace warphash::spgemm
