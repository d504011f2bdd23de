// SPDX-License-Identifier: Apache-2.0
// Kernels of one instruction set by dtype and semiring, made of its lanes.
#pragma once

#include "spgemm/product/product_windows.h"

namespace warphash::spgemm {
namespace {

template <class Lanes>
void count_rows(const ProductOperands& operands, Scratch& scratch, int64_t first, int64_t last, int64_t* counts) {
  RowInputs<NoAlgebra> inputs{operands.a, operands.b, operands.exclude, operands.words, nullptr, nullptr, scratch};
  Rows<Lanes, NoAlgebra> rows(inputs);
  for (int64_t i = first; i < last; ++i) {
    inputs.template fetch_ahead<true>(i);
    counts[i] = rows.template row<true>(i, nullptr);
  }
}

template <class Lanes, class A>
void fill_with(const FillTask& task) {
  using Value = typename A::Value;
  const ProductOperands& operands = task.operands;
  RowInputs<A> inputs{operands.a,
                      operands.b,
                      operands.exclude,
                      operands.words,
                      static_cast<const Value*>(task.values.a),
                      static_cast<const Value*>(task.values.b),
                      task.scratch};
  Rows<Lanes, A> rows(inputs);
  const bool placed = task.crow != nullptr;
  int64_t at = task.begin;
  for (int64_t i = task.first; i < task.last; ++i) {
    inputs.template fetch_ahead<false>(i);
    if (placed && task.crow[i] == task.crow[i + 1]) continue;
    Sink<A> sink(task.output, task.scratch, placed ? task.crow[i] : at, placed ? task.crow[i + 1] : task.end,
                 rows.piece());
    const int64_t entries = rows.template row<false>(i, &sink);
    if (!placed) at += task.counts[i] = entries;
  }
}

template <class Lanes>
void fill_rows(const FillTask& task) {
  if (task.values.a == nullptr) return fill_with<Lanes, NoAlgebra>(task);
  with_ring(sum_type(task.values.type), task.values.semiring,
            [&]<class, class Sum, class Ring>() { fill_with<Lanes, Algebra<Sum, Ring>>(task); });
}

}  // namespace
}  // namespace warphash::spgemm
