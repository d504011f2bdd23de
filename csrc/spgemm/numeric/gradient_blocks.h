// SPDX-License-Identifier: Apache-2.0
// In how many blocks of rows b's gradient is summed, on the CPU and on CUDA alike: the sums then have the same bits.
#pragma once

#include <cstdint>

namespace warphash::spgemm {

// From worth_blocks products on: as many as products / products_a_sum, or twice all entries, hold sums of b's entries.
constexpr int64_t most_gradient_blocks = 16, products_a_sum = 4, worth_blocks = 1 << 18;
// Products are estimated: of each `sampled_runs` runs of `sampled_run` entries of a, one is counted.
constexpr int64_t sampled_run = 64, sampled_runs = 16;

}  // namespace warphash::spgemm
