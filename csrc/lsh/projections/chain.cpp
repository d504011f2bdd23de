// SPDX-License-Identifier: Apache-2.0
// SimHash and p-stable codes: planes laid out in panels, rows cut into blocks, sums turned into codes.
#include <cstring>

#include "lsh/projections/chain_blocks.h"
#include "lsh/projections/simhash_fast.h"

namespace warphash::lsh {
namespace {

const ChainTable& table_for(Isa isa) {
  require(isa);
  return isa == Isa::scalar ? chains_scalar() : isa == Isa::avx2 ? chains_avx2() : chains_avx512();
}
const ChainKernels<float>& kernels_of(const ChainTable& table, float) { return table.single; }
const ChainKernels<double>& kernels_of(const ChainTable& table, double) { return table.wide; }

template <class Real, class From>
void copy_lines(const From* from, int64_t from_stride, int64_t lines, int columns, int width, Real* to) {
  for (int64_t line = 0; line < lines; ++line, from += from_stride, to += width) {
    for (int column = 0; column < columns; ++column) to[column] = static_cast<Real>(from[column]);
    for (int column = columns; column < width; ++column) to[column] = 0;
  }
}

// Columns of planes, laid out for a kernel; whole panels of few rows are used where they lie.
template <class Real>
class Panels {
 public:
  Panels(const ChainKernels<Real>& kernels, const Weights& weights, int64_t dim, int64_t columns, bool few_rows)
      : kernels_(kernels),
        dim_(dim),
        columns_(columns),
        count_(ceil_div(columns, kernels.panel_columns)),
        in_place_(few_rows && weights.wide == std::is_same_v<Real, double>),
        planes_(static_cast<const Real*>(weights.data)) {
    const int64_t first = in_place_ ? columns / kernels.panel_columns : 0;  // all panels before lie as they are
    first_copied_ = first;
    if (first == count_) return;
    const int64_t panel_size = dim * kernels.panel_columns;
    copies_ = AlignedBuffer(sizeof(Real) * ((count_ - first - 1) * panel_size + dim * width(count_ - 1)));
    Real* to = copies_.template as<Real>();
    parallel_tasks_if(dim * columns > task_work / 4, count_ - first, [&](int64_t i) {
      const int64_t panel = first + i;
      const int64_t from = panel * kernels_.panel_columns;
      if (weights.wide)
        copy_lines(static_cast<const double*>(weights.data) + from, columns_, dim_, valid(panel), width(panel),
                   to + i * panel_size);
      else
        copy_lines(static_cast<const float*>(weights.data) + from, columns_, dim_, valid(panel), width(panel),
                   to + i * panel_size);
    });
  }

  int64_t count() const { return count_; }
  // Columns of a panel that are the caller's.
  int valid(int64_t panel) const {
    return static_cast<int>(std::min<int64_t>(kernels_.panel_columns, columns_ - panel * kernels_.panel_columns));
  }
  // Sets a block's panel, from dimension `first` on.
  void place(int64_t panel, int64_t first, ChainBlock<Real>& block) const {
    block.columns = valid(panel);
    if (panel < first_copied_) {
      block.panel_stride = columns_;
      block.panel = planes_ + first * columns_ + panel * kernels_.panel_columns;
    } else {
      block.panel_stride = width(panel);
      block.panel = copies_.template as<Real>() + (panel - first_copied_) * dim_ * kernels_.panel_columns +
                    first * block.panel_stride;
    }
  }

 private:
  int width(int64_t panel) const { return kernels_.layout_width(valid(panel)); }

  const ChainKernels<Real>& kernels_;
  int64_t dim_, columns_, count_, first_copied_;
  bool in_place_;
  const Real* planes_;
  AlignedBuffer copies_;
};

// Vectors as rows of the kernels' type.
template <class Real>
struct RealRows {
  const ChainTable& table;
  const Vectors& x;
  int64_t size = x.dim;

  const Real* at(int64_t row) const {
    return is_direct<Real>(x.type) ? static_cast<const Real*>(x.data) + row * x.dim : nullptr;
  }
  void convert(int64_t row, int64_t count, Real* to) const {
    if constexpr (std::is_same_v<Real, float>)
      table.widen(x.type, static_cast<const uint16_t*>(x.data) + row * x.dim, count * x.dim, to);
  }
};

template <class Real>
void simhash_in(const ChainTable& table, const Vectors& x, const Weights& planes, int64_t bits, uint8_t* codes) {
  const ChainKernels<Real>& kernels = kernels_of(table, Real{});
  const Panels<Real> panels(kernels, planes, x.dim, bits, x.rows <= panel_rows);
  packed_signs(kernels, x.rows, RealRows<Real>{table, x}, panels, bits, codes);
}

inline uint32_t gray_rank(uint32_t code) {
  code ^= code >> 1;
  code ^= code >> 2;
  code ^= code >> 4;
  code ^= code >> 8;
  return code ^ code >> 16;
}

template <class Real>
void simhash_codes_in(const ChainTable& table, const Vectors& x, const Weights& planes, int64_t hashes, int bits,
                      bool gray, int32_t* codes) {
  const uint32_t mask = (uint32_t{1} << bits) - 1;
  const ChainKernels<Real>& kernels = kernels_of(table, Real{});
  const Panels<Real> panels(kernels, planes, x.dim, hashes * bits, x.rows <= panel_rows);
  over_sign_blocks(kernels, x.rows, RealRows<Real>{table, x}, panels, hashes * bits, nullptr,
                   [&](int64_t row, int count, const uint8_t* packed, int64_t stride) {
                     int32_t* to = codes + row * hashes;
                     for (int i = 0; i < count; ++i, packed += stride)
                       for (int64_t hash = 0; hash < hashes; ++hash) {
                         const int64_t bit = hash * bits;
                         uint64_t word;  // the bytes past the last row's are there to be read
                         std::memcpy(&word, packed + bit / 8, 8);
                         const uint32_t code = static_cast<uint32_t>(word >> bit % 8) & mask;
                         *to++ = static_cast<int32_t>(gray ? gray_rank(code) : code);
                       }
                   });
}

template <class Real>
void pstable_in(const ChainTable& table, const Vectors& x, const Weights& directions, const Weights& offsets,
                int64_t hashes, double width, int32_t* codes) {
  const ChainKernels<Real>& kernels = kernels_of(table, Real{});
  const Panels<Real> panels(kernels, directions, x.dim, hashes, x.rows <= panel_rows);
  AlignedBuffer shifts(sizeof(Real) * hashes);
  if (offsets.wide)
    copy_lines(static_cast<const double*>(offsets.data), 0, 1, static_cast<int>(hashes), static_cast<int>(hashes),
               shifts.template as<Real>());
  else
    copy_lines(static_cast<const float*>(offsets.data), 0, 1, static_cast<int>(hashes), static_cast<int>(hashes),
               shifts.template as<Real>());
  over_blocks(kernels, x.rows, RealRows<Real>{table, x}, panels, hashes, 0,
              [&](int64_t row, int64_t panel, const ChainBlock<Real>& block, uint8_t*) {
                kernels.sums(block);
                const int64_t first = panel * kernels.panel_columns;
                for (int i = 0; i < block.count; ++i)
                  kernels.quantise(block.sums + static_cast<int64_t>(i) * kernels.panel_columns,
                                   shifts.template as<Real>() + first, static_cast<Real>(width), block.columns,
                                   codes + (row + i) * hashes + first);
              });
}

}  // namespace

void simhash(Isa isa, const Vectors& x, const Weights& planes, int64_t bits, bool fast, uint8_t* codes) {
  const ChainTable& table = table_for(isa);
  if (x.rows == 0 || bits == 0) return;
  if (x.type == VectorType::f64) return simhash_in<double>(table, x, planes, bits, codes);
  if (fast && has_simhash_fast(isa)) return simhash_fast(isa, x, planes, bits, codes);
  simhash_in<float>(table, x, planes, bits, codes);
}

void simhash_codes(Isa isa, const Vectors& x, const Weights& planes, int64_t hashes, int bits, bool gray,
                   int32_t* codes) {
  const ChainTable& table = table_for(isa);
  if (x.rows == 0 || hashes == 0) return;
  if (x.type == VectorType::f64) return simhash_codes_in<double>(table, x, planes, hashes, bits, gray, codes);
  simhash_codes_in<float>(table, x, planes, hashes, bits, gray, codes);
}

void pstable(Isa isa, const Vectors& x, const Weights& directions, const Weights& offsets, int64_t hashes, double width,
             int32_t* codes) {
  const ChainTable& table = table_for(isa);
  if (x.rows == 0 || hashes == 0) return;
  if (x.type == VectorType::f64) return pstable_in<double>(table, x, directions, offsets, hashes, width, codes);
  pstable_in<float>(table, x, directions, offsets, hashes, width, codes);
}

}  // namespace warphash::lsh
