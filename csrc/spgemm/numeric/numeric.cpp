// SPDX-License-Identifier: Apache-2.0
// Values of a product on a known pattern: a row's products are added into one dense row of sums, no flags, then taken out
// at the pattern's columns. Bound: a sum read and written for each product, in the cache while a row of sums fits it.
#include "spgemm/numeric/numeric.h"

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>

#include "spgemm/inspect/inspect.h"
#include "spgemm/numeric/numeric_driver.h"

namespace warphash::spgemm {
namespace {

NumericRows kernel_for(Isa isa, ValueType type, Semiring semiring) {
  require(isa);
  return numeric_rows_scalar(type, semiring);
}

}  // namespace

void numeric(Isa isa, const NumericJob& job) {
  const NumericRows rows = kernel_for(isa, job.type, job.semiring);
  check_bounds(isa, job.a, "a");
  check_bounds(isa, job.b, "b");
  check_pointers(job.pattern, "the pattern");
  FirstRow broken;
  for_row_blocks({job.a.crow, job.pattern.crow, job.a.rows}, [&](auto& next) {
    with_ring(job.type, job.semiring, [&]<class Stored, class Sum, class Ring>() {
      DenseRow<Sum> sums(job.pattern.columns, Ring::zero());
      for (int64_t begin, end; next(begin, end);) broken.keep(rows(job, begin, end, sums.column_0()));
    });
  });
  broken.refuse(job.pattern, "the pattern", -1);
}

}  // namespace warphash::spgemm
