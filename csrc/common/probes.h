// SPDX-License-Identifier: Apache-2.0
// What this machine can do at best: the roofs that the benches measure kernels against. Torch-free.
//
// A probe runs a loop that does one thing alone, from enough independent chains to fill the unit, on every thread at
// once, and gives the best rate but one of several samples after a warm-up. A negative rate: this machine lacks it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace warphash::probes {

// A loop over registers alone. run(rounds) returns a value that depends on every chain; null: not in this file.
struct Loop {
  uint64_t (*run)(int64_t rounds);
  double units_per_round;
};

// The loops of one instruction set, one table a file. Sizes are multiples of 1024 bytes, addresses of 64.
struct Loops {
  uint64_t (*read)(const void* data, size_t bytes);
  void (*write)(void* data, size_t bytes);         // through the caches
  void (*write_around)(void* data, size_t bytes);  // past the caches; null: there is no such store
  // Rows of 8 bytes at the places given, as many at once as the set can; count is a multiple of 64.
  uint64_t (*gather_rows)(const void* table, const uint32_t* rows, size_t count);
  Loop popcount;        // 64-bit words counted, by the set's best way; AVX2: compared
  Loop popcount_words;  // the same, one general register at a time
  Loop distance;        // words counted after an exclusive or, and summed: Hamming's loop
  Loop multiply_add;    // float32 multiply-adds, fused where the set has it
  Loop int8_dot;        // int8 multiply-adds into int32
  Loop affine_min;      // 32-bit a * x + b, and the smallest of all: MinHash's loop
};

const Loops& loops_scalar();
const Loops& loops_avx2();
const Loops& loops_avx512();

// Only to be run by a thread of a process that may use tiles (amx_permitted()).
const Loop& int8_dot_amx();

constexpr double absent = -1.0;

// Four a core, at least 64: more tell nothing of the machine. Probes throw std::runtime_error where one cannot be started.
int most_threads();

// Cycles a second of one core under a chain of dependent additions.
double core_clock();

// Bytes a second. The buffer is cut into one piece a thread, so that caches private to a core count threads times.
double read_bandwidth(size_t bytes, int threads);
double write_bandwidth(size_t bytes, int threads);

// Reads a second of one 64-byte line each, at independent random places of one buffer that all threads share.
double gather_rate(size_t bytes, int threads);

// Rows of 8 bytes read a second at random places of one table that all threads share, by the best of single loads and the
// vector gathers of this machine. The places are read from memory in order, 4 bytes each, as a kernel's own would be.
double row_gather_rate(size_t bytes, int threads);

// Additions a second of two floats to a row of 8 bytes at random places. Each thread has a table of this size for itself: two
// that write to one take its lines from each other. The better of asking for rows ahead and not.
double row_update_rate(size_t bytes, int threads);

// Bytes a second of memory that is taken from the system with the wish for large pages, written once and given back: what a
// large result costs before anything is computed. Each thread takes a piece of its own.
double touch_bandwidth(size_t bytes, int threads);

// Products a second added to float32 sums: column and value of an entry are read in order, the value is multiplied and added
// to the sum of its column, at a random place among sums of this size, and the column's flag is set. Sums a thread.
double accumulate_rate(size_t bytes, int threads);

enum class Unit {
  popcount_portable,  // shifts, masks and a multiplication
  popcount_word,      // popcnt
  distance_avx2,      // vpshufb over nibbles, tables of two queries
  popcount_avx512,    // vpopcntq
  distance_word,      // xor, popcnt, add
  distance_avx512,    // vpxorq, vpopcntq, vpaddq
  multiply_add,       // float32, the widest set of the machine
  affine_min,         // 32-bit a * x + b, and a minimum, the widest set of the machine
  int8_avx512,        // vpdpbusd
  int8_amx,           // tdpbssd
};

// Operations a second: words of 64 bits for popcount_* and distance_*, multiply-adds for the others.
double unit_rate(Unit unit, int threads);

}  // namespace warphash::probes
