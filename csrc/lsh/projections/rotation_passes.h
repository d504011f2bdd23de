// SPDX-License-Identifier: Apache-2.0
// Rotations by signs and Hadamard transforms, for the vector types of an ISA file.
//
// Sizes that fit into a set's registers are rotated there: a stage within a vector is one shuffle and one fused
// multiply-add by ±1 (exact, so that it rounds as the addition it stands for), a stage between vectors two additions for
// two of them. Bound: these operations, about (2 log lanes + log vectors + 1) for each vector and round; the row is read
// once for all rotations. Larger sizes lie in memory: the first stages in registers, chunk by chunk, the others in passes
// of three over what fits into the first cache, the last ones over everything.
// The order in which butterflies are taken changes no bit: each value comes from the same tree of additions.
// A vector type V has: Real, Vec, lanes, log_lanes, most_vectors, load, store, add, subtract, multiply, spread,
// multiply_add, magnitude, max (its second operand where the first is NaN), greatest (of all lanes), signs (mask of lanes
// >= 0), equal, negated (by packed signs), swapped<stage> (lanes i and i ^ 2^stage) and alternating<stage>.
// Internal linkage, since ISA files include it.
#pragma once

#include <cstdint>
#include <cstring>

#include "lsh/projections/projections.h"

namespace warphash::lsh {
namespace {

template <class V, int stage, int vectors>
inline void lane_stages(typename V::Vec (&v)[vectors]) {
  if constexpr (stage < V::log_lanes) {
    const typename V::Vec alternating = V::template alternating<stage>();
#pragma GCC unroll 16
    for (int i = 0; i < vectors; ++i) v[i] = V::multiply_add(v[i], alternating, V::template swapped<stage>(v[i]));
    lane_stages<V, stage + 1>(v);
  }
}

// Butterflies between whole vectors.
template <class V, int vectors>
inline void vector_stages(typename V::Vec (&v)[vectors]) {
#pragma GCC unroll 4
  for (int h = 1; h < vectors; h *= 2)
#pragma GCC unroll 8
    for (int i = 0; i < vectors / 2; ++i) {
      const int low = i / h * 2 * h + i % h;
      const typename V::Vec a = v[low], b = v[low + h];
      v[low] = V::add(a, b);
      v[low + h] = V::subtract(a, b);
    }
}

template <class V>
inline typename V::Real scale_of(int log_size) {
  return typename V::Real{1} / static_cast<typename V::Real>(int64_t{1} << (log_size + 1) / 2);
}

// Bits of vectors, lowest lane first.
template <class V, int vectors>
inline void store_signs(const typename V::Vec (&v)[vectors], uint8_t* bits) {
  constexpr int together = V::lanes < 8 ? 8 / V::lanes : 1;
  static_assert(vectors % together == 0);
#pragma GCC unroll 16
  for (int i = 0; i < vectors; i += together) {
    unsigned mask = 0;
#pragma GCC unroll 2
    for (int part = 0; part < together; ++part) mask |= V::signs(v[i + part]) << (part * V::lanes);
    std::memcpy(bits + i * V::lanes / 8, &mask, together * V::lanes / 8);
  }
}

// ---- In registers -----------------------------------------------------------------------------------------------------
template <class V, int vectors>
inline void rotate(const typename V::Real* row, const typename V::Real* factors, typename V::Vec scale,
                   typename V::Vec (&v)[vectors]) {
#pragma GCC unroll 16
  for (int i = 0; i < vectors; ++i) v[i] = V::multiply(V::load(row + i * V::lanes), V::load(factors + i * V::lanes));
  lane_stages<V, 0>(v);
  vector_stages<V>(v);
#pragma GCC unroll 2
  for (int round = 1; round < 3; ++round) {
    const typename V::Real* factor = factors + round * vectors * V::lanes;
#pragma GCC unroll 16
    for (int i = 0; i < vectors; ++i) v[i] = V::multiply(v[i], V::load(factor + i * V::lanes));
    lane_stages<V, 0>(v);
    vector_stages<V>(v);
  }
#pragma GCC unroll 16
  for (int i = 0; i < vectors; ++i) v[i] = V::multiply(v[i], scale);
}

// The first of the greatest magnitudes; `work` takes the values.
template <class V, int vectors>
inline int32_t code_of(const typename V::Vec (&v)[vectors], typename V::Real* work) {
  typename V::Vec most = V::spread(0);
#pragma GCC unroll 16
  for (int i = 0; i < vectors; ++i) {
    V::store(work + i * V::lanes, v[i]);
    most = V::max(V::magnitude(v[i]), most);
  }
  most = V::spread(V::greatest(most));
  int place = 0;
#pragma GCC unroll 16
  for (int i = vectors - 1; i >= 0; --i) {
    const unsigned mask = V::equal(V::magnitude(v[i]), most);
    place = mask != 0 ? i * V::lanes + __builtin_ctz(mask) : place;
  }
  return place + (work[place] < 0 ? vectors * V::lanes : 0);
}

// out(row, rotation, vectors) for all of a block.
template <class V, int vectors, class Out>
inline void rotate_rows(const RotationBlock<typename V::Real>& block, const Out& out) {
  const typename V::Vec scale = V::spread(scale_of<V>(block.log_size));
  for (int row = 0; row < block.count; ++row) {
    const typename V::Real* from = block.rows + row * block.row_stride;
    const typename V::Real* factors = block.factors;
    for (int64_t rotation = 0; rotation < block.rotations; ++rotation, factors += 3 * vectors * V::lanes) {
      typename V::Vec v[vectors];
      rotate<V, vectors>(from, factors, scale, v);
      out(row, rotation, v);
    }
  }
}

template <class V, int vectors>
void signs_in_registers(const RotationBlock<typename V::Real>& block, uint8_t* bits, int64_t stride) {
  rotate_rows<V, vectors>(block, [&](int row, int64_t rotation, const typename V::Vec(&v)[vectors]) {
    store_signs<V, vectors>(v, bits + row * stride + rotation * (vectors * V::lanes / 8));
  });
}
template <class V, int vectors>
void largest_in_registers(const RotationBlock<typename V::Real>& block, int32_t* codes) {
  rotate_rows<V, vectors>(block, [&](int row, int64_t rotation, const typename V::Vec(&v)[vectors]) {
    codes[row * block.rotations + rotation] = code_of<V, vectors>(v, block.work);
  });
}

// ---- In memory --------------------------------------------------------------------------------------------------------
template <class V, int rows>
inline void pass(typename V::Real* from, int64_t size, int64_t h) {
  for (int64_t first = 0; first < size; first += rows * h)
    for (int64_t i = first; i < first + h; i += V::lanes) {
      typename V::Vec v[rows];
#pragma GCC unroll 8
      for (int row = 0; row < rows; ++row) v[row] = V::load(from + i + row * h);
      vector_stages<V>(v);
#pragma GCC unroll 8
      for (int row = 0; row < rows; ++row) V::store(from + i + row * h, v[row]);
    }
}
// Stages h up to size / 2.
template <class V>
void passes(typename V::Real* values, int64_t size, int64_t h) {
  while (h < size) {
    if (8 * h <= size)
      pass<V, 8>(values, size, h), h *= 8;
    else if (4 * h <= size)
      pass<V, 4>(values, size, h), h *= 4;
    else
      pass<V, 2>(values, size, h), h *= 2;
  }
}

// One row into block.work, but for the last power of two.
template <class V>
void rotate_in_memory(const RotationBlock<typename V::Real>& block, const typename V::Real* row, int64_t rotation) {
  using Real = typename V::Real;
  constexpr int vectors = V::most_vectors / 2;  // half of the registers, so that the others hold operands
  constexpr int64_t chunk = vectors * V::lanes;
  constexpr int64_t inner = 16 * 1024 / sizeof(Real);  // values that stay in the first cache
  const int64_t size = int64_t{1} << block.log_size, part = size < inner ? size : inner;
  const Real scale = scale_of<V>(block.log_size);
  Real* work = block.work;
  for (int round = 0; round < 3; ++round) {
    const Real* from = round == 0 ? row : work;
    const typename V::Vec factor = V::spread(round == 0 ? 1 : scale);
    const uint8_t* negate = block.signs + (rotation * 3 + round) * (size / 8);
    for (int64_t first = 0; first < size; first += part) {
      for (int64_t place = first; place < first + part; place += chunk) {
        typename V::Vec v[vectors];
#pragma GCC unroll 16
        for (int i = 0; i < vectors; ++i) {
          const int64_t at = place + i * V::lanes;
          v[i] = V::negated(V::multiply(V::load(from + at), factor), negate, at);
        }
        lane_stages<V, 0>(v);
        vector_stages<V>(v);
#pragma GCC unroll 16
        for (int i = 0; i < vectors; ++i) V::store(work + place + i * V::lanes, v[i]);
      }
      passes<V>(work + first, part, chunk);
    }
    passes<V>(work, size, part);
  }
}

template <class V>
void signs_in_memory(const RotationBlock<typename V::Real>& block, uint8_t* bits, int64_t stride) {
  const int64_t size = int64_t{1} << block.log_size;
  const typename V::Vec scale = V::spread(scale_of<V>(block.log_size));
  constexpr int vectors = 4;
  for (int row = 0; row < block.count; ++row)
    for (int64_t rotation = 0; rotation < block.rotations; ++rotation) {
      rotate_in_memory<V>(block, block.rows + row * block.row_stride, rotation);
      uint8_t* to = bits + row * stride + rotation * (size / 8);
      for (int64_t at = 0; at < size; at += vectors * V::lanes) {
        typename V::Vec v[vectors];
#pragma GCC unroll 4
        for (int i = 0; i < vectors; ++i) v[i] = V::multiply(V::load(block.work + at + i * V::lanes), scale);
        store_signs<V, vectors>(v, to + at / 8);
      }
    }
}

template <class V>
void largest_in_memory(const RotationBlock<typename V::Real>& block, int32_t* codes) {
  const int64_t size = int64_t{1} << block.log_size;
  const typename V::Vec scale = V::spread(scale_of<V>(block.log_size));
  for (int row = 0; row < block.count; ++row)
    for (int64_t rotation = 0; rotation < block.rotations; ++rotation) {
      rotate_in_memory<V>(block, block.rows + row * block.row_stride, rotation);
      typename V::Vec most = V::spread(0);
      for (int64_t at = 0; at < size; at += V::lanes) {
        const typename V::Vec v = V::multiply(V::load(block.work + at), scale);
        V::store(block.work + at, v);
        most = V::max(V::magnitude(v), most);
      }
      most = V::spread(V::greatest(most));
      int64_t place = 0;
      for (int64_t at = 0; at < size; at += V::lanes) {
        const unsigned mask = V::equal(V::magnitude(V::load(block.work + at)), most);
        if (mask == 0) continue;
        place = at + __builtin_ctz(mask);
        break;
      }
      *codes++ = static_cast<int32_t>(place + (block.work[place] < 0 ? size : 0));
    }
}

// ---- By size ----------------------------------------------------------------------------------------------------------
template <class V>
void rotated_signs(const RotationBlock<typename V::Real>& block, uint8_t* bits, int64_t stride) {
  constexpr int least = V::lanes < 8 ? 8 / V::lanes : 1;
  const int64_t vectors = (int64_t{1} << block.log_size) / V::lanes;
  if (block.factors == nullptr || vectors > V::most_vectors) return signs_in_memory<V>(block, bits, stride);
  switch (vectors) {
    case 1:
      if constexpr (least <= 1) return signs_in_registers<V, 1>(block, bits, stride);
      break;
    case 2: return signs_in_registers<V, 2>(block, bits, stride);
    case 4: return signs_in_registers<V, 4>(block, bits, stride);
    case 8: return signs_in_registers<V, 8>(block, bits, stride);
    case 16:
      if constexpr (V::most_vectors >= 16) return signs_in_registers<V, 16>(block, bits, stride);
      break;
    default: break;
  }
}

template <class V>
void rotated_largest(const RotationBlock<typename V::Real>& block, int32_t* codes) {
  const int64_t vectors = (int64_t{1} << block.log_size) / V::lanes;
  if (block.factors == nullptr || vectors > V::most_vectors) return largest_in_memory<V>(block, codes);
  switch (vectors) {
    case 1: return largest_in_registers<V, 1>(block, codes);
    case 2: return largest_in_registers<V, 2>(block, codes);
    case 4: return largest_in_registers<V, 4>(block, codes);
    case 8: return largest_in_registers<V, 8>(block, codes);
    case 16:
      if constexpr (V::most_vectors >= 16) return largest_in_registers<V, 16>(block, codes);
      break;
    default: break;
  }
}

}  // namespace
}  // namespace warphash::lsh
