// SPDX-License-Identifier: Apache-2.0
// The tile instructions that kernels use, on tiles of 16 rows x 64 bytes that lie in memory as 1024 bytes in a row, or on
// as many rows as a tile is configured with, any distance apart.
//
// Written as assembly with exact memory operands: the compilers' own macros take no template arguments, and GCC 12's
// tell the compiler nothing of the memory that a tile load reads. With WARPHASH_AMX_MODEL the same names are an exact
// model in plain C++, which ends the process where the hardware would fault, so that any machine can test a kernel.
// Internal linkage, so that ISA files may include it.
#pragma once

#include <cstdint>

#ifdef WARPHASH_AMX_MODEL
#include <immintrin.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#endif

namespace warphash::amx {
namespace {

constexpr int tile_rows = 16, tile_row_bytes = 64, tile_bytes = tile_rows * tile_row_bytes, tile_count = 8;

// What LDTILECFG reads.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfiguration) == 64);

// All eight tiles of full size.
constexpr TileConfiguration full_tiles() {
  TileConfiguration configuration;
  for (int tile = 0; tile < tile_count; ++tile) {
    configuration.row_bytes[tile] = tile_row_bytes;
    configuration.rows[tile] = tile_rows;
  }
  return configuration;
}

struct __attribute__((may_alias)) TileMemory {
  uint8_t bytes[tile_bytes];
};

#ifndef WARPHASH_AMX_MODEL

inline void configure_tiles(const TileConfiguration& configuration) {
  asm volatile("ldtilecfg %0" ::"m"(configuration));
}

// A thread that keeps its tiles makes every switch to another thread save 8 KiB.
inline void release_tiles() { asm volatile("tilerelease"); }

template <int tile>
inline void zero_tile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(tile));
}

template <int tile>
inline void load_tile(const void* from) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(static_cast<int64_t>(tile_row_bytes)), "i"(tile),
               "m"(*static_cast<const TileMemory*>(from)));
}

template <int tile>
inline void store_tile(void* to) {
  asm volatile("tilestored %%tmm%c3, (%1,%2,1)"
               : "=m"(*static_cast<TileMemory*>(to))
               : "r"(to), "r"(static_cast<int64_t>(tile_row_bytes)), "i"(tile));
}

// Rows of 64 bytes that lie `stride` bytes apart.
template <int tile>
inline void load_rows(const void* from, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(tile) : "memory");
}

template <int tile>
inline void store_rows(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(tile) : "memory");
}

// sum[m][n] += products of the signed bytes left[m][4 k + i] and right[k][4 n + i], as int32.
template <int sum, int left, int right>
inline void dot_tiles() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sum), "i"(left), "i"(right));
}

// sum[m][n] += products of the bfloat16 left[m][2 k + i] and right[k][2 n + i], as float32.
template <int sum, int left, int right>
inline void dot_bf16_tiles() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sum), "i"(left), "i"(right));
}

#else  // the model

struct TileState {
  bool configured = false;
  TileConfiguration configuration;
  alignas(64) uint8_t tiles[tile_count][tile_rows][tile_row_bytes];
};
thread_local TileState tile_state;

[[noreturn]] inline void tile_fault(const char* what) {
  std::fprintf(stderr, "AMX model: %s\n", what);
  std::abort();
}

// The state, if the tile can be used.
template <int tile>
inline TileState& state_with() {
  static_assert(tile >= 0 && tile < tile_count);
  if (!tile_state.configured) tile_fault("a tile is used, but none is configured");
  if (tile_state.configuration.rows[tile] == 0) tile_fault("a tile is used that the configuration leaves out");
  return tile_state;
}

inline void configure_tiles(const TileConfiguration& configuration) {
  if (reinterpret_cast<uintptr_t>(&configuration) % 64 != 0) tile_fault("the configuration crosses a cache line");
  if (configuration.palette != 1) tile_fault("palette 1 alone is modelled");
  for (uint8_t byte : configuration.reserved)
    if (byte != 0) tile_fault("a reserved byte of the configuration is set");
  for (int tile = 0; tile < 16; ++tile) {
    const int rows = configuration.rows[tile], row_bytes = configuration.row_bytes[tile];
    if (rows > tile_rows || row_bytes > tile_row_bytes) tile_fault("a configured tile is too large");
    if ((rows == 0) != (row_bytes == 0)) tile_fault("a configured tile has rows without columns or the reverse");
    if (tile >= tile_count && rows != 0) tile_fault("a ninth tile is configured");
  }
  tile_state.configured = true;
  tile_state.configuration = configuration;
  std::memset(tile_state.tiles, 0, sizeof tile_state.tiles);
}

inline void release_tiles() {
  tile_state.configured = false;
  std::memset(tile_state.tiles, 0xa5, sizeof tile_state.tiles);
}

// Does the calling thread hold configured tiles?
inline bool tiles_are_configured() { return tile_state.configured; }

template <int tile>
inline void zero_tile() {
  std::memset(state_with<tile>().tiles[tile], 0, tile_bytes);
}

template <int tile>
inline void load_rows(const void* from, int64_t stride) {
  TileState& state = state_with<tile>();
  std::memset(state.tiles[tile], 0, tile_bytes);
  for (int row = 0; row < state.configuration.rows[tile]; ++row)
    std::memcpy(state.tiles[tile][row], static_cast<const uint8_t*>(from) + row * stride,
                state.configuration.row_bytes[tile]);
}

template <int tile>
inline void store_rows(void* to, int64_t stride) {
  TileState& state = state_with<tile>();
  for (int row = 0; row < state.configuration.rows[tile]; ++row)
    std::memcpy(static_cast<uint8_t*>(to) + row * stride, state.tiles[tile][row], state.configuration.row_bytes[tile]);
}

template <int tile>
inline void load_tile(const void* from) {
  load_rows<tile>(from, tile_row_bytes);
}

template <int tile>
inline void store_tile(void* to) {
  store_rows<tile>(to, tile_row_bytes);
}

// Indices are bounded by constants, and this is where all the time goes: no sanitizer.
__attribute__((no_sanitize("address", "undefined"))) inline void multiply_add(const TileConfiguration& shape, int sum,
                                                                              int left, int right, TileState& state) {
  const int columns = shape.row_bytes[sum] / 4;
  for (int m = 0; m < shape.rows[sum]; ++m) {
    uint32_t totals[16];  // unsigned: the hardware wraps
    std::memcpy(totals, state.tiles[sum][m], 4 * columns);
    const int8_t* factors = reinterpret_cast<const int8_t*>(state.tiles[left][m]);
    for (int k = 0; k < shape.row_bytes[left]; k += 4) {
      const int8_t* row = reinterpret_cast<const int8_t*>(state.tiles[right][k / 4]);
      for (int n = 0; n < columns; ++n)
        totals[n] += static_cast<uint32_t>(factors[k] * row[4 * n] + factors[k + 1] * row[4 * n + 1] +
                                           factors[k + 2] * row[4 * n + 2] + factors[k + 3] * row[4 * n + 3]);
    }
    std::memcpy(state.tiles[sum][m], totals, 4 * columns);
  }
}

// The processor's own float32 arithmetic, denormals taken for zeros and made zeros, rounded to nearest, ties to even.
class FlushedArithmetic {
 public:
  FlushedArithmetic() { _mm_setcsr(0x9fc0); }
  ~FlushedArithmetic() { _mm_setcsr(before_); }
  FlushedArithmetic(const FlushedArithmetic&) = delete;
  FlushedArithmetic& operator=(const FlushedArithmetic&) = delete;

 private:
  unsigned before_ = _mm_getcsr();
};

inline float bf16_value(uint32_t high_half) {
  float value;
  std::memcpy(&value, &high_half, 4);
  return value;
}

// In the order that Intel's manual gives: a chain of fused multiply-adds for the even values and one for the odd ones, both
// from zero; their sum is added to what the tile holds. Not inlined, so that all of it stays between the two changes of mode.
[[maybe_unused]] __attribute__((noinline, no_sanitize("address", "undefined"))) void multiply_add_bf16(
    const TileConfiguration& shape, int sum, int left, int right, TileState& state) {
  const int columns = shape.row_bytes[sum] / 4;
  for (int m = 0; m < shape.rows[sum]; ++m) {
    float even[16] = {}, odd[16] = {}, totals[16];
    for (int k = 0; k < shape.row_bytes[left] / 4; ++k) {
      uint32_t factors, row[16];
      std::memcpy(&factors, state.tiles[left][m] + 4 * k, 4);
      std::memcpy(row, state.tiles[right][k], 4 * columns);
      const float even_factor = bf16_value(factors << 16), odd_factor = bf16_value(factors & 0xffff0000);
      for (int n = 0; n < columns; ++n) {
        even[n] = std::fma(even_factor, bf16_value(row[n] << 16), even[n]);
        odd[n] = std::fma(odd_factor, bf16_value(row[n] & 0xffff0000), odd[n]);
      }
    }
    std::memcpy(totals, state.tiles[sum][m], 4 * columns);
    for (int n = 0; n < columns; ++n) totals[n] += even[n] + odd[n];
    std::memcpy(state.tiles[sum][m], totals, 4 * columns);
  }
}

// The state, if the tiles can be multiplied.
template <int sum, int left, int right>
inline TileState& state_of_product() {
  static_assert(sum != left && sum != right && left != right, "the hardware refuses equal tiles");
  TileState& state = state_with<sum>();
  state_with<left>();
  state_with<right>();
  const TileConfiguration& shape = state.configuration;
  if (shape.rows[sum] != shape.rows[left] || shape.row_bytes[left] != 4 * shape.rows[right] ||
      shape.row_bytes[sum] != shape.row_bytes[right] || shape.row_bytes[sum] % 4 != 0)
    tile_fault("the shapes of a product do not fit");
  return state;
}

template <int sum, int left, int right>
inline void dot_tiles() {
  TileState& state = state_of_product<sum, left, right>();
  multiply_add(state.configuration, sum, left, right, state);
}

template <int sum, int left, int right>
inline void dot_bf16_tiles() {
  TileState& state = state_of_product<sum, left, right>();
  const FlushedArithmetic flushed;
  multiply_add_bf16(state.configuration, sum, left, right, state);
}

#endif

}  // namespace
}  // namespace warphash::amx
