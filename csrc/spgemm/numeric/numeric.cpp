// SPDX-License-Identifier: Apache-2.0
// Values of a product on a known pattern. Where it covers the product, a row's products are added into one dense row of
// sums, without flags, and taken out at the pattern's columns: bound by a sum read and written for each product, in the
// cache while a row of sums fits it. Where it does not, all that changed is cleared; where it is much smaller than the
// product, its columns are marked and products elsewhere cost one look.
#include "spgemm/numeric/numeric.h"

#include "spgemm/numeric/numeric_driver.h"

namespace warphash::spgemm {

void numeric(Isa isa, const NumericJob& given) {
  require(isa);
  const NumericRows rows = numeric_rows_scalar(given.type, given.semiring);
  NumericJob job = given;
  const CheckedOperands operands(isa, job.a, job.b, job.pattern, "the pattern");
  const bool marked = !job.covers && about_products(job.a, job.b) > much_smaller * job.pattern.entries;
  FirstRow broken;
  const RowWork work = {job.a.crow, job.pattern.crow, job.a.rows};
  const bool busy = work.all() > job.pattern.columns;
  for_row_blocks(work, [&](auto& next) {
    with_ring(job.type, job.semiring, [&]<class Stored, class Sum, class Ring>() {
      const DenseRow<Sum> sums(job.pattern.columns, Ring::zero(), busy);
      const DenseRow<uint8_t> marks(marked ? job.pattern.columns : 0, 0, busy);
      for (int64_t begin, end; next(begin, end);)
        broken.keep(rows(job, begin, end, sums.column_0(), marked ? marks.column_0() : nullptr));
    });
  });
  broken.refuse(job.pattern, "the pattern");
}

}  // namespace warphash::spgemm
