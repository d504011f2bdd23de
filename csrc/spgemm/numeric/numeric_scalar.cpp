// SPDX-License-Identifier: Apache-2.0
// Values and gradients on a known pattern without vectors beyond the compiler's own.
#include "spgemm/numeric/gradient_rows.h"
#include "spgemm/numeric/numeric_rows.h"

namespace warphash::spgemm {

NumericRows numeric_rows_scalar(ValueType type, Semiring semiring) {
  return with_ring(type, semiring, []<class Stored, class Sum, class Ring>() -> NumericRows {
    return numeric_rows<Stored, Sum, Ring>;
  });
}

GradientRows gradient_rows_scalar(ValueType type) {
  return with_type(type, []<class Stored, class Sum>() -> GradientRows {
    if constexpr (std::is_floating_point_v<Sum>)
      return gradient_rows_of<Stored, Sum>;
    else
      return nullptr;
  });
}

}  // namespace warphash::spgemm
