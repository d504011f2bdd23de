// SPDX-License-Identifier: Apache-2.0
// The fast SimHash by AMX on the software model of the tiles (WARPHASH_AMX_MODEL), callable from Python: the whole call,
// from rows and planes to codes. The kernel's file is included, so that its tile state can be looked at, and the caller's
// too, so that it can be given this kernel.
#include "driver.h"
#include "lsh/projections/simhash_fast.cpp"
#include "lsh/projections/simhash_fast_amx.cpp"

// type: that of VectorType. codes [rows, ceil(bits / 8)]
ENTRY void amx_simhash(int type, const void* x, int64_t rows, int64_t dim, const float* planes, int64_t bits,
                       uint8_t* codes) {
  using namespace warphash::lsh;
  const VectorType kind = static_cast<VectorType>(type);
  const GuardedCopy vectors(static_cast<const uint8_t*>(x), static_cast<size_t>(rows * dim * bytes_of(kind)));
  const GuardedCopy columns(reinterpret_cast<const uint8_t*>(planes), sizeof(float) * dim * bits);
  simhash_with(fast_amx(), {kind, vectors.data(), rows, dim}, {columns.data(), false}, bits, codes);
  expect(!warphash::amx::tiles_are_configured(), "the call has kept its tiles");
}

// One product of tiles of `rows` rows x `pairs` pairs and `pairs` pairs x `columns` columns, lines of 64 bytes each.
ENTRY void amx_dot_bf16(void* sums, const void* left, const void* right, int rows, int pairs, int columns) {
  using namespace warphash::amx;
  TileConfiguration configuration;
  configuration.rows[0] = configuration.rows[4] = static_cast<uint8_t>(rows);
  configuration.rows[6] = static_cast<uint8_t>(pairs);
  configuration.row_bytes[4] = static_cast<uint16_t>(4 * pairs);
  configuration.row_bytes[0] = configuration.row_bytes[6] = static_cast<uint16_t>(4 * columns);
  alignas(64) const TileConfiguration shapes = configuration;
  configure_tiles(shapes);
  load_tile<0>(sums);
  load_tile<4>(left);
  load_tile<6>(right);
  dot_bf16_tiles<0, 4, 6>();
  store_tile<0>(sums);
  release_tiles();
}
