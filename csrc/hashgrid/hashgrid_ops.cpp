// SPDX-License-Identifier: Apache-2.0
// Schemas of the room and the CPU entries: stable tensors to pointers, outputs.
#include <torch/csrc/stable/library.h>

#include <optional>
#include <string>
#include <tuple>

#include "hashgrid/hashgrid_operands.h"
#include "hashgrid/hashgrid_passes.h"

namespace warphash::hashgrid {
namespace {

template <class Real>
Input<Real> input_of(const Operands& operands) {
  Input<Real> input{};
  input.grid = &operands.grid;
  input.features = static_cast<int>(operands.features);
  input.type = operands.type;
  input.table = operands.table.const_data_ptr();
  input.x = operands.x.const_data_ptr<Real>();
  input.points = operands.points;
  input.weights = operands.weights.has_value() ? operands.weights->const_data_ptr<Real>() : nullptr;
  return input;
}

const Kernels<float>& kernels_of(float) { return kernels_for(chosen_isa()); }
const Kernels<double>& kernels_of(double) { return kernels_float64(); }

// Calls body with a zero of the type of sums.
template <class Body>
void in_wide_type(const Operands& operands, const Body& body) {
  if (operands.type == TableType::f64)
    body(double{});
  else
    body(float{});
}

Tensor empty_if(bool wanted, const std::vector<int64_t>& shape, ScalarType type) {
  return empty_on_cpu(wanted ? shape : std::vector<int64_t>{0}, type);
}
template <class Real>
Real* pointer_if(bool wanted, Tensor& tensor) {
  return wanted ? tensor.mutable_data_ptr<Real>() : nullptr;
}

Tensor encode_cpu(const Tensor& x, const Tensor& table, const std::optional<Tensor>& level_weights, std::string grid) {
  const Operands operands(x, table, level_weights, grid);
  Tensor out = empty_on_cpu({operands.points, operands.components()}, table.scalar_type());
  in_wide_type(operands, [&](auto zero) {
    using Real = decltype(zero);
    encode(kernels_of(zero), input_of<Real>(operands), out.mutable_data_ptr());
  });
  return out;
}

std::tuple<Tensor, Tensor, Tensor> backward_cpu(const Tensor& gradient, const Tensor& x, const Tensor& table,
                                                const std::optional<Tensor>& level_weights, std::string grid, bool of_x,
                                                bool of_table, bool of_weights, bool /*deterministic: always*/) {
  const Operands operands(x, table, level_weights, grid);
  const Tensor from = operands.checked_gradient(gradient);
  Tensor to_x = empty_if(of_x, {operands.points, operands.grid.dims}, operands.wide);
  Tensor to_table = empty_if(of_table, {operands.grid.rows, operands.features}, operands.wide);
  Tensor to_weights = empty_if(of_weights, {operands.grid.level_count()}, operands.wide);
  in_wide_type(operands, [&](auto zero) {
    using Real = decltype(zero);
    Input<Real> input = input_of<Real>(operands);
    input.gradient = from.const_data_ptr();
    differentiate(kernels_of(zero), input, pointer_if<Real>(of_x, to_x), pointer_if<Real>(of_table, to_table),
                  pointer_if<Real>(of_weights, to_weights));
  });
  return {to_x, to_table, to_weights};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> double_backward_cpu(const Tensor& v, const Tensor& gradient, const Tensor& x,
                                                               const Tensor& table,
                                                               const std::optional<Tensor>& level_weights,
                                                               std::string grid, bool of_gradient, bool of_x,
                                                               bool of_table, bool of_weights,
                                                               bool /*deterministic: always*/) {
  const Operands operands(x, table, level_weights, grid);
  const Tensor from = operands.checked_gradient(gradient), along = operands.checked_v(v);
  Tensor to_gradient = empty_if(of_gradient, {operands.points, operands.components()}, table.scalar_type());
  Tensor to_x = empty_if(of_x, {operands.points, operands.grid.dims}, operands.wide);
  Tensor to_table = empty_if(of_table, {operands.grid.rows, operands.features}, operands.wide);
  Tensor to_weights = empty_if(of_weights, {operands.grid.level_count()}, operands.wide);
  in_wide_type(operands, [&](auto zero) {
    using Real = decltype(zero);
    Input<Real> input = input_of<Real>(operands);
    input.gradient = from.const_data_ptr();
    input.v = along.const_data_ptr<Real>();
    differentiate_twice(kernels_of(zero), input, of_gradient ? to_gradient.mutable_data_ptr() : nullptr,
                        pointer_if<Real>(of_x, to_x), pointer_if<Real>(of_table, to_table),
                        pointer_if<Real>(of_weights, to_weights));
  });
  return {to_gradient, to_x, to_table, to_weights};
}

Tensor variation_cpu(const Tensor& x, const Tensor& table, std::string grid) {
  const Operands operands(x, table, std::nullopt, grid);
  Tensor by_level = empty_on_cpu({operands.grid.level_count()}, operands.wide);
  in_wide_type(operands, [&](auto zero) {
    using Real = decltype(zero);
    variation(kernels_of(zero), input_of<Real>(operands), by_level.mutable_data_ptr<Real>());
  });
  return by_level;
}

Tensor variation_backward_cpu(const Tensor& gradient, const Tensor& x, const Tensor& table, std::string grid,
                              bool /*deterministic: always*/) {
  const Operands operands(x, table, gradient, grid);
  Tensor to_table = empty_on_cpu({operands.grid.rows, operands.features}, operands.wide);
  in_wide_type(operands, [&](auto zero) {
    using Real = decltype(zero);
    const Input<Real> input = input_of<Real>(operands);
    variation_gradient(kernels_of(zero), input, input.weights, to_table.mutable_data_ptr<Real>());
  });
  return to_table;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(warphash, m) {
  m.def("hashgrid_encode(Tensor x, Tensor table, Tensor? level_weights, str grid) -> Tensor");
  m.def(
      "hashgrid_backward(Tensor gradient, Tensor x, Tensor table, Tensor? level_weights, str grid, bool of_x, "
      "bool of_table, bool of_weights, bool deterministic) -> (Tensor, Tensor, Tensor)");
  m.def(
      "hashgrid_double_backward(Tensor v, Tensor gradient, Tensor x, Tensor table, Tensor? level_weights, str grid, "
      "bool of_gradient, bool of_x, bool of_table, bool of_weights, bool deterministic) "
      "-> (Tensor, Tensor, Tensor, Tensor)");
  m.def("hashgrid_variation(Tensor x, Tensor table, str grid) -> Tensor");
  m.def("hashgrid_variation_backward(Tensor gradient, Tensor x, Tensor table, str grid, bool deterministic) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(warphash, CPU, m) {
  m.impl("hashgrid_encode", TORCH_BOX(&encode_cpu));
  m.impl("hashgrid_backward", TORCH_BOX(&backward_cpu));
  m.impl("hashgrid_double_backward", TORCH_BOX(&double_backward_cpu));
  m.impl("hashgrid_variation", TORCH_BOX(&variation_cpu));
  m.impl("hashgrid_variation_backward", TORCH_BOX(&variation_backward_cpu));
}

}  // namespace warphash::hashgrid
