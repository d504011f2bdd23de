// SPDX-License-Identifier: Apache-2.0
// Band keys and b-bit codes over all rows. Bound: reading the signatures.
#include <algorithm>

#include "common/parallel.h"
#include "lsh/sketches/sketches_tasks.h"

namespace warphash::lsh {

void band_keys(Isa isa, const Signatures& signatures, int64_t bands, int64_t* keys) {
  const SketchKernels& kernels = sketch_kernels(isa);
  const int64_t width = signatures.width;
  for_rows(signatures, [&](int64_t row) {
    const uint32_t* values = signatures.values + row * width;
    // The first value of a set that is not empty is hardly ever that of an empty one.
    if (values[0] == no_value && std::all_of(values, values + width, [](uint32_t x) { return x == no_value; }))
      std::fill_n(keys + row * bands, bands, -1);
    else
      kernels.band_keys(values, bands, width / bands, keys + row * bands);
  });
}

void bbit_pack(Isa isa, const Signatures& signatures, int bits, uint8_t* codes) {
  const SketchKernels& kernels = sketch_kernels(isa);
  const int64_t bytes = (signatures.width * bits + 7) / 8;
  for_rows(signatures, [&](int64_t row) {
    kernels.bbit_pack(signatures.values + row * signatures.width, signatures.width, bits, codes + row * bytes);
  });
}

}  // namespace warphash::lsh
