// SPDX-License-Identifier: Apache-2.0
// Gradients on a known pattern, the sixteen lanes of a's in an array.
#include "spgemm/numeric/gradient_rows.h"

namespace warphash::spgemm {
namespace {

template <class Value>
struct Walk {
  template <bool of_a, bool of_b>
  static Value row(const int32_t* col, const Value* b, int64_t count, Value a, const Value* gradient, Value* b_sums) {
    Value sums[lanes] = {};
    int64_t at = 0;
    for (; at + lanes <= count; at += lanes) {
      Value g[lanes];
      for (int64_t lane = 0; lane < lanes; ++lane) g[lane] = gradient[col[at + lane]];
      if constexpr (of_a)
        for (int64_t lane = 0; lane < lanes; ++lane) sums[lane] += g[lane] * b[at + lane];
      if constexpr (of_b)
        for (int64_t lane = 0; lane < lanes; ++lane) b_sums[at + lane] += a * g[lane];
    }
    for (int64_t lane = 0; at + lane < count; ++lane) {
      const Value g = gradient[col[at + lane]];
      if constexpr (of_a) sums[lane] += g * b[at + lane];
      if constexpr (of_b) b_sums[at + lane] += a * g;
    }
    if constexpr (of_a)
      for (int64_t half = lanes / 2; half > 0; half /= 2)
        for (int64_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
    return sums[0];
  }
};

}  // namespace

GradientRows gradient_rows_scalar(ValueType type) { return gradient_rows_with<Walk>(type); }

}  // namespace warphash::spgemm
