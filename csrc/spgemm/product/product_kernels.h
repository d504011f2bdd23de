// SPDX-License-Identifier: Apache-2.0
// Kernels of one instruction set by dtype and semiring, made of its lanes.
#pragma once

#include "spgemm/product/product_windows.h"

namespace warphash::spgemm {
namespace {

template <class Lanes>
void count_rows(const ProductOperands& operands, Scratch& scratch, int64_t first, int64_t last, int64_t* counts) {
  Rows<Lanes, NoAlgebra> rows(operands, nullptr, nullptr, scratch);
  for (int64_t i = first; i < last; ++i) {
    rows.template fetch_ahead<true>(i);
    counts[i] = rows.template row<true>(i, nullptr);
  }
}

template <class Lanes, class A>
void fill_with(const FillTask& task) {
  using Value = typename A::Value;
  Rows<Lanes, A> rows(task.operands, static_cast<const Value*>(task.values.a), static_cast<const Value*>(task.values.b),
                      task.scratch);
  for (int64_t i = task.first; i < task.last; ++i) {
    rows.template fetch_ahead<false>(i);
    if (task.crow[i] == task.crow[i + 1]) continue;
    Sink<A> sink(task.output, task.scratch, task.crow[i], task.crow[i + 1], rows.piece());
    rows.template row<false>(i, &sink);
  }
}

template <class Lanes, class Value>
void fill_numbers(const FillTask& task) {
  switch (task.values.semiring) {
    case Semiring::min_plus: return fill_with<Lanes, Algebra<Value, MinPlus<Value>>>(task);
    case Semiring::max_times: return fill_with<Lanes, Algebra<Value, MaxTimes<Value>>>(task);
    default: return fill_with<Lanes, Algebra<Value, PlusTimes<Value>>>(task);
  }
}

template <class Lanes>
void fill_rows(const FillTask& task) {
  switch (task.values.kind) {
    case ValueKind::none: return fill_with<Lanes, NoAlgebra>(task);
    case ValueKind::boolean: return fill_with<Lanes, Algebra<uint8_t, OrAnd>>(task);
    case ValueKind::float32: return fill_numbers<Lanes, float>(task);
    case ValueKind::float64: return fill_numbers<Lanes, double>(task);
    case ValueKind::int32: return fill_numbers<Lanes, int32_t>(task);
    case ValueKind::int64: return fill_numbers<Lanes, int64_t>(task);
  }
}

}  // namespace
}  // namespace warphash::spgemm
