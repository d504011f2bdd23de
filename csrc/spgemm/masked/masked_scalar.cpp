// SPDX-License-Identifier: Apache-2.0
// Masked products. Vectors gain nothing here: a mark is looked up for each product, and a processor does not gather bytes.
#include "spgemm/masked/masked_rows.h"

namespace warphash::spgemm {

MaskedRows masked_rows_scalar(ValueType type, Semiring semiring) {
  return with_ring(type, semiring,
                   []<class Stored, class Sum, class Ring>() -> MaskedRows { return masked_rows<Stored, Sum, Ring>; });
}
MaskedRows masked_pattern_rows_scalar() { return masked_rows<uint8_t, uint8_t, void>; }

}  // namespace warphash::spgemm
