// SPDX-License-Identifier: Apache-2.0
// Hamming kernels without any instruction set beyond x86-64, and what every set shares of the layouts.
//
// Bound: about 12 integer operations a 64-bit popcount, which the baseline does not have as an instruction. Tiles are
// laid out as for the vector kernels (word-major in groups of 8 codes), so the compiler may use what vectors it has.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hamming/hamming.h"
#include "hamming/hamming_keys.h"
#include "hamming/hamming_nibbles.h"

namespace warphash::hamming {
namespace {

constexpr int lanes = 8;

// Popcount by pairs, nibbles, bytes; the last step adds the bytes by a multiplication.
inline uint64_t popcount(uint64_t x) {
  x -= x >> 1 & 0x5555555555555555u;
  x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
  return ((x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu) * 0x0101010101010101u >> 56;
}

int tile_codes(int words) {
  int codes = 2048 / words / group_codes * group_codes;
  return codes < 64 ? 64 : codes > 1024 ? 1024 : codes;
}
size_t tile_bytes(int words) { return static_cast<size_t>(tile_codes(words)) * words * 8; }

void arrange(const uint8_t* codes, int count, int bytes, void* tile) {
  int words = (bytes + 7) / 8, padded = (count + group_codes - 1) / group_codes * group_codes;
  uint64_t* out = static_cast<uint64_t*>(tile);
  for (int code = 0; code < padded; ++code)
    for (int word = 0; word < words; ++word) {
      uint64_t value = 0;
      int left = bytes - 8 * word;
      if (code < count) std::memcpy(&value, codes + static_cast<size_t>(code) * bytes + 8 * word, left < 8 ? left : 8);
      out[(static_cast<size_t>(code / lanes) * words + word) * lanes + code % lanes] = value;
    }
}

size_t prepared_bytes(int count, int words) { return static_cast<size_t>(count) * words * 8; }
void prepare(const uint64_t* queries, int count, int words, void* prepared) {
  std::memcpy(prepared, queries, prepared_bytes(count, words));
}

// counts[lane] of one group of 8 codes
template <bool conjunction>
inline void count_bits(const uint64_t* group, const uint64_t* query, int words, uint32_t* counts) {
  uint64_t sums[lanes] = {};
  for (int word = 0; word < words; ++word)
    for (int lane = 0; lane < lanes; ++lane) {
      uint64_t code = group[static_cast<size_t>(word) * lanes + lane];
      sums[lane] += popcount(conjunction ? query[word] & code : query[word] ^ code);
    }
  for (int lane = 0; lane < lanes; ++lane) counts[lane] = static_cast<uint32_t>(sums[lane]);
}

// keys_of(query, code, counts, keys): the keys of one group of 8 codes
template <bool conjunction>
void scan(const ScanCall& call) {
  const uint64_t* tile = static_cast<const uint64_t*>(call.tile);
  for (int query = 0; query < call.queries; ++query) {
    const uint64_t* values = static_cast<const uint64_t*>(call.prepared) + static_cast<size_t>(query) * call.words;
    for (int code = 0; code < call.codes; code += group_codes) {
      uint32_t keys[group_codes];
      for (int group = 0; group < group_codes; group += lanes)
        count_bits<conjunction>(tile + static_cast<size_t>(code + group) * call.words, values, call.words,
                                keys + group);
      int left = call.codes - code < group_codes ? call.codes - code : group_codes;
      uint32_t passed = 0;
      for (int lane = 0; lane < left; ++lane) {
        if (conjunction)
          keys[lane] =
              jaccard_key(jaccard_similarity(keys[lane], call.query_sizes[query] + call.code_sizes[code + lane]));
        passed |= static_cast<uint32_t>(keys[lane] < call.limits[query]) << lane;
      }
      if (passed != 0) call.limits[query] = call.sink.offer(call.sink.state, query, call.first + code, keys, passed);
    }
  }
}

void sizes(const void* tile, int codes, int words, uint32_t* out) {
  const uint64_t* from = static_cast<const uint64_t*>(tile);
  for (int code = 0; code < codes; ++code) {
    uint64_t sum = 0;
    for (int word = 0; word < words; ++word)
      sum += popcount(from[(static_cast<size_t>(code / lanes) * words + word) * lanes + code % lanes]);
    out[code] = static_cast<uint32_t>(sum);
  }
}

void distances(const void* tile, int codes, int words, const uint64_t* query, uint32_t* out) {
  for (int code = 0; code < codes; code += lanes)
    count_bits<false>(static_cast<const uint64_t*>(tile) + static_cast<size_t>(code) * words, query, words, out + code);
}

void scan_score(const ScanCall& call) {
  const int words = 2 * call.words;
  for (int query = 0; query < call.queries; ++query) {
    const float* table =
        static_cast<const float*>(call.prepared) + static_cast<size_t>(query) * call.words * nibble_sums;
    for (int code = 0; code < call.codes; code += group_codes) {
      uint32_t keys[group_codes], passed = 0;
      int left = call.codes - code < group_codes ? call.codes - code : group_codes;
      float floor = score_floor(call.limits[query]);
      for (int lane = 0; lane < left; ++lane) {
        const uint32_t* values = static_cast<const uint32_t*>(call.tile) +
                                 static_cast<size_t>((code + lane) / nibble_lanes) * words * nibble_lanes +
                                 lane % nibble_lanes;
        float sum = 0.0f;
        for (int nibble = 0; nibble < 8 * words; ++nibble) {
          uint32_t value = values[static_cast<size_t>(nibble / 8) * nibble_lanes] >> (4 * (nibble % 8)) & 15;
          sum = sum + table[static_cast<size_t>(nibble) * 16 + value];
        }
        keys[lane] = score_key(sum);
        passed |= static_cast<uint32_t>(sum >= floor) << lane;
      }
      if (passed != 0) call.limits[query] = call.sink.offer(call.sink.state, query, call.first + code, keys, passed);
    }
  }
}

}  // namespace

int nibble_tile_codes(int words) {
  int codes = 2048 / words / nibble_block * nibble_block;
  return codes < nibble_block ? nibble_block : codes > 1024 ? 1024 : codes;
}
size_t nibble_tile_bytes(int words) { return static_cast<size_t>(nibble_tile_codes(words)) * words * 8; }

void arrange_nibbles(const uint8_t* codes, int count, int bytes, void* tile) {
  int words = (bytes + 7) / 8 * 2, padded = (count + nibble_block - 1) / nibble_block * nibble_block;
  uint32_t* out = static_cast<uint32_t*>(tile);
  for (int code = 0; code < padded; ++code)
    for (int word = 0; word < words; ++word) {
      uint32_t value = 0;
      int left = bytes - 4 * word;
      if (code < count && left > 0)
        std::memcpy(&value, codes + static_cast<size_t>(code) * bytes + 4 * word, left < 4 ? left : 4);
      out[(static_cast<size_t>(code / nibble_lanes) * words + word) * nibble_lanes + code % nibble_lanes] = value;
    }
}

size_t nibble_prepared_bytes(int count, int words) {
  return static_cast<size_t>(count) * words * nibble_sums * sizeof(float);
}

// The rows of `queries` are floats here, 64 a word.
void prepare_nibbles(const uint64_t* queries, int count, int words, void* prepared) {
  const float* values = reinterpret_cast<const float*>(queries);
  float* out = static_cast<float*>(prepared);
  for (size_t nibble = 0; nibble < static_cast<size_t>(count) * words * 16; ++nibble, values += 4, out += 16)
    for (int bits = 0; bits < 16; ++bits) {
      float sum = bits & 1 ? values[0] : -values[0];
      for (int i = 1; i < 4; ++i) sum = sum + (bits >> i & 1 ? values[i] : -values[i]);
      out[bits] = sum;
    }
}

const Kernels& kernels_scalar() {
  static constexpr Kernels kernels = {Isa::scalar, {tile_codes, tile_bytes, arrange, prepared_bytes, prepare},
                                      scan<false>, scan<true>,
                                      sizes,       distances,
                                      nullptr,     nibble_layout,
                                      scan_score};
  return kernels;
}

}  // namespace warphash::hamming
