// SPDX-License-Identifier: Apache-2.0
// What the steps of a sort share: codes read, digits of them, and how a table is cut into tiles.
//
// Up to 4096 buckets a code is one digit. Above, digits of up to 8 bits are sorted one after the other, lowest first, on
// records of code << index_bits | index.
#pragma once

#include "common/arena.cuh"
#include "lsh/buckets/buckets.cuh"

namespace warphash::lsh {

using Record = unsigned long long;
using Code = unsigned long long;

constexpr int place_threads = 256, place_warps = place_threads / 32;
#if defined(WARPHASH_CUDA_EMULATION)
constexpr int own_items = 2;  // so that tests see many tiles
constexpr int64_t most_blocks = 3;
constexpr int64_t narrow_items = 3000;  // and both widths of words
#else
constexpr int own_items = 16;
constexpr int64_t most_blocks = int64_t{1} << 30;
constexpr int64_t narrow_items = int64_t{1} << 30;
#endif
constexpr int tile_items = place_threads * own_items;
constexpr int most_counted = 4096;  // buckets of a sort in one pass
constexpr unsigned all_lanes = 0xffffffffu;

// One step of a sort: items to the places that their digit's count tells, those with the same digit in order.
struct Pass {
  const void* codes;  // [tables, items], of `bytes` bytes each; or
  const Record* records;
  int bytes, index_bits;
  int shift, bits, digits;  // digit = code >> shift, below `digits`, which is below 2^bits; or that of a record
  int64_t tables, items;
  Code last;  // what is larger counts as this
  const int64_t* starts;
  int64_t start_stride;  // between tables
  void* states;          // [tiles, digits] words, zeros
  Code* tickets;         // one, zero
  Record* to_records;    // to here, or to
  int64_t *order, *inverse;
  unsigned* sorted;  // codes in order; may be null, as inverse may
};

// Calls launch for whether codes or records are read and written.
cudaError_t place_items(const Pass& pass, cudaStream_t stream);

inline bool has_narrow_states(int64_t items) { return items < narrow_items; }
inline int64_t state_words(int64_t tables, int64_t items, int digits) {
  return tables * ceil_divide(items, tile_items) * digits;
}

#if defined(WARPHASH_CUDA_EMULATION) || defined(__CUDACC__)

// Items begin, begin + step, … below end, of a table that starts at `first`; others stay as they are.
template <class Stored, class Key, int count>
__device__ __forceinline__ void load_stored(const void* codes, int64_t first, int begin, int step, int end, Code last,
                                            Key (&keys)[count]) {
  const Stored* from = static_cast<const Stored*>(codes) + first;
#pragma unroll
  for (int j = 0; j < count; ++j) {
    const int i = begin + j * step;
    if (i < end) keys[j] = static_cast<Key>(min(static_cast<Code>(static_cast<int64_t>(__ldg(from + i))), last));
  }
}
template <class Key, int count>
__device__ __forceinline__ void load_codes(const void* codes, int bytes, int64_t first, int begin, int step, int end,
                                           Code last, Key (&keys)[count]) {
  switch (bytes) {
    case 1: return load_stored<uint8_t>(codes, first, begin, step, end, last, keys);
    case 2: return load_stored<int16_t>(codes, first, begin, step, end, last, keys);
    case 4: return load_stored<int32_t>(codes, first, begin, step, end, last, keys);
    default: return load_stored<int64_t>(codes, first, begin, step, end, last, keys);
  }
}

#endif

}  // namespace warphash::lsh
