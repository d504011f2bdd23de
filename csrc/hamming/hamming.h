// SPDX-License-Identifier: Apache-2.0
// The CPU kernels of Hamming search, one table an instruction set. Torch-free; every function is bound by its ISA file.
//
// A search walks the database in tiles that fit the L1 cache. A tile is laid out once (arrange) and then compared with
// every query of a block (scan), so that the database is read from memory once a block. A scan keeps no result: it
// compares each key with the query's limit and hands the few groups of codes that pass to a sink.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/isa.h"

namespace warphash::hamming {

// Codes of one hand-over to a sink, at most.
constexpr int group_codes = 32;

// Takes the codes first + lane, for every lane set in passed, with keys[lane] each; returns the query's new limit.
// A key is a uint32 that ranks a code for a query, the smaller the better: hamming_keys.h.
struct Sink {
  uint32_t (*offer)(void* state, int query, int64_t first, const uint32_t* keys, uint32_t passed);
  void* state;
};

// How a family of scans lays its operands out. words = ceil(bytes / 8); queries are [count, words], padded with zeros.
// Tiles and prepared queries are 64-byte aligned.
struct Layout {
  int (*tile_codes)(int words);     // codes of a tile, a multiple of group_codes
  size_t (*tile_bytes)(int words);  // what arrange() writes
  void (*arrange)(const uint8_t* codes, int count, int bytes, void* tile);  // codes [count, bytes], count <= tile_codes
  size_t (*prepared_bytes)(int count, int words);                           // what prepare() writes
  void (*prepare)(const uint64_t* queries, int count, int words, void* prepared);
  // Not null: a thread calls begin() before its first scan and end() after its last, whatever happens between.
  void (*begin)() = nullptr;
  void (*end)() = nullptr;
};

// One tile against a block of queries. first: index of the tile's first code; limits [queries]: a key passes if it is
// below. The lanes past `codes` of the last group are never offered.
struct ScanCall {
  const void* tile;
  int codes, words;
  int64_t first;
  const void* prepared;
  int queries;
  uint32_t* limits;
  const uint32_t* code_sizes;  // popcounts [tile_codes], [queries]: Jaccard alone
  const uint32_t* query_sizes;
  Sink sink;
};
using Scan = void (*)(const ScanCall& call);

struct Kernels {
  Isa isa;
  Layout words;        // whole 64-bit words of codes and queries, in each set's own order
  Scan scan_distance;  // keys are |q ^ x|
  Scan scan_jaccard;   // keys of |q & x| / |q | x|
  void (*sizes)(const void* tile, int codes, int words, uint32_t* sizes);  // popcounts of a tile's codes
  // Distances of one query to a tile's codes, for cdist and histograms. out [tile_codes]; what lies past `codes` is free.
  void (*distances)(const void* tile, int codes, int words, const uint64_t* query, uint32_t* out);
  // One query over rows [count, bytes] as they lie, where reading them is the limit. Null: use a tile.
  void (*scan_rows)(const uint8_t* rows, int64_t count, int bytes, int64_t first, const uint64_t* query,
                    int query_number, uint32_t* limit, const Sink& sink);
  Layout nibbles;   // hamming_nibbles.h; the "words" given to prepare() are floats, 64 a word
  Scan scan_score;  // keys of asymmetric scores
};

const Kernels& kernels_scalar();
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();

// AMX has the distance scan alone: {0, 1} bytes of codes times {+1, -1} bytes of queries.
struct AmxKernels {
  Layout bytes;
  Scan scan_distance;
};
const AmxKernels& kernels_amx();

}  // namespace warphash::hamming
