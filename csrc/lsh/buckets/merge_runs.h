// SPDX-License-Identifier: Apache-2.0
// The union of a query's buckets, included by the file of each vector instruction set. Bound: the latency of a vector's
// sorting stages, about a cycle a number and level; the memory's answers come before it.
//
// Numbers below 2^31 - 1 are narrowed to 32 bits; lists fill whole vectors, the last one up with the largest number. Two
// lists are merged a vector at a time: the smaller half of two sorted vectors leaves, the larger one stays for the next
// vector of the list whose head is smaller. In the end equal numbers are neighbours, of which the first one stays.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lsh/buckets/buckets.h"

namespace warphash::lsh {
namespace {

constexpr int32_t filler = 0x7fffffff;

// Vector: what an instruction set has, `lanes` numbers each.
//   load, store            of an aligned vector
//   smaller, larger        lane by lane
//   reversed               the last lane first
//   sorted                 of lanes that ascend and then descend
//   narrow(from, count)    count numbers, at most `lanes`, the rest filler; and whether all were in [0, filler)
//   distinct(v, before, count, out)  how many of the first `count` lanes differ from the lane before, and those lanes,
//                          written to room for `lanes` numbers; before: the vector before
template <class Vector>
void merge_two(const int32_t* a, int64_t a_count, const int32_t* b, int64_t b_count, int32_t* to) {
  constexpr int lanes = Vector::lanes;
  const int64_t a_vectors = (a_count + lanes - 1) / lanes, b_vectors = (b_count + lanes - 1) / lanes;
  const int32_t *const a_end = a + a_vectors * lanes, *const b_end = b + b_vectors * lanes;
  // The head that is smaller comes next. Without branches, which nothing could foretell; behind an end is memory too.
  const auto next = [&] {
    const bool take_a = (a < a_end) & ((b >= b_end) | (*a <= *b));
    const int32_t* head = take_a ? a : b;
    a += take_a ? lanes : 0;
    b += take_a ? 0 : lanes;
    return Vector::load(head);
  };
  if (a_vectors + b_vectors == 0) return;
  auto kept = next();
  for (int64_t i = 1; i < a_vectors + b_vectors; ++i, to += lanes) {
    const auto turned = Vector::reversed(next());
    Vector::store(to, Vector::sorted(Vector::smaller(kept, turned)));
    kept = Vector::sorted(Vector::larger(kept, turned));
  }
  Vector::store(to, kept);
}

template <class Vector>
int64_t merge_runs(Run* runs, int64_t count, int32_t* from, int32_t* to, int64_t* out) {
  constexpr int lanes = Vector::lanes;
  bool narrow = true;
  int64_t total = 0, found = 0;
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t number = 0; number < runs[i].count; number += lanes) {
      const int64_t left = runs[i].count - number;
      const auto [numbers, fits] = Vector::narrow(runs[i].numbers + number, left < lanes ? left : lanes);
      Vector::store(from + runs[i].place + number, numbers);
      narrow &= fits;
    }
    total += runs[i].count;
  }
  if (!narrow) return -1;
  for (int64_t lists = count; lists > 1; lists = (lists + 1) / 2) {
    for (int64_t pair = 0; 2 * pair < lists; ++pair) {
      const Run a = runs[2 * pair], b = 2 * pair + 1 < lists ? runs[2 * pair + 1] : Run{nullptr, 0, a.place};
      merge_two<Vector>(from + a.place, a.count, from + b.place, b.count, to + a.place);
      runs[pair] = {nullptr, a.count + b.count, a.place};
    }
    int32_t* const merged = to;
    to = from;
    from = merged;
  }
  auto before = Vector::all(-1);
  for (int64_t number = 0; number < total; number += lanes) {
    const int64_t left = total - number;
    const auto numbers = Vector::load(from + number);
    found += Vector::distinct(numbers, before, left < lanes ? left : lanes, out + found);
    before = numbers;
  }
  return found;
}

}  // namespace
}  // namespace warphash::lsh
