// SPDX-License-Identifier: Apache-2.0
// What the drivers of chains and rotations share: which kernels run, rows cut into tasks, memory of tasks.
#pragma once

#include <algorithm>
#include <type_traits>

#include "common/memory.h"
#include "common/parallel.h"
#include "lsh/projections/projections.h"

namespace warphash::lsh {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline int64_t bytes_of(VectorType type) { return type == VectorType::f64 ? 8 : type == VectorType::f32 ? 4 : 2; }
// Do vectors of this type lie in memory as kernels read them?
template <class Real>
bool is_direct(VectorType type) {
  return type == (std::is_same_v<Real, double> ? VectorType::f64 : VectorType::f32);
}

// body(first, last, memory) for ranges of rows, with scratch_bytes of memory for each. rows_a_task is a multiple of
// what the kernels like.
template <class Body>
void over_rows(int64_t rows, int64_t rows_a_task, bool worth_it, size_t scratch_bytes, const Body& body) {
  parallel_tasks_if(worth_it, ceil_div(rows, rows_a_task), [&](int64_t task) {
    const AlignedBuffer memory(scratch_bytes);
    body(task * rows_a_task, std::min(rows, (task + 1) * rows_a_task), memory.template as<uint8_t>());
  });
}

// Bytes of `count` bits, from a buffer that may hold more of them; spare bits become zero.
inline void copy_bits(const uint8_t* from, int64_t count, uint8_t* to) {
  const int64_t whole = count / 8;
  for (int64_t byte = 0; byte < whole; ++byte) to[byte] = from[byte];
  if (count % 8 != 0) to[whole] = static_cast<uint8_t>(from[whole] & ((1u << count % 8) - 1));
}

}  // namespace warphash::lsh
