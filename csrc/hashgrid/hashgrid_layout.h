// SPDX-License-Identifier: Apache-2.0
// Between arrays as users hold them, [point][component], and as the stages read them, [component][stride].
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "hashgrid/hashgrid.h"

namespace warphash::hashgrid {

// Memory of whole vectors, in large pages where it is large.
template <class Real>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t count);
  Real* data() const { return memory_.get(); }

 private:
  struct Free {
    void operator()(Real* memory) const;
  };
  std::unique_ptr<Real, Free> memory_;
};

// Reads memory in order, which fills the caches several times faster than reads of single rows as they come.
void read_ahead(const void* memory, int64_t bytes);

// Between two components: whole vectors, and not a power of two, lest all components fall on one set of the L1 cache.
constexpr int64_t stride_of(int64_t points) { return (points + most_lanes - 1) / most_lanes * most_lanes + most_lanes; }

// x [count, dims] to planes; a point with a coordinate beyond `largest` (NaN too) becomes zeros, and its number is added
// to `unusable`. The padding becomes zeros.
template <class Real>
void split_points(const Real* x, int64_t count, int dims, Real largest, Real* planes, int64_t stride,
                  std::vector<int64_t>& unusable);

// rows [count, components] of the type to planes. The padding becomes zeros.
template <class Real>
void split_rows(const Kernels<Real>& kernels, TableType type, const void* rows, int64_t count, int components,
                Real* planes, int64_t stride);

// planes, one a component, to rows [count, components] of the type; null is a plane of zeros.
template <class Real>
void join_rows(const Kernels<Real>& kernels, TableType type, const Real* const* planes, int64_t count, int components,
               void* rows);

}  // namespace warphash::hashgrid
