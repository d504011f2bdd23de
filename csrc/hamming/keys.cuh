// SPDX-License-Identifier: Apache-2.0
// The operands on the device and the loop that every kernel but the tensor-core ones shares: the keys of a few codes a
// lane against a few queries. Lane = code, so a warp reads consecutive rows. Queries are the same for a whole warp:
// their words come as broadcasts from the L1 cache, where a block's few queries stay.
#pragma once

#include <type_traits>

#include "hamming/metric.cuh"

namespace warphash::hamming {

constexpr int word_padding = 8;             // words of prepared queries are rounded up to this: one tensor-core step
constexpr int64_t widest_mma_bytes = 4096;  // wider codes never go to the tensor cores

// Prepared queries are rounded up to this, with rows of zeros: as many as a kernel takes at a time.
constexpr int64_t query_padding(Metric metric, int64_t bytes) {
  return metric == Metric::score ? 4 : bytes <= widest_mma_bytes ? 64 : 8;
}

// What kernels take by value. prepare() makes the queries' side.
struct Search {
  const uint8_t* database;  // [database_count, bytes]
  const unsigned* queries;  // [padded queries, words], zeros behind the bytes
  const unsigned* sizes;    // [padded queries], popcounts
  const float* tables;      // Metric::score: [padded queries, 8 * words nibbles, 16]
  const uint8_t* mask;      // null: all are allowed
  int64_t mask_stride;      // 0: shared by the queries
  int64_t query_count, database_count, bytes;
  int words;

  __device__ __forceinline__ bool allowed(int64_t query, int64_t index) const {
    return mask == nullptr || mask[query * mask_stride + index] != 0;
  }
};

// Host: bytes of the prepared queries, and the kernels that fill them. alignment_of() tells what load_words may assume.
size_t prepared_bytes(Metric metric, int64_t query_count, int64_t bytes);
cudaError_t prepare(Metric metric, const Problem& problem, int64_t first_query, int64_t query_count, void* prepared,
                    Search* search, cudaStream_t stream);
int alignment_of(const Problem& problem);

// `count` words from byte `first` of a row, zeros behind its end. Row starts and widths are multiples of `alignment`
// (16, 8, 4; 1 reads single bytes), so that no load reaches behind the row.
template <int alignment, int count>
__device__ __forceinline__ void load_words(const uint8_t* row, int64_t first, int64_t bytes, unsigned (&words)[count]) {
  if constexpr (alignment == 16 && count % 4 == 0) {
#pragma unroll
    for (int i = 0; i < count; i += 4) {
      uint4 v = make_uint4(0, 0, 0, 0);
      if (first + 4 * i < bytes) v = __ldg(reinterpret_cast<const uint4*>(row + first + 4 * i));
      words[i] = v.x, words[i + 1] = v.y, words[i + 2] = v.z, words[i + 3] = v.w;
    }
  } else if constexpr (alignment >= 8) {
#pragma unroll
    for (int i = 0; i < count; i += 2) {
      uint2 v = make_uint2(0, 0);
      if (first + 4 * i < bytes) v = __ldg(reinterpret_cast<const uint2*>(row + first + 4 * i));
      words[i] = v.x, words[i + 1] = v.y;
    }
  } else if constexpr (alignment == 4) {
#pragma unroll
    for (int i = 0; i < count; ++i)
      words[i] = first + 4 * i < bytes ? __ldg(reinterpret_cast<const unsigned*>(row + first + 4 * i)) : 0;
  } else {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      words[i] = 0;
#pragma unroll
      for (int b = 0; b < 4; ++b)
        if (first + 4 * i + b < bytes) words[i] |= unsigned(__ldg(row + first + 4 * i + b)) << (8 * b);
    }
  }
}

// One column of full adders: sum and carry of three words of bits.
__device__ __forceinline__ void add_bits(unsigned a, unsigned b, unsigned c, unsigned& sum, unsigned& carry) {
  carry = (a & b) | (c & (a ^ b));
  sum = a ^ b ^ c;
}

// Bits counted over many words. With carry_save, four words cost one popc and six logic operations instead of four
// popcs, which run at a quarter of the rate.
template <bool carry_save>
struct BitCount {
  unsigned ones = 0, twos = 0, total = 0;
  __device__ __forceinline__ void add(const unsigned (&x)[4]) {
    if constexpr (carry_save) {
      unsigned first, second, fours;
      add_bits(ones, x[0], x[1], ones, first);
      add_bits(ones, x[2], x[3], ones, second);
      add_bits(twos, first, second, twos, fours);
      total += __popc(fours);
    } else {
      total += __popc(x[0]) + __popc(x[1]) + __popc(x[2]) + __popc(x[3]);
    }
  }
  __device__ __forceinline__ unsigned result() const {
    return carry_save ? 4 * total + 2 * __popc(twos) + __popc(ones) : total;
  }
};

// keys[q][c] of the queries from first_query on and the codes at rows index[c], all of which must exist.
template <Metric metric, int queries, int codes, int alignment>
__device__ __forceinline__ void compute_keys(const Search& search, int64_t first_query, const int64_t (&index)[codes],
                                             unsigned (&keys)[queries][codes]) {
  const uint8_t* rows[codes];
#pragma unroll
  for (int c = 0; c < codes; ++c) rows[c] = search.database + index[c] * search.bytes;
  if constexpr (metric == Metric::score) {
    const int64_t table_size = int64_t(search.words) * 128;
    const float* table = search.tables + first_query * table_size;
    float scores[queries][codes] = {};
    for (int64_t byte = 0; byte < search.bytes; byte += 16, table += 4 * 128) {
      unsigned code[codes][4];
#pragma unroll
      for (int c = 0; c < codes; ++c) load_words<alignment>(rows[c], byte, search.bytes, code[c]);
#pragma unroll
      for (int word = 0; word < 4; ++word)
#pragma unroll 4
        for (int nibble = 0; nibble < 8; ++nibble)
#pragma unroll
          for (int q = 0; q < queries; ++q)
#pragma unroll
            for (int c = 0; c < codes; ++c) {
              const unsigned value = code[c][word] >> (4 * nibble) & 15;
              const float partial = __ldg(table + q * table_size + word * 128 + nibble * 16 + value);
              scores[q][c] = __fadd_rn(scores[q][c], partial);
            }
    }
#pragma unroll
    for (int q = 0; q < queries; ++q)
#pragma unroll
      for (int c = 0; c < codes; ++c) keys[q][c] = score_key(scores[q][c]);
  } else {
    constexpr bool carry_save = queries >= 8;
    BitCount<carry_save> counts[queries][codes];
    BitCount<carry_save> sizes[codes];
    const unsigned* words = search.queries + first_query * search.words;
    for (int64_t byte = 0; byte < search.bytes; byte += 16, words += 4) {
      unsigned code[codes][4];
#pragma unroll
      for (int c = 0; c < codes; ++c) {
        load_words<alignment>(rows[c], byte, search.bytes, code[c]);
        if constexpr (metric == Metric::jaccard) sizes[c].add(code[c]);
      }
#pragma unroll
      for (int q = 0; q < queries; ++q) {
        const uint4 v = __ldg(reinterpret_cast<const uint4*>(words + int64_t(q) * search.words));
        const unsigned query[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int c = 0; c < codes; ++c) {
          unsigned x[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) x[i] = metric == Metric::jaccard ? query[i] & code[c][i] : query[i] ^ code[c][i];
          counts[q][c].add(x);
        }
      }
    }
#pragma unroll
    for (int q = 0; q < queries; ++q)
#pragma unroll
      for (int c = 0; c < codes; ++c) {
        const unsigned count = counts[q][c].result();
        if constexpr (metric == Metric::jaccard)
          keys[q][c] = jaccard_key(count, search.sizes[first_query + q] + sizes[c].result());
        else
          keys[q][c] = count;
      }
  }
}

// Calls body with the largest of the served alignments (falling, the last one is 1) as a constant:
// body(std::integral_constant<int, 16>()) and so on.
template <int served, int... smaller, class Body>
cudaError_t with_alignment(int alignment, const Body& body) {
  if constexpr (sizeof...(smaller) == 0)
    return body(std::integral_constant<int, served>());
  else
    return alignment >= served ? body(std::integral_constant<int, served>())
                               : with_alignment<smaller...>(alignment, body);
}

// The same for the metric.
template <class Body>
cudaError_t with_metric(Metric metric, const Body& body) {
  switch (metric) {
    case Metric::distance: return body(std::integral_constant<Metric, Metric::distance>());
    case Metric::jaccard: return body(std::integral_constant<Metric, Metric::jaccard>());
    default: return body(std::integral_constant<Metric, Metric::score>());
  }
}

}  // namespace warphash::hamming
