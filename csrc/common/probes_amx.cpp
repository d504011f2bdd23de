// SPDX-License-Identifier: Apache-2.0
// Probe loop for AMX int8: four tiles of sums from two by two operand tiles, the shape that a matrix product uses.
// Bound: one tdpbssd of 16 x 16 x 64 multiply-adds in 16 cycles.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "common/probes.h"

namespace warphash::probes {
namespace {

struct alignas(64) TileShapes {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

uint64_t int8_dot(int64_t rounds) {
  TileShapes shapes = {};
  shapes.palette = 1;
  for (int tile = 0; tile < 8; ++tile) {
    shapes.row_bytes[tile] = 64;
    shapes.rows[tile] = 16;
  }
  alignas(64) int8_t ones[16 * 64];
  for (int8_t& one : ones) one = 1;
  alignas(64) int32_t sums[16 * 16];
  _tile_loadconfig(&shapes);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, ones, 64);
  _tile_loadd(5, ones, 64);
  _tile_loadd(6, ones, 64);
  _tile_loadd(7, ones, 64);
  for (int64_t round = 0; round < rounds; ++round) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  _tile_stored(0, sums, 64);
  const uint64_t result = static_cast<uint32_t>(sums[0]);
  _tile_release();
  return result;
}

}  // namespace

const Loop& int8_dot_amx() {
  static constexpr Loop loop = {int8_dot, 4 * 16 * 16 * 64};
  return loop;
}

}  // namespace warphash::probes
