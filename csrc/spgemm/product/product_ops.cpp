// SPDX-License-Identifier: Apache-2.0
// Schemas of the product and its CPU entries.
#include <torch/csrc/stable/library.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <tuple>
#include <utility>

#include "common/reserved_tensor.h"
#include "spgemm/product/product.h"
#include "spgemm/product/product_operands.h"
#include "spgemm/spgemm_typed_operands.h"

namespace warphash::spgemm {
namespace {

// Bytes of one array of the result from which on it is made at once: smaller ones come from memory that the process has had
// before, whose pages need not be cleared.
constexpr size_t worth_reserving = size_t{16} << 20;
// Bytes of a result that one pass and a copy give sooner than two passes.
constexpr size_t worth_copying = size_t{1} << 20;

struct Result {
  Tensor crow, col, values;
};

// What the system might have to provide in the end must be a part of what it has.
bool has_memory_for(size_t bytes) {
  return bytes <= static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE)) / 2;
}

// What one pass needs room for.
struct Room {
  size_t entries, col_bytes, value_bytes;
  size_t bytes() const { return entries * (col_bytes + value_bytes); }
};

// In one pass into memory of ours, from which the entries are copied: dearer than the second pass where they are many.
void make_small(Product& product, const ProductValues& factors, ScalarType index, ScalarType dtype, const Room& room,
                Result& result) {
  const auto col = std::make_unique_for_overwrite<std::byte[]>(room.entries * room.col_bytes);
  const auto values = std::make_unique_for_overwrite<std::byte[]>(room.entries * room.value_bytes);
  product.make(factors, {col.get(), index == ScalarType::Long, values.get(), factors.type});
  const int64_t entries = product.entries();
  result.col = empty_on_cpu({entries}, index);
  result.values = empty_on_cpu({factors.a == nullptr ? 0 : entries}, dtype);
  if (entries == 0) return;
  std::memcpy(result.col.mutable_data_ptr(), col.get(), static_cast<size_t>(entries) * room.col_bytes);
  if (factors.a != nullptr)
    std::memcpy(result.values.mutable_data_ptr(), values.get(), static_cast<size_t>(entries) * room.value_bytes);
}

// In one pass, where that pays and the system lets us; nothing is in `result` otherwise.
bool made_at_once(Product& product, const ProductValues& factors, ScalarType index, ScalarType dtype, Result& result) {
  const int64_t most = product.most_entries();
  const Room room{static_cast<size_t>(most + Product::beyond), index == ScalarType::Long ? size_t{8} : size_t{4},
                  factors.a == nullptr ? 0 : static_cast<size_t>(bytes_of(factors.type))};
  if (room.bytes() <= worth_copying) {
    make_small(product, factors, index, dtype, room, result);
    return true;
  }
  if (room.entries * std::max(room.col_bytes, room.value_bytes) < worth_reserving || !product.holds_little())
    return false;
  if (index == ScalarType::Int && most > std::numeric_limits<int32_t>::max()) return false;
  if (!has_memory_for(room.bytes())) return false;
  // What is not asked for takes a page.
  Reservation col(room.entries * room.col_bytes), values(room.entries * room.value_bytes);
  if (col.data() == nullptr || values.data() == nullptr) return false;
  product.make(factors, {col.data(), index == ScalarType::Long, values.data(), factors.type});
  const int64_t entries = product.entries();
  // All that goes back does so before torch is asked for memory.
  col.keep(static_cast<size_t>(entries) * room.col_bytes), values.keep(static_cast<size_t>(entries) * room.value_bytes);
  result.col = tensor_of(std::move(col), entries, room.col_bytes, index);
  result.values = tensor_of(std::move(values), factors.a == nullptr ? 0 : entries, room.value_bytes, dtype);
  return true;
}

// factors.a: null for the pattern alone, whose values are empty.
Result product_of(const PatternOperand& a, const PatternOperand& b, const std::optional<Tensor>& exclude_crow,
                  const std::optional<Tensor>& exclude_col, const ProductValues& factors, ScalarType dtype) {
  const std::optional<PatternOperand> exclude = excluded_operand(a, b, exclude_crow, exclude_col);
  Result result{empty_on_cpu({a.pattern.rows + 1}, ScalarType::Long), Tensor(), Tensor()};
  const ProductOperands operands = {a.pattern, b.pattern, exclude ? exclude->pattern : Pattern{}, {}};
  std::optional<Product> product;
  const auto begin = [&] { product.emplace(chosen_isa(), operands, result.crow.mutable_data_ptr<int64_t>()); };
  begin();
  bool made = false;
  try {
    made = made_at_once(*product, factors, a.index, dtype, result);
  } catch (const std::bad_alloc&) {
    // The reservation may have left too little for the rest. In two passes the result is all that there is.
    result.col = result.values = Tensor();
    begin();
  }
  if (!made) {
    product->count();
    check_entries(product->entries(), a.index);
    result.col = empty_on_cpu({product->entries()}, a.index);
    result.values = empty_on_cpu({factors.a == nullptr ? 0 : product->entries()}, dtype);
    product->fill(factors, {result.col.mutable_data_ptr(), a.index == ScalarType::Long,
                            result.values.mutable_data_ptr(), factors.type});
  }
  if (a.index == ScalarType::Int) result.crow = torch::stable::to(result.crow, ScalarType::Int);
  return result;
}

std::tuple<Tensor, Tensor, Tensor> matmul_cpu(const Tensor& a_crow, const Tensor& a_col, const Tensor& a_values,
                                              const Tensor& b_crow, const Tensor& b_col, const Tensor& b_values,
                                              int64_t columns, int64_t semiring, std::optional<Tensor> exclude_crow,
                                              std::optional<Tensor> exclude_col) {
  const Semiring ring = semiring_of(semiring);
  const ValueType type = checked_value_type(a_values, b_values, ring);
  const auto [a, b] = Factors(a_crow, a_col, a_values, b_crow, b_col, b_values, columns);
  const ProductValues factors = {a.values.const_data_ptr(), b.values.const_data_ptr(), type, ring};
  Result product = product_of(a, b, exclude_crow, exclude_col, factors, a_values.scalar_type());
  return {std::move(product.crow), std::move(product.col), std::move(product.values)};
}

std::tuple<Tensor, Tensor> pattern_cpu(const Tensor& a_crow, const Tensor& a_col, const Tensor& b_crow,
                                       const Tensor& b_col, int64_t columns, std::optional<Tensor> exclude_crow,
                                       std::optional<Tensor> exclude_col) {
  const auto [a, b] = FactorPatterns(a_crow, a_col, b_crow, b_col, columns);
  Result product = product_of(a, b, exclude_crow, exclude_col, {}, ScalarType::Byte);
  return {std::move(product.crow), std::move(product.col)};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(warphash, m) {
  m.def(
      "spgemm_matmul(Tensor a_crow, Tensor a_col, Tensor a_values, Tensor b_crow, Tensor b_col, Tensor b_values, "
      "SymInt columns, int semiring, Tensor? exclude_crow, Tensor? exclude_col) -> (Tensor crow, Tensor col, Tensor "
      "values)");
  m.def(
      "spgemm_pattern(Tensor a_crow, Tensor a_col, Tensor b_crow, Tensor b_col, SymInt columns, Tensor? exclude_crow, "
      "Tensor? exclude_col) -> (Tensor crow, Tensor col)");
}

STABLE_TORCH_LIBRARY_IMPL(warphash, CPU, m) {
  m.impl("spgemm_matmul", TORCH_BOX(&matmul_cpu));
  m.impl("spgemm_pattern", TORCH_BOX(&pattern_cpu));
}

}  // namespace warphash::spgemm
