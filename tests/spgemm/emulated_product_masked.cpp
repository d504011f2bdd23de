// SPDX-License-Identifier: Apache-2.0
// Names the launchers of masked patterns and of the inspection for Python.
#include "emulated_memory.h"
#include "spgemm/inspect/inspect.cuh"
#include "spgemm/masked/masked.cuh"

namespace warphash::spgemm {
namespace {

// crow [rows + 1]; col has room for `room` entries.
cudaError_t emulated_masked(const int64_t* a_crow, const int32_t* a_col, int64_t rows, int64_t inner, int64_t a_entries,
                            const int64_t* b_crow, const int32_t* b_col, int64_t columns, int64_t b_entries,
                            const int64_t* mask_crow, const int32_t* mask_col, int64_t mask_entries, int64_t room,
                            int64_t* crow, int32_t* col, cudaStream_t stream) {
  const Pattern a{a_crow, a_col, rows, inner, a_entries}, b{b_crow, b_col, inner, columns, b_entries};
  const Pattern mask{mask_crow, mask_col, rows, columns, mask_entries};
  const Memory workspace(masked_workspace(a, mask));
  cudaError_t error = count_masked(a, b, mask, workspace, crow, stream);
  const int64_t entries = crow[rows];
  if (error != cudaSuccess || entries == 0) return error;
  if (entries > room) return cudaErrorMemoryAllocation;
  const size_t bytes = static_cast<size_t>(entries) * sizeof(int32_t);
  const Memory own(bytes);
  error = write_masked(a, mask, workspace, crow, static_cast<int32_t*>(static_cast<void*>(own)), stream);
  own.copy_to(col, bytes);
  return error;
}

// The pattern [rows, columns] is that which was found: crow, col [entries].
cudaError_t emulated_values(const int64_t* a_crow, const int32_t* a_col, int64_t rows, int64_t inner, int64_t a_entries,
                            const int64_t* b_crow, const int32_t* b_col, int64_t columns, int64_t b_entries,
                            const int64_t* crow, const int32_t* col, int64_t entries, const void* a_values,
                            const void* b_values, int type, int semiring, void* values, cudaStream_t stream) {
  const Pattern a{a_crow, a_col, rows, inner, a_entries}, b{b_crow, b_col, inner, columns, b_entries};
  const Pattern found{crow, col, rows, columns, entries};
  return masked_values(a, b, found, a_values, b_values, ValueType(type), Semiring(semiring),
                       Memory(masked_values_workspace(a, found)), values, stream);
}

template <class Index>
cudaError_t emulated_inspect(const Index* crow, const Index* col, int64_t rows, int64_t columns, int64_t entries,
                             int64_t* found, cudaStream_t stream) {
  return inspect(crow, col, rows, columns, entries, Memory(inspect_workspace()), found, stream);
}

}  // namespace
}  // namespace warphash::spgemm

EMULATED_LAUNCHER(masked, warphash::spgemm::emulated_masked);
EMULATED_LAUNCHER(masked_values, warphash::spgemm::emulated_values);
EMULATED_LAUNCHER(inspect_int32, warphash::spgemm::emulated_inspect<int32_t>);
EMULATED_LAUNCHER(inspect_int64, warphash::spgemm::emulated_inspect<int64_t>);
