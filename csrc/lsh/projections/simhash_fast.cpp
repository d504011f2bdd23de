// SPDX-License-Identifier: Apache-2.0
// The fast SimHash: rows and planes rounded to pairs of bfloat16. Whether a vector is hashed alone or among others changes
// nothing, so there is one way for any number of rows.
#include "lsh/projections/simhash_fast.h"

#include <cpuid.h>

#include <cstring>

#include "lsh/projections/chain_blocks.h"

namespace warphash::lsh {
namespace {

struct Features {
  unsigned a = 0, b = 0, c = 0, d = 0;
};
// Of the processor, by CPUID leaf 7; none where it has no such leaf.
Features features(unsigned subleaf) {
  Features found;
  __get_cpuid_count(7, subleaf, &found.a, &found.b, &found.c, &found.d);
  return found;
}

const FastTable& fast_table(Isa isa) {
  static const bool has_amx_bf16 = features(0).d >> 22 & 1;
  return isa >= Isa::amx && has_amx_bf16 && amx_permitted() ? fast_amx() : fast_avx512bf16();
}

// To nearest, ties to even.
uint32_t rounded(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if ((bits & 0x7fffffff) > 0x7f800000) return bits >> 16 | 0x40;  // NaN stays one
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

int64_t pairs_of(const FastTable& table, int64_t dim) {
  return ceil_div(ceil_div(dim, 2), table.pair_multiple) * table.pair_multiple;
}

struct PairRows {
  const FastTable& table;
  const Vectors& x;
  int64_t size = pairs_of(table, x.dim);

  // As they lie, bfloat16 vectors are pairs if nothing is to be added.
  const Pair* at(int64_t row) const {
    const bool direct =
        x.type == VectorType::bf16 && x.dim == 2 * size && reinterpret_cast<uintptr_t>(x.data) % sizeof(Pair) == 0;
    return direct ? static_cast<const Pair*>(x.data) + row * size : nullptr;
  }
  void convert(int64_t row, int64_t count, Pair* to) const {
    const int64_t stride = x.dim * bytes_of(x.type), rounded_size = ceil_div(x.dim, 2);
    const uint8_t* from = static_cast<const uint8_t*>(x.data) + row * stride;
    for (int64_t i = 0; i < count; ++i, from += stride, to += size) {
      table.round(x.type, from, x.dim, to);
      std::fill(to + rounded_size, to + size, 0);
    }
  }
};

// [panel][pair of dimensions][columns].
class PairPanels {
 public:
  PairPanels(const FastTable& table, const float* planes, int64_t dim, int64_t columns)
      : kernels_(table.pairs),
        pairs_(pairs_of(table, dim)),
        columns_(columns),
        count_(ceil_div(columns, kernels_.panel_columns)) {
    const int64_t panel_size = pairs_ * kernels_.panel_columns;
    copies_ = AlignedBuffer(sizeof(Pair) * count_ * panel_size);
    parallel_tasks_if(dim * columns > task_work / 4, count_, [&](int64_t panel) {
      Pair* to = copies_.as<Pair>() + panel * panel_size;
      const int valid_columns = valid(panel), width = kernels_.layout_width(valid_columns);
      for (int64_t pair = 0; pair < pairs_; ++pair, to += width) {
        const float* even = planes + 2 * pair * columns + panel * kernels_.panel_columns;
        const bool has_even = 2 * pair < dim, has_odd = 2 * pair + 1 < dim;
        for (int column = 0; column < width; ++column) {
          const bool there = column < valid_columns;
          const uint32_t low = there && has_even ? rounded(even[column]) : 0;
          const uint32_t high = there && has_odd ? rounded(even[columns + column]) : 0;
          to[column] = low | high << 16;
        }
      }
    });
  }

  int64_t count() const { return count_; }
  void place(int64_t panel, int64_t first, ChainBlock<Pair>& block) const {
    block.columns = valid(panel);
    block.panel_stride = kernels_.layout_width(block.columns);
    block.panel = copies_.as<Pair>() + panel * pairs_ * kernels_.panel_columns + first * block.panel_stride;
  }

 private:
  int valid(int64_t panel) const {
    return static_cast<int>(std::min<int64_t>(kernels_.panel_columns, columns_ - panel * kernels_.panel_columns));
  }

  const ChainKernels<Pair>& kernels_;
  int64_t pairs_, columns_, count_;
  AlignedBuffer copies_;
};

void simhash_with(const FastTable& table, const Vectors& x, const Weights& planes, int64_t bits, uint8_t* codes) {
  const PairPanels panels(table, static_cast<const float*>(planes.data), x.dim, bits);
  packed_signs(table.pairs, x.rows, PairRows{table, x}, panels, bits, codes);
}

}  // namespace

bool has_simhash_fast(Isa isa) {
  static const bool has_avx512_bf16 = features(1).a >> 5 & 1;
  return isa >= Isa::avx512 && has_avx512_bf16;
}

void simhash_fast(Isa isa, const Vectors& x, const Weights& planes, int64_t bits, uint8_t* codes) {
  simhash_with(fast_table(isa), x, planes, bits, codes);
}

}  // namespace warphash::lsh
