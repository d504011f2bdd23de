// SPDX-License-Identifier: Apache-2.0
// How rows and panels of planes meet, for every kind of kernel.
//
// A panel is as many columns as the registers hold sums of, [panel][dim][columns], so that a kernel reads it front to
// back. Vectors of many dimensions go through a panel in chunks that stay in the second cache while all rows of a block
// pass by; between chunks the sums rest in memory, which changes none of their bits.
#pragma once

#include "lsh/projections/blocks.h"

namespace warphash::lsh {

inline constexpr int64_t chunk_dims = 384;          // 96 KiB of a panel of 64 float32
inline constexpr int64_t block_bytes = 256 * 1024;  // of float rows
inline constexpr int row_multiple = 24;             // of all kernels' tiles
inline constexpr int64_t most_block_rows = 96;
inline constexpr int64_t panel_rows = 16;      // with fewer rows, laying planes out costs more than it gives
inline constexpr int64_t task_work = 1 << 20;  // multiply-adds that are worth a task's overhead

// Calls body(first row, panel, block, codes) for every block of rows and panel; the body runs the kernel of the last chunk
// of dimensions. `codes`: row_bytes for each row of the block, and 8 more.
// rows: `size` values a row of the kernels' type, `at(row)` where they lie so in memory (else null), and
// `convert(row, count, to)`.
template <class Real, class Rows, class Panels, class Body>
void over_blocks(const ChainKernels<Real>& kernels, int64_t count, const Rows& rows, const Panels& panels,
                 int64_t columns, int64_t row_bytes, const Body& body) {
  const bool direct = rows.at(0) != nullptr;
  const int64_t size = rows.size, row_size = std::max<int64_t>(size, 1);
  const int64_t block_rows =
      std::clamp<int64_t>(block_bytes / (row_size * static_cast<int64_t>(sizeof(Real))) / row_multiple * row_multiple,
                          row_multiple, most_block_rows);
  const int64_t blocks_a_task =
      std::clamp<int64_t>(task_work / (block_rows * row_size * std::max<int64_t>(columns, 8)), 1, 64);
  const size_t sums_bytes = sizeof(Real) * block_rows * most_panel_columns;
  const size_t codes_bytes = (static_cast<size_t>(block_rows) * row_bytes + 8 + 63) / 64 * 64;
  const size_t rows_bytes = direct ? 0 : sizeof(Real) * block_rows * row_size;
  const auto run_block = [&](int64_t row, int64_t block_count, uint8_t* memory) {
    ChainBlock<Real> block{};
    block.count = static_cast<int>(block_count);
    block.row_stride = size;
    block.sums = reinterpret_cast<Real*>(memory);
    Real* converted = reinterpret_cast<Real*>(memory + sums_bytes + codes_bytes);
    if (!direct) rows.convert(row, block_count, converted);
    const Real* from = direct ? rows.at(row) : converted;
    for (int64_t panel = 0; panel < panels.count(); ++panel) {
      block.resumed = false;
      for (int64_t dim = 0;; dim += chunk_dims) {
        panels.place(panel, dim, block);
        block.rows = from + dim;
        const bool last = size - dim <= chunk_dims + chunk_dims / 2;
        block.dim = last ? size - dim : chunk_dims;
        if (last) break;
        kernels.sums(block);
        block.resumed = true;
      }
      body(row, panel, block, memory + sums_bytes);
    }
  };
  over_rows(count, block_rows * blocks_a_task, count * row_size * columns > task_work / 8,
            sums_bytes + codes_bytes + rows_bytes, [&](int64_t first, int64_t last, uint8_t* memory) {
              for (int64_t row = first; row < last; row += block_rows)
                run_block(row, std::min(block_rows, last - row), memory);
            });
}

// Bits of all columns of a block's rows into rows of `stride` bytes; done(first row, count, bits, stride) when a block has
// all, unless they go right to the result.
template <class Real, class Rows, class Panels, class Done>
void over_sign_blocks(const ChainKernels<Real>& kernels, int64_t count, const Rows& rows, const Panels& panels,
                      int64_t columns, uint8_t* result, const Done& done) {
  const int64_t panel_bytes = kernels.panel_columns / 8, stride = panels.count() * panel_bytes;
  over_blocks(kernels, count, rows, panels, columns, result != nullptr ? 0 : stride,
              [&](int64_t row, int64_t panel, const ChainBlock<Real>& block, uint8_t* scratch) {
                uint8_t* bits = result != nullptr ? result + row * stride : scratch;
                kernels.signs(block, bits + panel * panel_bytes, stride);
                if (result == nullptr && panel + 1 == panels.count()) done(row, block.count, bits, stride);
              });
}

// Packed codes [count, ceil(bits / 8)].
template <class Real, class Rows, class Panels>
void packed_signs(const ChainKernels<Real>& kernels, int64_t count, const Rows& rows, const Panels& panels,
                  int64_t bits, uint8_t* codes) {
  const int64_t bytes = ceil_div(bits, 8);
  over_sign_blocks(kernels, count, rows, panels, bits, bits % kernels.panel_columns == 0 ? codes : nullptr,
                   [&](int64_t row, int block_count, const uint8_t* packed, int64_t stride) {
                     for (int i = 0; i < block_count; ++i)
                       copy_bits(packed + i * stride, bits, codes + (row + i) * bytes);
                   });
}

}  // namespace warphash::lsh
