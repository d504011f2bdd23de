// SPDX-License-Identifier: Apache-2.0
// CUDA entries of the room's operators: stable tensors to pointers, workspaces, outputs. All work goes to the current
// stream, and nothing waits for it.
#include <torch/csrc/stable/library.h>

#include <optional>
#include <string>
#include <tuple>

#include "common/stream.h"
#include "hashgrid/hashgrid.cuh"
#include "hashgrid/hashgrid_operands.h"

namespace warphash::hashgrid {
namespace {

Problem problem_of(const Operands& operands) {
  return {&operands.grid,
          operands.type,
          operands.x.const_data_ptr(),
          operands.table.const_data_ptr(),
          operands.weights.has_value() ? operands.weights->const_data_ptr() : nullptr,
          operands.points,
          operands.features};
}

// Outputs of either order; what is not asked for is an empty tensor.
struct Outputs {
  Tensor of_gradient, of_x, of_table, of_weights;
  Derivatives wanted;

  Outputs(const OnDevice& device, const Operands& operands, bool gradient, bool x, bool table, bool weights,
          bool deterministic)
      : of_gradient(output(device, gradient, {operands.points, operands.components()}, operands.table.scalar_type())),
        of_x(output(device, x, {operands.points, operands.grid.dims}, operands.wide)),
        of_table(output(device, table, {operands.grid.rows, operands.features}, operands.wide)),
        of_weights(output(device, weights, {operands.grid.level_count()}, operands.wide)),
        wanted{gradient ? of_gradient.mutable_data_ptr() : nullptr, x ? of_x.mutable_data_ptr() : nullptr,
               table ? of_table.mutable_data_ptr() : nullptr, weights ? of_weights.mutable_data_ptr() : nullptr,
               deterministic} {}

 private:
  static Tensor output(const OnDevice& device, bool is_wanted, const std::vector<int64_t>& shape, ScalarType type) {
    return device.empty(is_wanted ? shape : std::vector<int64_t>{0}, type);
  }
};

Tensor encode_cuda(const Tensor& x, const Tensor& table, const std::optional<Tensor>& level_weights, std::string grid) {
  const Operands operands(x, table, level_weights, grid);
  const OnDevice device(x);
  Tensor out = device.empty({operands.points, operands.components()}, operands.table.scalar_type());
  OnDevice::check(encode(problem_of(operands), out.mutable_data_ptr(), device.stream()));
  return out;
}

std::tuple<Tensor, Tensor, Tensor> backward_cuda(const Tensor& gradient, const Tensor& x, const Tensor& table,
                                                 const std::optional<Tensor>& level_weights, std::string grid,
                                                 bool of_x, bool of_table, bool of_weights, bool deterministic) {
  const Operands operands(x, table, level_weights, grid);
  const Tensor from = operands.checked_gradient(gradient);
  const OnDevice device(x);
  const Problem problem = problem_of(operands);
  const Outputs outputs(device, operands, false, of_x, of_table, of_weights, deterministic);
  Tensor workspace = device.workspace(backward_workspace(problem, outputs.wanted));
  OnDevice::check(backward(problem, from.const_data_ptr(), outputs.wanted, device.multiprocessors(),
                           workspace.mutable_data_ptr(), device.stream()));
  return {outputs.of_x, outputs.of_table, outputs.of_weights};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> double_backward_cuda(const Tensor& v, const Tensor& gradient,
                                                                const Tensor& x, const Tensor& table,
                                                                const std::optional<Tensor>& level_weights,
                                                                std::string grid, bool of_gradient, bool of_x,
                                                                bool of_table, bool of_weights, bool deterministic) {
  const Operands operands(x, table, level_weights, grid);
  const Tensor from = operands.checked_gradient(gradient), along = operands.checked_v(v);
  const OnDevice device(x);
  const Problem problem = problem_of(operands);
  const Outputs outputs(device, operands, of_gradient, of_x, of_table, of_weights, deterministic);
  Tensor workspace = device.workspace(double_backward_workspace(problem, outputs.wanted));
  OnDevice::check(double_backward(problem, along.const_data_ptr(), from.const_data_ptr(), outputs.wanted,
                                  device.multiprocessors(), workspace.mutable_data_ptr(), device.stream()));
  return {outputs.of_gradient, outputs.of_x, outputs.of_table, outputs.of_weights};
}

Tensor variation_cuda(const Tensor& x, const Tensor& table, std::string grid) {
  const Operands operands(x, table, std::nullopt, grid);
  const OnDevice device(x);
  const Problem problem = problem_of(operands);
  Tensor by_level = device.empty({operands.grid.level_count()}, operands.wide);
  Tensor workspace = device.workspace(variation_workspace(problem));
  OnDevice::check(variation(problem, by_level.mutable_data_ptr(), workspace.mutable_data_ptr(), device.stream()));
  return by_level;
}

Tensor variation_backward_cuda(const Tensor& gradient, const Tensor& x, const Tensor& table, std::string grid,
                               bool deterministic) {
  const Operands operands(x, table, gradient, grid);
  const OnDevice device(x);
  const Problem problem = problem_of(operands);
  Tensor of_table = device.empty({operands.grid.rows, operands.features}, operands.wide);
  Tensor workspace = device.workspace(variation_backward_workspace(problem, deterministic));
  OnDevice::check(variation_backward(problem, of_table.mutable_data_ptr(), deterministic, workspace.mutable_data_ptr(),
                                     device.stream()));
  return of_table;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(warphash, CUDA, m) {
  m.impl("hashgrid_encode", TORCH_BOX(&encode_cuda));
  m.impl("hashgrid_backward", TORCH_BOX(&backward_cuda));
  m.impl("hashgrid_double_backward", TORCH_BOX(&double_backward_cuda));
  m.impl("hashgrid_variation", TORCH_BOX(&variation_cuda));
  m.impl("hashgrid_variation_backward", TORCH_BOX(&variation_backward_cuda));
}

}  // namespace warphash::hashgrid
