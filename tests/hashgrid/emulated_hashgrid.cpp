// SPDX-License-Identifier: Apache-2.0
// Names the launchers for Python: structs taken apart, grids by their text, workspaces of exactly the size asked for, so
// that mode asan sees what goes past them, and full of a pattern that no sum may begin with.
#include <cstdlib>
#include <cstring>

#include "hashgrid/hashgrid.cuh"

namespace warphash::hashgrid {
namespace {

class Workspace {
 public:
  explicit Workspace(size_t bytes) : data_(std::malloc(bytes)) {
    if (data_ != nullptr) std::memset(data_, 0xa5, bytes);
  }
  ~Workspace() { std::free(data_); }
  operator void*() const { return data_; }

 private:
  void* data_;
};

cudaError_t emulated_encode(const char* grid, int type, const void* x, const void* table, const void* weights,
                            int64_t points, int64_t features, void* out, cudaStream_t stream) {
  return encode({&grid_of(grid), static_cast<TableType>(type), x, table, weights, points, features}, out, stream);
}

cudaError_t emulated_backward(const char* grid, int type, const void* x, const void* table, const void* weights,
                              int64_t points, int64_t features, const void* gradient, void* of_x, void* of_table,
                              void* of_weights, bool deterministic, int multiprocessors, cudaStream_t stream) {
  const Problem problem{&grid_of(grid), static_cast<TableType>(type), x, table, weights, points, features};
  const Derivatives wanted{nullptr, of_x, of_table, of_weights, deterministic};
  return backward(problem, gradient, wanted, multiprocessors, Workspace(backward_workspace(problem, wanted)), stream);
}

cudaError_t emulated_double_backward(const char* grid, int type, const void* x, const void* table, const void* weights,
                                     int64_t points, int64_t features, const void* v, const void* gradient,
                                     void* of_gradient, void* of_x, void* of_table, void* of_weights,
                                     bool deterministic, int multiprocessors, cudaStream_t stream) {
  const Problem problem{&grid_of(grid), static_cast<TableType>(type), x, table, weights, points, features};
  const Derivatives wanted{of_gradient, of_x, of_table, of_weights, deterministic};
  return double_backward(problem, v, gradient, wanted, multiprocessors,
                         Workspace(double_backward_workspace(problem, wanted)), stream);
}

cudaError_t emulated_variation(const char* grid, int type, const void* x, const void* table, const void* weights,
                               int64_t points, int64_t features, void* by_level, cudaStream_t stream) {
  const Problem problem{&grid_of(grid), static_cast<TableType>(type), x, table, weights, points, features};
  return variation(problem, by_level, Workspace(variation_workspace(problem)), stream);
}

cudaError_t emulated_variation_backward(const char* grid, int type, const void* x, const void* table,
                                        const void* weights, int64_t points, int64_t features, void* of_table,
                                        bool deterministic, cudaStream_t stream) {
  const Problem problem{&grid_of(grid), static_cast<TableType>(type), x, table, weights, points, features};
  const Workspace workspace(variation_backward_workspace(problem, deterministic));
  return variation_backward(problem, of_table, deterministic, workspace, stream);
}

}  // namespace
}  // namespace warphash::hashgrid

EMULATED_LAUNCHER(encode, warphash::hashgrid::emulated_encode);
EMULATED_LAUNCHER(backward, warphash::hashgrid::emulated_backward);
EMULATED_LAUNCHER(double_backward, warphash::hashgrid::emulated_double_backward);
EMULATED_LAUNCHER(variation, warphash::hashgrid::emulated_variation);
EMULATED_LAUNCHER(variation_backward, warphash::hashgrid::emulated_variation_backward);
