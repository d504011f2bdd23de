// SPDX-License-Identifier: Apache-2.0
// Names the launchers of values on a known pattern, gradients and winners for Python: structs taken apart.
#include <type_traits>

#include "emulated_memory.h"
#include "spgemm/narrowed.cuh"
#include "spgemm/numeric/numeric.cuh"

namespace warphash::spgemm {
namespace {

template <class Value>
constexpr ValueType type_of = std::is_same_v<Value, float>     ? ValueType::float32
                              : std::is_same_v<Value, double>  ? ValueType::float64
                              : std::is_same_v<Value, int32_t> ? ValueType::int32
                              : std::is_same_v<Value, int64_t> ? ValueType::int64
                                                               : ValueType::boolean;

// sizes: rows of A, of B, columns, entries of A, of B, of the pattern
struct Patterns {
  Pattern a, b, pattern;

  Patterns(const int64_t* sizes, const int64_t* a_crow, const int32_t* a_col, const int64_t* b_crow,
           const int32_t* b_col, const int64_t* crow, const int32_t* col)
      : a{a_crow, a_col, sizes[0], sizes[1], sizes[3]},
        b{b_crow, b_col, sizes[1], sizes[2], sizes[4]},
        pattern{crow, col, sizes[0], sizes[2], sizes[5]} {}
};

template <class Value>
cudaError_t emulated_numeric(const int64_t* sizes, const int64_t* a_crow, const int32_t* a_col, const Value* a_values,
                             const int64_t* b_crow, const int32_t* b_col, const Value* b_values, const int64_t* crow,
                             const int32_t* col, int semiring, bool covers, Value* values, cudaStream_t stream) {
  const Patterns p(sizes, a_crow, a_col, b_crow, b_col, crow, col);
  return numeric(Csr<Value>{p.a, a_values}, Csr<Value>{p.b, b_values}, p.pattern, static_cast<Semiring>(semiring),
                 covers, Memory(numeric_workspace(p.a, p.pattern)), values, type_of<Value>, stream);
}

template <class Value>
cudaError_t emulated_winners(const int64_t* sizes, const int64_t* a_crow, const int32_t* a_col, const Value* a_values,
                             const int64_t* b_crow, const int32_t* b_col, const Value* b_values, const int64_t* crow,
                             const int32_t* col, int semiring, int64_t* of_a, int64_t* of_b, cudaStream_t stream) {
  const Patterns p(sizes, a_crow, a_col, b_crow, b_col, crow, col);
  return winners(Csr<Value>{p.a, a_values}, Csr<Value>{p.b, b_values}, p.pattern, static_cast<Semiring>(semiring),
                 Memory(numeric_workspace(p.a, p.pattern)), of_a, of_b, stream);
}

template <class Value>
cudaError_t emulated_gradient_of_a(const int64_t* sizes, const Value* gradient, const int64_t* a_crow,
                                   const int32_t* a_col, const int64_t* b_crow, const int32_t* b_col,
                                   const Value* b_values, const int64_t* crow, const int32_t* col, Value* of_a,
                                   cudaStream_t stream) {
  const Patterns p(sizes, a_crow, a_col, b_crow, b_col, crow, col);
  return gradient_of_a(Csr<Value>{p.pattern, gradient}, p.a, Csr<Value>{p.b, b_values},
                       Memory(gradient_of_a_workspace(p.a, p.pattern)), of_a, type_of<Value>, stream);
}

// keys, order: A's columns, sorted stably
template <class Value>
cudaError_t emulated_gradient_of_b(const int64_t* sizes, const Value* gradient, const int64_t* a_crow,
                                   const int32_t* a_col, const Value* a_values, const int32_t* keys,
                                   const int64_t* order, const int64_t* b_crow, const int32_t* b_col,
                                   const int64_t* crow, const int32_t* col, int64_t worth_blocks, Value* of_b,
                                   cudaStream_t stream) {
  const Patterns p(sizes, a_crow, a_col, b_crow, b_col, crow, col);
  const Memory pointers(size_t(p.a.columns + 1) * 8), rows(size_t(p.a.entries) * 4);
  int64_t* const columns = static_cast<int64_t*>(static_cast<void*>(pointers));
  int32_t* const row_numbers = static_cast<int32_t*>(static_cast<void*>(rows));
  const cudaError_t error = transpose(p.a, keys, order, columns, row_numbers, stream);
  if (error != cudaSuccess) return error;
  const Pattern transposed{columns, row_numbers, p.a.columns, p.a.rows, p.a.entries};
  return gradient_of_b(Csr<Value>{p.pattern, gradient}, Csr<Value>{p.a, a_values}, transposed, order, p.b, worth_blocks,
                       Memory(gradient_of_b_workspace(transposed, p.b)), of_b, type_of<Value>, stream);
}

}  // namespace
}  // namespace warphash::spgemm

EMULATED_LAUNCHER(narrow, warphash::spgemm::narrow);
EMULATED_LAUNCHER(numeric_float32, warphash::spgemm::emulated_numeric<float>);
EMULATED_LAUNCHER(numeric_float64, warphash::spgemm::emulated_numeric<double>);
EMULATED_LAUNCHER(numeric_int32, warphash::spgemm::emulated_numeric<int32_t>);
EMULATED_LAUNCHER(numeric_int64, warphash::spgemm::emulated_numeric<int64_t>);
EMULATED_LAUNCHER(numeric_uint8, warphash::spgemm::emulated_numeric<uint8_t>);
EMULATED_LAUNCHER(winners_float32, warphash::spgemm::emulated_winners<float>);
EMULATED_LAUNCHER(winners_float64, warphash::spgemm::emulated_winners<double>);
EMULATED_LAUNCHER(winners_int32, warphash::spgemm::emulated_winners<int32_t>);
EMULATED_LAUNCHER(winners_int64, warphash::spgemm::emulated_winners<int64_t>);
EMULATED_LAUNCHER(gradient_of_a_float32, warphash::spgemm::emulated_gradient_of_a<float>);
EMULATED_LAUNCHER(gradient_of_a_float64, warphash::spgemm::emulated_gradient_of_a<double>);
EMULATED_LAUNCHER(gradient_of_b_float32, warphash::spgemm::emulated_gradient_of_b<float>);
EMULATED_LAUNCHER(gradient_of_b_float64, warphash::spgemm::emulated_gradient_of_b<double>);
