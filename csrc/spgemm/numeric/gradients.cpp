// SPDX-License-Identifier: Apache-2.0
// Gradients of a product's operands on their own patterns: a row of G is laid out densely, then each row of b that meets it
// is walked once, for both gradients. Bound: a gradient gathered from the cache for each product.
//
// b's gradient gathers from many rows of a, so blocks of rows have sums of their own, added in the blocks' order.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "spgemm/inspect/inspect.h"
#include "spgemm/numeric/numeric.h"
#include "spgemm/numeric/numeric_driver.h"

namespace warphash::spgemm {
namespace {

GradientRows kernel_for(Isa isa, ValueType type) {
  require(isa);
  const GradientRows rows = gradient_rows_scalar(type);
  if (rows == nullptr) throw std::invalid_argument("gradients are of float values");
  return rows;
}

template <class Stored, class Sum>
void gradients_of(const GradientJob& job, GradientRows rows) {
  FirstRow broken;
  if (job.of_b == nullptr) {
    for_row_blocks({job.a.crow, job.pattern.crow, job.a.rows}, [&](auto& next) {
      DenseRow<Sum> dense(job.pattern.columns, 0);
      for (int64_t begin, end; next(begin, end);) broken.keep(rows(job, begin, end, dense.column_0(), nullptr));
    });
    return broken.refuse(job.pattern, "the pattern", -1);
  }
  constexpr bool in_place = std::is_same_v<Stored, Sum>;
  const Workspace own(in_place ? 0 : job.b.entries * int64_t{sizeof(Sum)}, true);
  Sum* sums = in_place ? static_cast<Sum*>(job.of_b) : own.as<Sum>();
  if (in_place) std::fill_n(sums, job.b.entries, Sum(0));
  DenseRow<Sum> dense(job.pattern.columns, 0);
  broken.keep(rows(job, 0, job.a.rows, dense.column_0(), sums));
  broken.refuse(job.pattern, "the pattern", -1);
  if constexpr (!in_place)
    for (int64_t at = 0; at < job.b.entries; ++at) static_cast<Stored*>(job.of_b)[at] = rounded<Stored>(sums[at]);
}

}  // namespace

void gradients(Isa isa, const GradientJob& job) {
  const GradientRows rows = kernel_for(isa, job.type);
  check_bounds(isa, job.a, "a");
  check_bounds(isa, job.b, "b");
  check_pointers(job.pattern, "the pattern");
  if (job.of_a == nullptr && job.of_b == nullptr) return;
  with_type(job.type, [&]<class Stored, class Sum>() {
    if constexpr (std::is_floating_point_v<Sum>) gradients_of<Stored, Sum>(job, rows);
  });
}

}  // namespace warphash::spgemm
