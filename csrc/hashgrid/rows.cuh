// SPDX-License-Identifier: Apache-2.0
// Rows of the table and of gradients: loaded as wide as they lie, widened to the type of the sums, and added to.
//
// F is the number of features if that is 1, 2, 4 or 8 and all addresses are multiples of 16, else 0: then features are
// taken one by one. float64 always has 0. Two rows 2 i and 2 i + 1, as the neighbours along x of half of all cells have
// them, are one load where they are up to 16 bytes together: a gather is bound by the number of its addresses.
#pragma once

#include "hashgrid/cell.cuh"

namespace warphash::hashgrid {

__device__ __forceinline__ float widen(float value) { return value; }
__device__ __forceinline__ double widen(double value) { return value; }
__device__ __forceinline__ float widen(__half value) { return __half2float(value); }
__device__ __forceinline__ float widen(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ __forceinline__ void narrow(float value, float& to) { to = value; }
__device__ __forceinline__ void narrow(double value, double& to) { to = value; }
__device__ __forceinline__ void narrow(float value, __half& to) { to = __float2half(value); }
__device__ __forceinline__ void narrow(float value, __nv_bfloat16& to) { to = __float2bfloat16(value); }

template <class T>
struct Widened {
  using type = float;
};
template <>
struct Widened<double> {
  using type = double;
};
template <class T>
using Wide = typename Widened<T>::type;

template <int bytes>
struct Word;
template <>
struct Word<2> {
  using type = unsigned short;
};
template <>
struct Word<4> {
  using type = unsigned;
};
template <>
struct Word<8> {
  using type = uint2;
};
template <>
struct Word<16> {
  using type = uint4;
};

template <class T, int count>
__device__ __forceinline__ void load(const T* from, T (&to)[count]) {
  constexpr int bytes = sizeof to < 16 ? sizeof to : 16;
  using Part = typename Word<bytes>::type;
#pragma unroll
  for (int i = 0; i < int(sizeof to) / bytes; ++i) {
    const Part part = __ldg(reinterpret_cast<const Part*>(from) + i);
    memcpy(reinterpret_cast<char*>(to) + i * bytes, &part, bytes);
  }
}

template <class T, int count>
__device__ __forceinline__ void store(T* to, const T (&from)[count]) {
  constexpr int bytes = sizeof from < 16 ? sizeof from : 16;
  using Part = typename Word<bytes>::type;
#pragma unroll
  for (int i = 0; i < int(sizeof from) / bytes; ++i) {
    Part part;
    memcpy(&part, reinterpret_cast<const char*>(from) + i * bytes, bytes);
    reinterpret_cast<Part*>(to)[i] = part;
  }
}

template <class T, int count>
__device__ __forceinline__ void load_widened(const T* from, Wide<T> (&to)[count]) {
  T values[count];
  load(from, values);
#pragma unroll
  for (int i = 0; i < count; ++i) to[i] = widen(values[i]);
}

template <class T, int count>
__device__ __forceinline__ void store_narrowed(T* to, const Wide<T> (&from)[count]) {
  T values[count];
#pragma unroll
  for (int i = 0; i < count; ++i) narrow(from[i], values[i]);
  store(to, values);
}

// Sets the features of a point on a level to one value.
template <class T, int F>
__device__ __forceinline__ void fill(T* to, int64_t features, Wide<T> value) {
  if constexpr (F > 0) {
    Wide<T> values[F];
#pragma unroll
    for (int f = 0; f < F; ++f) values[f] = value;
    store_narrowed(to, values);
  } else {
    for (int64_t f = 0; f < features; ++f) narrow(value, to[f]);
  }
}

// The rows of a leaf, whose corners c and c + 1 (c even) are neighbours along x.
template <class T, int F, int leaf>
__device__ __forceinline__ void gather(const T* table, bool paired, const uint32_t (&row)[leaf],
                                       Wide<T> (&values)[leaf][F]) {
  if constexpr (2 * F * sizeof(T) <= 16) {
    if (paired) {
      // The pair that has c's row is always loaded whole. Where it has that of c + 1 too, the second load goes to row 0, an
      // address that all such lanes have in common: so there is no branch, and all loads are under way together.
      T both[leaf / 2][2 * F], other[leaf / 2][F];
#pragma unroll
      for (int i = 0; i < leaf / 2; ++i) {
        const uint32_t first = row[2 * i], second = row[2 * i + 1];
        load(table + size_t(first & ~1u) * F, both[i]);
        load(table + size_t((first ^ second) == 1 ? 0 : second) * F, other[i]);
      }
#pragma unroll
      for (int i = 0; i < leaf / 2; ++i) {
        const bool odd = row[2 * i] & 1, joined = (row[2 * i] ^ row[2 * i + 1]) == 1;
#pragma unroll
        for (int f = 0; f < F; ++f) {
          const T even_row = both[i][f], odd_row = both[i][F + f];
          values[2 * i][f] = widen(odd ? odd_row : even_row);
          values[2 * i + 1][f] = widen(!joined ? other[i][f] : odd ? even_row : odd_row);
        }
      }
      return;
    }
  }
#pragma unroll
  for (int c = 0; c < leaf; ++c) load_widened(table + size_t(row[c]) * F, values[c]);
}

// table[row[c]] += w[c] * g for the first `corners` of a leaf, by atomic additions; w's neighbours in one where they can.
template <int F, int leaf>
__device__ __forceinline__ void scatter(float* table, const uint32_t (&row)[leaf], const float (&w)[leaf],
                                        const float (&g)[F], int corners) {
#pragma unroll
  for (int c = 0; c < leaf; c += 2) {
    if (c >= corners) break;
    if constexpr (F <= 2) {
      if (corners > 1 && (row[c] ^ row[c + 1]) == 1) {
        const bool odd = row[c] & 1;
        const float first = odd ? w[c + 1] : w[c], second = odd ? w[c] : w[c + 1];
        float* const to = table + size_t(row[c] & ~1u) * F;
        if constexpr (F == 1)
          atomic_add_2(to, first * g[0], second * g[0]);
        else
          atomic_add_4(to, first * g[0], first * g[1], second * g[0], second * g[1]);
        continue;
      }
    }
#pragma unroll
    for (int i = c; i < c + 2; ++i) {
      if (i >= corners) break;
      float* const to = table + size_t(row[i]) * F;
      if constexpr (F == 1) atomicAdd(to, w[i] * g[0]);
      if constexpr (F == 2) atomic_add_2(to, w[i] * g[0], w[i] * g[1]);
      if constexpr (F >= 4)
#pragma unroll
        for (int f = 0; f < F; f += 4)
          atomic_add_4(to + f, w[i] * g[f], w[i] * g[f + 1], w[i] * g[f + 2], w[i] * g[f + 3]);
    }
  }
}

// The same, for one of any number of features.
template <class R, int leaf>
__device__ __forceinline__ void scatter_feature(R* table, int64_t features, const uint32_t (&row)[leaf],
                                                const R (&w)[leaf], R g, int corners) {
#pragma unroll
  for (int c = 0; c < leaf; ++c)
    if (c < corners) atomicAdd(table + row[c] * features, w[c] * g);
}

}  // namespace warphash::hashgrid
