// SPDX-License-Identifier: Apache-2.0
// What backward.cu and double_backward.cu share: one thread a point, over all levels in ascending order.
//
// Such a thread gathers a level's corners once and makes of them all that is asked for: derivatives in x without
// atomics, the sums over points for level weights, and what goes to the table's gradient.
#pragma once

#include "hashgrid/launches.cuh"

namespace warphash::hashgrid {

constexpr int point_threads = 128, point_warps = point_threads / 32;
// Blocks a multiprocessor for which registers are set aside: without being told, the compiler spills for more of them.
template <class T, int D>
constexpr int least_blocks = sizeof(T) == 8 ? (D == 0 ? 2 : 3)
                             : D == 0       ? 3
                                            : 4;
// Bounds the partial sums over points, [blocks, levels]; the number of blocks, and with it the order of the sums, depends
// on nothing but the number of points.
#if defined(WARPHASH_CUDA_EMULATION)
constexpr int64_t most_point_blocks = 2;
#else
constexpr int64_t most_point_blocks = 4096;
#endif
inline int64_t point_blocks(int64_t points) { return clamp(ceil_divide(points, point_threads), 1, most_point_blocks); }

// Sums over the points of a block, a column a level, in float64 and in a fixed order.
class PointSums {
 public:
  using Columns = double[point_warps][most_group];

  // partial [blocks, levels], or null: then nothing is summed.
  __device__ __forceinline__ PointSums(Columns& columns, double* partial) : columns_(columns), partial_(partial) {
    static_assert(most_group == 32, "a column a lane");
    columns_[threadIdx.x / 32][threadIdx.x % 32] = 0;
    __syncwarp();
  }
  __device__ __forceinline__ bool wanted() const { return partial_ != nullptr; }
  // By all threads of the block.
  __device__ __forceinline__ void add(int slot, double value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_down_sync(~0u, value, distance);
    if (threadIdx.x % 32 == 0) columns_[threadIdx.x / 32][slot] += value;
  }
  template <class R>
  __device__ __forceinline__ void finish(const Group<R>& group, int levels) {
    if (!wanted()) return;
    __syncthreads();
    if (int(threadIdx.x) >= group.count) return;
    double sum = 0;
#pragma unroll
    for (int warp = 0; warp < point_warps; ++warp) sum += columns_[warp][threadIdx.x];
    partial_[int64_t(blockIdx.x) * levels + group.levels[threadIdx.x].number] = sum;
  }

 private:
  Columns& columns_;
  double* const partial_;
};

// A point's row of of_x, added up over the levels: in registers or, with D = 0, where these are short, in memory.
template <class R, int D>
class PointGradient {
 public:
  // of_x [points, dims], or null. A group of levels goes on from what the one before has left.
  __device__ __forceinline__ PointGradient(R* of_x, int64_t point, int dims, bool present, bool first_group)
      : at_(of_x != nullptr && present ? of_x + point * dims : nullptr), dims_(dims) {
#pragma unroll
    for (int d = 0; d < Axes<D>::count; ++d) {
      if constexpr (D == 0) {
        if (at_ != nullptr && first_group && d < dims) at_[d] = 0;
      } else {
        sum_[d] = at_ != nullptr && !first_group ? at_[d] : R(0);
      }
    }
  }
  __device__ __forceinline__ void add(R weight, const R (&values)[Axes<D>::count]) {
#pragma unroll
    for (int d = 0; d < Axes<D>::count; ++d) {
      if constexpr (D == 0) {
        if (at_ != nullptr && d < dims_) at_[d] = at_[d] + weight * values[d];
      } else {
        sum_[d] = sum_[d] + weight * values[d];
      }
    }
  }
  __device__ __forceinline__ void make_unusable() {
    R values[Axes<D>::count];
#pragma unroll
    for (R& value : values) value = not_a_number<R>();
    add(1, values);
  }
  __device__ __forceinline__ void finish() const {
    if constexpr (D != 0) {
      if (at_ == nullptr) return;
#pragma unroll
      for (int d = 0; d < D; ++d) at_[d] = sum_[d];
    }
  }

 private:
  R* const at_;
  const int dims_;
  R sum_[D == 0 ? 1 : D];
};

// of_weights [levels] from partial [blocks, levels].
template <class R>
cudaError_t sum_partials(const double* partial, int64_t blocks, int levels, R* of_weights, cudaStream_t stream);

// Whether blocks that add to the table's gradient keep a copy of the level's part in shared memory.
bool has_copies(const Problem& problem, int level, int multiprocessors);

// Adds w * gradient (weighted) of every point and corner to of_table, of the chosen levels; with v the derivatives of the
// weights along v in place of w. In atomic additions of floats,
enum class Levels { all, with_copies };
cudaError_t scatter_floats(const Problem& problem, const void* v, const void* gradient, Levels levels, void* of_table,
                           int multiprocessors, cudaStream_t stream);
// or of integers, the same in every run. fixed_workspace() bytes.
size_t fixed_workspace(const Problem& problem);
cudaError_t scatter_fixed(const Problem& problem, const void* v, const void* gradient, void* of_table, void* workspace,
                          cudaStream_t stream);

// What both launchers do: the table's gradient where scatter.cu or fixed_point.cu make it (all of it, if the number of
// features is not compiled, since registers are short then), and the kernel by
// launch_points(type, dims, features, in, group, blocks, of_table, partial), a group of levels after the other.
template <class LaunchPoints>
cudaError_t derive(const Problem& problem, const void* v, const void* gradient, const Derivatives& wanted,
                   int multiprocessors, void* workspace, cudaStream_t stream, const LaunchPoints& launch_points) {
  const void* const pointers[] = {problem.table, gradient, wanted.of_table, wanted.of_gradient};
  const int width = compiled_features(problem, pointers);
  const bool gathers = wanted.of_gradient != nullptr || wanted.of_x != nullptr || wanted.of_weights != nullptr;
  const int64_t blocks = point_blocks(problem.points);
  if (wanted.of_table != nullptr) {
    const int64_t count = problem.grid->rows * problem.features;
    cudaError_t error =
        cudaMemsetAsync(wanted.of_table, 0, static_cast<size_t>(count) * bytes_of_sums(problem.type), stream);
    if (error != cudaSuccess) return error;
    if (wanted.deterministic) {
      error = scatter_fixed(problem, v, gradient, wanted.of_table, workspace, stream);
      workspace = static_cast<char*>(workspace) + fixed_workspace(problem);
    } else {
      error = scatter_floats(problem, v, gradient, gathers && width != 0 ? Levels::with_copies : Levels::all,
                             wanted.of_table, multiprocessors, stream);
    }
    if (error != cudaSuccess) return error;
  }
  if (!gathers) return cudaSuccess;
  return with_type(problem.type, [&](auto type) {
    using T = typename decltype(type)::type;
    using R = Wide<T>;
    const Inputs<R> in = inputs_of<R>(problem, gradient, v);
    R* const of_table = wanted.deterministic ? nullptr : static_cast<R*>(wanted.of_table);
    double* const partial = wanted.of_weights == nullptr ? nullptr : static_cast<double*>(workspace);
    cudaError_t error = with_dims(in.dims, [&](auto dims) {
      return with_features<T>(width, [&](auto features) {
        return for_groups<R>(
            *problem.grid, [](int) { return true; },
            [&](Group<R> group) {
              for (int i = 0; i < group.count; ++i)
                group.levels[i].scattered = !has_copies(problem, group.levels[i].number, multiprocessors);
              return launch_points(type, dims, features, in, group, dim3(static_cast<unsigned>(blocks)), of_table,
                                   partial);
            });
      });
    });
    if (error == cudaSuccess && partial != nullptr)
      error = sum_partials(partial, blocks, in.levels, static_cast<R*>(wanted.of_weights), stream);
    return error;
  });
}

}  // namespace warphash::hashgrid
