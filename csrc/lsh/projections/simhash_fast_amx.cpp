// SPDX-License-Identifier: Apache-2.0
// The fast SimHash with TDPBF16PS: 16 rows x 16 pairs of dimensions x 16 columns an instruction.
//
// Data: a panel's lines are what the unit wants as its right operand, 16 lines a tile, and rows of pairs lie as the left
// one; both are loaded from where they are. Pairs are padded to multiples of 16 with zeros on both sides, so that nothing
// infinite meets a zero, columns to multiples of 16; the last rows have tiles with as many rows as there are.
// Bound: the tile unit, 16 cycles a product. A set of 2 x 2 tiles of sums has 4 products for 4 tile loads (32 cycles of
// the load ports). The signs of a set are taken from memory while the unit works on the next one. All by counted cycles: it
// has never run on a processor with AMX.
// Order: of every 16 pairs two chains from zero, even and odd dimensions, whose sum is added to the total. That is not
// the order of VDPBF16PS.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "common/amx_tiles.h"
#include "lsh/projections/simhash_fast.h"

namespace warphash::lsh {
namespace {

using namespace amx;

constexpr int lanes = 16;            // columns of a tile, and pairs of a product
constexpr int set_size = 2 * lanes;  // rows and columns of a set
constexpr int panel = 4 * lanes;
constexpr int64_t sums_stride = panel * sizeof(Pair);

int layout_width(int columns) { return (columns + lanes - 1) / lanes * lanes; }

struct Set {
  int row, rows;        // 1 to 32
  int column, columns;  // 16 or 32
};

// Sums in tmm0 (upper rows, left columns), 1 (right), 2 (lower rows, left), 3; rows in 4 and 5, lines in 6 and 7.
void configure(int rows) {
  TileConfiguration configuration = full_tiles();
  const int upper = rows < tile_rows ? rows : tile_rows, lower = rows - upper;
  constexpr int upper_tiles[] = {0, 1, 4}, lower_tiles[] = {2, 3, 5};
  for (int tile : upper_tiles) configuration.rows[tile] = static_cast<uint8_t>(upper);
  for (int tile : lower_tiles) {
    configuration.rows[tile] = static_cast<uint8_t>(lower);
    if (lower == 0) configuration.row_bytes[tile] = 0;
  }
  configure_tiles(configuration);
}

template <int tile>
inline void begin_sums(const ChainBlock<Pair>& block, const Pair* sums) {
  if (block.resumed) return load_rows<tile>(sums, sums_stride);
  zero_tile<tile>();
}

template <int row_tiles, int column_tiles>
inline void multiply(const ChainBlock<Pair>& block, Set set) {
  const Pair* sums = block.sums + set.row * panel + set.column;
  begin_sums<0>(block, sums);
  if constexpr (column_tiles == 2) begin_sums<1>(block, sums + lanes);
  if constexpr (row_tiles == 2) begin_sums<2>(block, sums + tile_rows * panel);
  if constexpr (row_tiles == 2 && column_tiles == 2) begin_sums<3>(block, sums + tile_rows * panel + lanes);
  const int64_t row_bytes = block.row_stride * sizeof(Pair), line_bytes = block.panel_stride * sizeof(Pair);
  const Pair* rows = block.rows + set.row * block.row_stride;
  const Pair* lines = block.panel + set.column;
  const Pair* lower = row_tiles == 2 ? rows + tile_rows * block.row_stride : rows;
  const int64_t pairs = block.dim, next_lines = lanes * block.panel_stride;
  for (int64_t pair = 0; pair < pairs; pair += lanes, lines += next_lines) {
    load_rows<4>(rows + pair, row_bytes);
    load_rows<6>(lines, line_bytes);
    dot_bf16_tiles<0, 4, 6>();
    if constexpr (column_tiles == 2) {
      load_rows<7>(lines + lanes, line_bytes);
      dot_bf16_tiles<1, 4, 7>();
    }
    if constexpr (row_tiles == 2) {
      load_rows<5>(lower + pair, row_bytes);
      dot_bf16_tiles<2, 5, 6>();
      if constexpr (column_tiles == 2) dot_bf16_tiles<3, 5, 7>();
    }
  }
}

template <int row_tiles, int column_tiles>
inline void store(const ChainBlock<Pair>& block, Set set) {
  Pair* sums = block.sums + set.row * panel + set.column;
  store_rows<0>(sums, sums_stride);
  if constexpr (column_tiles == 2) store_rows<1>(sums + lanes, sums_stride);
  if constexpr (row_tiles == 2) store_rows<2>(sums + tile_rows * panel, sums_stride);
  if constexpr (row_tiles == 2 && column_tiles == 2) store_rows<3>(sums + tile_rows * panel + lanes, sums_stride);
}

struct ToSums {
  void take(const ChainBlock<Pair>&, Set) const {}
};
struct ToBits {
  uint8_t* bits;
  int64_t stride;
  // Of a set whose sums are in memory; one without rows is none.
  void take(const ChainBlock<Pair>& block, Set set) const {
    const Pair* sums = block.sums + set.row * panel + set.column;
    uint8_t* to = bits + set.row * stride + set.column / 8;
    for (int row = 0; row < set.rows; ++row, sums += panel, to += stride) {
      const uint32_t left = signs(sums), right = set.columns > lanes ? signs(sums + lanes) : 0;
      const uint32_t word = left | right << lanes;
      std::memcpy(to, &word, sizeof word);
    }
  }

 private:
  static __mmask16 signs(const Pair* sums) {
    const __m512 values = _mm512_castsi512_ps(_mm512_loadu_si512(sums));
    return _mm512_cmp_ps_mask(values, _mm512_setzero_ps(), _CMP_GE_OQ);
  }
};

template <int row_tiles, int column_tiles, class Out>
inline void run_set(const ChainBlock<Pair>& block, Set set, Set before, const Out& out) {
  multiply<row_tiles, column_tiles>(block, set);
  out.take(block, before);
  store<row_tiles, column_tiles>(block, set);
}

template <class Out>
void run(const ChainBlock<Pair>& block, const Out& out) {
  const int width = layout_width(block.columns);
  Set before{};
  for (int row = 0; row < block.count; row += set_size) {
    const int left = block.count - row, rows = left < set_size ? left : set_size;
    if (rows != before.rows) configure(rows);
    for (int column = 0; column < width; column += set_size) {
      const Set set = {row, rows, column, width - column < set_size ? lanes : set_size};
      if (rows > tile_rows && set.columns > lanes)
        run_set<2, 2>(block, set, before, out);
      else if (rows > tile_rows)
        run_set<2, 1>(block, set, before, out);
      else if (set.columns > lanes)
        run_set<1, 2>(block, set, before, out);
      else
        run_set<1, 1>(block, set, before, out);
      before = set;
    }
  }
  out.take(block, before);
  release_tiles();
}

void signs(const ChainBlock<Pair>& block, uint8_t* bits, int64_t stride) { run(block, ToBits{bits, stride}); }
void sums(const ChainBlock<Pair>& block) { run(block, ToSums{}); }

}  // namespace

const FastTable& fast_amx() {
  static constexpr FastTable table = {{panel, layout_width, signs, sums, nullptr}, lanes, round_avx512bf16};
  return table;
}

}  // namespace warphash::lsh
