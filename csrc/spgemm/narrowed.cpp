// SPDX-License-Identifier: Apache-2.0
// int64 columns as int32 on the CPU: one pass, bound by reading them. What does not fit would come out as another column
// and is refused; the rest is checked by whoever reads the columns.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "common/checks.h"
#include "common/parallel.h"
#include "spgemm/spgemm_operands.h"

namespace warphash::spgemm {
namespace {

constexpr int64_t piece = 1 << 14, worth_threads = 1 << 16;

}  // namespace

Tensor narrowed(const Tensor& columns, int64_t most, const char* name) {
  const Tensor given = torch::stable::contiguous(columns);
  const int64_t entries = given.size(0);
  Tensor out = empty_on_cpu({entries}, ScalarType::Int);
  const int64_t* const from = given.const_data_ptr<int64_t>();
  int32_t* const to = out.mutable_data_ptr<int32_t>();
  std::atomic<bool> lost{false};
  parallel_tasks_if(entries >= worth_threads, (entries + piece - 1) / piece, [&](int64_t task) {
    const int64_t end = std::min(entries, (task + 1) * piece);
    int64_t differences = 0;
    for (int64_t i = task * piece; i < end; ++i) {
      to[i] = static_cast<int32_t>(from[i]);
      differences |= from[i] ^ to[i];
    }
    if (differences != 0) lost = true;
  });
  if (!lost) return out;
  int64_t i = 0;
  while (from[i] == to[i]) ++i;
  throw std::out_of_range(std::string(name) + "'s columns must be in [0, " + std::to_string(most) + "), got " +
                          std::to_string(from[i]) + " at entry " + std::to_string(i));
}

}  // namespace warphash::spgemm
