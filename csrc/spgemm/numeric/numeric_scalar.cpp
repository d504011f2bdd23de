// SPDX-License-Identifier: Apache-2.0
// Values on a known pattern. Vectors gain nothing here: sums are added where the columns say, and an instruction that
// scatters takes longer than the stores it stands for.
#include "spgemm/numeric/numeric_rows.h"

namespace warphash::spgemm {

NumericRows numeric_rows_scalar(ValueType type, Semiring semiring) {
  return with_ring(type, semiring, []<class Stored, class Sum, class Ring>() -> NumericRows {
    return numeric_rows<Stored, Sum, Ring>;
  });
}

}  // namespace warphash::spgemm
