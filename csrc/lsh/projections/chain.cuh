// SPDX-License-Identifier: Apache-2.0
// Projections as chains of fused multiply-adds in the order of the dimensions: tiles of rows times columns, on the
// ordinary arithmetic units, since tensor cores promise no order.
//
// Bound: multiply-adds (reading float32 rows only below about 24 columns). A thread has 8 neighbouring columns, so that
// their signs are a byte, and up to 8 rows: 64 multiply-adds for four 16-byte loads from shared memory. Tiles of both
// operands come there a few dimensions at a time, while the ones before are worked on. Few columns have narrower tiles.
#pragma once

#include "lsh/projections/values.cuh"

namespace warphash::lsh {

constexpr int group_columns = 8;

template <VectorType type_, int groups_, int run_>
struct ChainTile {
  static constexpr VectorType type = type_;
  using Real = typename RealOf<type>::Real;
  static constexpr int threads = 128, groups = groups_;
  static constexpr int run = run_;  // rows of a thread
  static constexpr int rows = threads / groups * run, columns = groups * group_columns;
  static constexpr int resident =
      bytes_of(type) > 2 || groups < 8 ? 3 : 4;       // blocks a multiprocessor, which bounds registers
  static constexpr int depth = groups == 8 ? 8 : 16;  // dimensions in shared memory
  // Of a step's 16-byte loads of x and values of planes, what a thread takes.
  static constexpr int values = 16 / bytes_of(type), row_loads = depth / values, loads = rows * row_loads / threads;
  static constexpr int plane_loads = depth * columns / threads;
  static_assert(rows * row_loads % threads == 0 && depth * columns % threads == 0, "all threads load alike");

  // The first four columns of all groups lie together, then the other four: neighbouring threads' loads of 16 bytes
  // then fill the banks.
  static constexpr int half_line = columns / 2 + 16, line = columns + 16;
  struct __align__(16) Buffer {
    Real x[depth][rows];
    Real planes[depth][line];
  };
  static __device__ __forceinline__ int column_place(int column) {
    return column % 8 / 4 * half_line + column / 8 * 4 + column % 4;
  }
  // Rows of x are crossed with the dimension, so that threads that store one row's dimensions meet different banks.
  static __device__ __forceinline__ int row_place(int k, int row) { return row ^ (8 * (k / 4 % 4)); }
  // A thread's i-th row: runs of four, the second half a tile further.
  static __device__ __forceinline__ int row_of(int row_group, int i) {
    return run <= 4 ? row_group * run + i : i / 4 * (rows / 2) + row_group * 4 + i % 4;
  }
};

struct ChainInputs {
  const void* x;
  int64_t rows, dim;
  bool aligned;
  const void* planes;  // [dim, columns]
  bool wide_planes;
  int64_t columns;
  int tile_columns;
  int64_t row_tiles, column_tiles;
};

// What a thread carries from global to shared memory, a step of dimensions at a time.
template <class Tile>
class ChainStage {
 public:
  using Real = typename Tile::Real;

  __device__ __forceinline__ ChainStage(const ChainInputs& in, int64_t first_row, int64_t first_column)
      : in_(in),
        x_(static_cast<const char*>(in.x) +
           ((first_row + threadIdx.x / Tile::row_loads) * in.dim + int(threadIdx.x) % Tile::row_loads * Tile::values) *
               bytes_of(Tile::type)),
        place_(int64_t(threadIdx.x) / Tile::columns * in.columns + first_column + threadIdx.x % Tile::columns),
        rows_left_(static_cast<int>(min(in.rows - first_row, int64_t(Tile::rows))) -
                   int(threadIdx.x) / Tile::row_loads),
        column_exists_(int(threadIdx.x) % Tile::columns < min(in.columns - first_column, int64_t(in.tile_columns))) {}

  __device__ __forceinline__ void load() {
    const int k = threadIdx.x % Tile::row_loads * Tile::values, plane_k = int(threadIdx.x) / Tile::columns;
    // Dimensions from this step on, as far as a step goes.
    const int left = static_cast<int>(min(in_.dim - first_k_, int64_t(Tile::depth)));
#pragma unroll
    for (int i = 0; i < Tile::loads; ++i) {
      constexpr int rows = Tile::threads / Tile::row_loads;
      load_values<Tile::type>(x_ + i * rows * in_.dim * bytes_of(Tile::type), i * rows < rows_left_ ? left - k : 0,
                              in_.aligned, x_words_[i]);
    }
#pragma unroll
    for (int i = 0; i < Tile::plane_loads; ++i) {
      constexpr int lines = Tile::threads / Tile::columns;
      const int64_t place = place_ + i * lines * in_.columns;
      planes_[i] = 0;
      if (plane_k + i * lines >= left || !column_exists_) continue;
      if constexpr (Tile::type == VectorType::f64)
        if (in_.wide_planes) {
          planes_[i] = __ldg(static_cast<const double*>(in_.planes) + place);
          continue;
        }
      planes_[i] = __ldg(static_cast<const float*>(in_.planes) + place);
    }
    first_k_ += Tile::depth, x_ += Tile::depth * bytes_of(Tile::type), place_ += Tile::depth * in_.columns;
  }
  __device__ __forceinline__ void store(typename Tile::Buffer& buffer) const {
#pragma unroll
    for (int i = 0; i < Tile::loads; ++i) {
      const int unit = threadIdx.x + i * Tile::threads, row = unit / Tile::row_loads;
      const int first_k = unit % Tile::row_loads * Tile::values;
#pragma unroll
      for (int e = 0; e < Tile::values; ++e)
        buffer.x[first_k + e][Tile::row_place(first_k + e, row)] = value_of<Tile::type>(x_words_[i], e);
    }
#pragma unroll
    for (int i = 0; i < Tile::plane_loads; ++i) {
      const int unit = threadIdx.x + i * Tile::threads;
      buffer.planes[unit / Tile::columns][Tile::column_place(unit % Tile::columns)] = planes_[i];
    }
  }

 private:
  const ChainInputs& in_;
  const char* x_;
  int64_t place_, first_k_ = 0;
  const int rows_left_;
  const bool column_exists_;
  unsigned x_words_[Tile::loads][4];
  Real planes_[Tile::plane_loads];
};

template <int count>
__device__ __forceinline__ void load_shared(const float* from, float* to) {
  if constexpr (count == 4) {
    const float4 v = *reinterpret_cast<const float4*>(from);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  } else {
    const float2 v = *reinterpret_cast<const float2*>(from);
    to[0] = v.x, to[1] = v.y;
  }
}
template <int count>
__device__ __forceinline__ void load_shared(const double* from, double* to) {
#pragma unroll
  for (int i = 0; i < count; i += 2) {
    const double2 v = *reinterpret_cast<const double2*>(from + i);
    to[i] = v.x, to[i + 1] = v.y;
  }
}

template <class Tile>
__device__ __forceinline__ void add_products(const typename Tile::Buffer& buffer,
                                             typename Tile::Real (&sums)[Tile::run][group_columns]) {
  using Real = typename Tile::Real;
  constexpr int piece = Tile::run < 4 ? Tile::run : 4;
  const int group = threadIdx.x % Tile::groups, row_group = threadIdx.x / Tile::groups;
#pragma unroll 1
  for (int first = 0; first < Tile::depth; first += 4) {
#pragma unroll
    for (int k = first; k < first + 4; ++k) {
      Real x[Tile::run], planes[group_columns];
#pragma unroll
      for (int i = 0; i < Tile::run; i += piece)
        load_shared<piece>(&buffer.x[k][Tile::row_place(first, Tile::row_of(row_group, i))], x + i);
#pragma unroll
      for (int i = 0; i < group_columns; i += 4)
        load_shared<4>(&buffer.planes[k][Tile::column_place(8 * group + i)], planes + i);
#pragma unroll
      for (int i = 0; i < Tile::run; ++i)
#pragma unroll
        for (int c = 0; c < group_columns; ++c) sums[i][c] = multiply_add(x[i], planes[c], sums[i][c]);
    }
  }
}

// What becomes of a tile's sums is the epilogue's matter: epilogue.finish<Tile>(in, first_row, first_column, sums,
// scratch), called by all threads; the scratch memory is free until it returns.
template <class Tile, class Epilogue>
__device__ __forceinline__ void chain_tiles(const ChainInputs& in, const Epilogue& epilogue,
                                            typename Tile::Buffer (&buffers)[2]) {
  const int64_t tiles = in.row_tiles * in.column_tiles;
  const int steps = static_cast<int>((in.dim + Tile::depth - 1) / Tile::depth);
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t first_row = tile / in.column_tiles * Tile::rows;
    const int64_t first_column = tile % in.column_tiles * in.tile_columns;
    typename Tile::Real sums[Tile::run][group_columns] = {};
    ChainStage<Tile> stage(in, first_row, first_column);
    if (steps > 0) {
      stage.load();
      stage.store(buffers[0]);
      __syncthreads();
    }
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      const bool more = step + 1 < steps;
      if (more) stage.load();
      add_products<Tile>(buffers[step % 2], sums);
      if (more) stage.store(buffers[(step + 1) % 2]);
      __syncthreads();
    }
    epilogue.template finish<Tile>(in, first_row, first_column, sums, reinterpret_cast<uint8_t*>(&buffers[0]));
  }
}

namespace {

template <class Tile, class Epilogue>
__global__ void __launch_bounds__(Tile::threads, Tile::resident) chains(const ChainInputs in, const Epilogue epilogue) {
  __shared__ typename Tile::Buffer buffers[2];
  chain_tiles<Tile>(in, epilogue, buffers);
}

template <class Tile, class Epilogue>
cudaError_t launch_tiles(ChainInputs in, int unit, const Epilogue& epilogue, cudaStream_t stream) {
  in.tile_columns = Tile::columns / unit * unit;
  in.row_tiles = ceil_divide(in.rows, Tile::rows), in.column_tiles = ceil_divide(in.columns, in.tile_columns);
  const int64_t blocks = clamp(in.row_tiles * in.column_tiles, 1, most_blocks);
  return launch(chains<Tile, Epilogue>, dim3(static_cast<unsigned>(blocks)), dim3(Tile::threads), 0, stream, in,
                epilogue);
}

// unit (1 to 64): columns that must stay in one tile. rows and columns are not 0.
template <class Epilogue>
cudaError_t launch_chains(const Vectors& x, const Weights& planes, int64_t columns, int unit, const Epilogue& epilogue,
                          cudaStream_t stream) {
  const ChainInputs in{x.data, x.rows, x.dim, rows_aligned(x), planes.data, planes.wide, columns, 0, 0, 0};
  // Work of a tile width: columns with padding, times what narrow tiles lose to loads from shared memory.
  const auto cost = [&](int width, double loss) {
    return width < unit ? 1e300 : static_cast<double>(ceil_divide(columns, width / unit * unit)) * width * loss;
  };
  const double narrow = cost(8, 2), middle = cost(16, 1.4), wide = cost(64, 1);
  const auto launch_type = [&](auto type) {
    constexpr VectorType T = decltype(type)::value;
    if (narrow <= middle && narrow <= wide) return launch_tiles<ChainTile<T, 1, 2>>(in, unit, epilogue, stream);
    if (middle <= wide) return launch_tiles<ChainTile<T, 2, 4>>(in, unit, epilogue, stream);
    return launch_tiles<ChainTile<T, 8, 8>>(in, unit, epilogue, stream);
  };
  switch (x.type) {
    case VectorType::f16: return launch_type(TypeConstant<VectorType::f16>());
    case VectorType::bf16: return launch_type(TypeConstant<VectorType::bf16>());
    case VectorType::f32: return launch_type(TypeConstant<VectorType::f32>());
    case VectorType::f64: return launch_tiles<ChainTile<VectorType::f64, 8, 4>>(in, unit, epilogue, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace
}  // namespace warphash::lsh
