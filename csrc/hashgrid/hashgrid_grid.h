// SPDX-License-Identifier: Apache-2.0
// The geometry of a grid as kernels read it, CPU and CUDA alike, and its text form, by which operators are told. Torch-free.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace warphash::hashgrid {

constexpr int most_dims = 7;

enum class Interpolation : int { nearest, linear, smoothstep };

// Type of a table. Half types are summed in float32, and so are their gradients.
enum class TableType : int { f32, f64, f16, bf16 };

// Multipliers of the hash: xor over axes of coordinate * prime, mod 2^32.
constexpr uint32_t primes[most_dims] = {1u,          2654435761u, 805459861u, 3674653429u,
                                        2097192037u, 1434869437u, 2165219737u};

// One level. A position along an axis is fma(scale, x, 0.5) in the type of x; its floor, mod 2^32, is the cell c, and the
// corners are c and c + 1 on each axis. The row of a vertex v is
//   hashed: (xor of v[axis] * multiplier[axis]) mod rows, where rows is a power of two,
//   else:   (sum of v[axis] * multiplier[axis]) mod rows,
// all in 32-bit words.
struct Level {
  double scale[most_dims];
  uint32_t multiplier[most_dims];
  uint32_t rows;   // 2^31 at most
  int64_t offset;  // of its first row in the table
  bool hashed;
};

struct Grid {
  int dims = 0;
  Interpolation interpolation = Interpolation::linear;
  std::vector<Level> levels;
  int64_t rows = 0;  // of the table

  int level_count() const { return static_cast<int>(levels.size()); }
  // Corners of a cell that have a weight.
  int corners() const { return interpolation == Interpolation::nearest ? 1 : 1 << dims; }
  // Beyond this a position could overflow: a point with such a coordinate is treated as NaN. largest: of the type of x.
  double largest_coordinate(double largest) const;
};

// Reads "kind interpolation dims;scale ... scale rows;..." with a part for each level (GridSpec.text); throws
// std::invalid_argument. The returned grid lives as long as the process: grids are few, calls are many.
const Grid& grid_of(const std::string& text);

}  // namespace warphash::hashgrid
