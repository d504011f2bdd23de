// SPDX-License-Identifier: Apache-2.0
// Rotations of long vectors, and of float64 vectors of any length, by a block in shared memory; the longest ones in
// global memory. Shorter ones go to rotation_registers.cu.
//
// Bound: shared memory. A thread takes 2 to 32 values that are h apart through up to five stages in registers, so that
// 1024 values go to shared memory and back twice a round, not ten times. Every 32 values a word is left free, so that
// the runs of neighbours of the first pass meet different banks.
#include <type_traits>

#include "lsh/projections/rotation.cuh"

namespace warphash::lsh {
namespace {

constexpr int threads = 128;
#if defined(WARPHASH_CUDA_EMULATION)  // all cases with little work
constexpr int64_t tile_values = 512, most_shared_bytes = 4096, most_workspace = 64 << 10;
#else
constexpr int64_t tile_values = 4096;                   // of a block: many short rows or one
constexpr int64_t most_shared_bytes = 128 << 10;        // of a row's values, without the free words
constexpr int64_t most_workspace = int64_t{256} << 20;  // unless one row needs more
#endif
constexpr int most_stages = 5;  // of a pass
constexpr int most_segments = 512;
static_assert(tile_values / 8 <= most_segments);

struct LongRows {
  const void* x;
  VectorType type;
  int64_t rows, dim;
  const uint8_t* signs;
  int64_t rotations;
  int log_size;
  int64_t values;  // of a tile: whole rows
  double scale;
  void* workspace;  // in global memory
};

template <class Real>
__device__ __forceinline__ Real value_at(const LongRows& in, int64_t place) {
  if constexpr (std::is_same_v<Real, double>) {
    return __ldg(static_cast<const double*>(in.x) + place);
  } else {
    if (in.type == VectorType::f32) return __ldg(static_cast<const float*>(in.x) + place);
    const unsigned bits = __ldg(static_cast<const unsigned short*>(in.x) + place);
    return in.type == VectorType::bf16 ? __uint_as_float(bits << 16) : half_of_bits(bits);
  }
}

// Values of a tile, rows one behind the other. All functions are called by all threads and end at a barrier.
template <class Real, bool in_shared>
struct Values {
  Real* data;

  __device__ __forceinline__ Real& at(int64_t i) const { return data[in_shared ? i + i / 32 : i]; }

  __device__ __forceinline__ void load(const LongRows& in, int64_t first_row) const {
    for (int64_t i = threadIdx.x; i < in.values; i += threads) {
      const int64_t row = first_row + (i >> in.log_size), k = i & ((int64_t{1} << in.log_size) - 1);
      at(i) = row < in.rows && k < in.dim ? value_at<Real>(in, row * in.dim + k) : Real{0};
    }
    __syncthreads();
  }

  // `stages` stages from h = 2^log_h on; signs, if any, before (then h = 1), the scale after them.
  template <int stages>
  __device__ __forceinline__ void pass(const LongRows& in, int log_h, const uint8_t* signs, Real scale) const {
    constexpr int count = 1 << stages;
    const int64_t h = int64_t{1} << log_h, mask = (int64_t{1} << in.log_size) - 1;
    for (int64_t item = threadIdx.x; item < in.values >> stages; item += threads) {
      const int64_t low = item & (h - 1), first = (item - low) * count + low;
      Real v[count];
#pragma unroll
      for (int e = 0; e < count; ++e) v[e] = at(first + e * h);
      if constexpr (stages >= 3)
        if (signs != nullptr) {
          const uint8_t* bytes = signs + (first & mask) / 8;
#pragma unroll
          for (int e = 0; e < count; e += 8) {
            const unsigned bits = __ldg(bytes + e / 8);
#pragma unroll
            for (int i = 0; i < 8; ++i) v[e + i] = (bits >> i & 1) != 0 ? -v[e + i] : v[e + i];
          }
        }
#pragma unroll
      for (int step = 1; step < count; step *= 2)
#pragma unroll
        for (int e = 0; e < count; ++e) {
          if ((e & step) != 0) continue;
          const Real a = v[e], b = v[e + step];
          v[e] = a + b, v[e + step] = a - b;
        }
#pragma unroll
      for (int e = 0; e < count; ++e) at(first + e * h) = v[e] * scale;
    }
    __syncthreads();
  }

  __device__ __forceinline__ void rotate(const LongRows& in, int64_t rotation) const {
#pragma unroll 1
    for (int round = 0; round < 3; ++round) {
      const uint8_t* signs = in.signs + (rotation * 3 + round) * ((int64_t{1} << in.log_size) / 8);
#pragma unroll 1
      for (int done = 0; done < in.log_size;) {
        // Five first, then as even as it goes: loads from h = 32 on are of neighbours.
        const int left = in.log_size - done, passes = (left + most_stages - 1) / most_stages;
        const int stages = done == 0 ? min(left, most_stages) : (left + passes - 1) / passes;
        const uint8_t* before = done == 0 ? signs : nullptr;
        const Real scale = stages == left ? static_cast<Real>(in.scale) : Real{1};
        switch (stages) {
          case 1: pass<1>(in, done, before, scale); break;
          case 2: pass<2>(in, done, before, scale); break;
          case 3: pass<3>(in, done, before, scale); break;
          case 4: pass<4>(in, done, before, scale); break;
          default: pass<5>(in, done, before, scale); break;
        }
        done += stages;
      }
    }
  }

  __device__ __forceinline__ void store(const SignOutput& out, const LongRows& in, int64_t first_row,
                                        int64_t rotation) const {
    const int log_bytes = in.log_size - 3;
    for (int64_t i = threadIdx.x; i < in.values / 8; i += threads) {
      const int64_t row = first_row + (i >> log_bytes), byte = i & ((int64_t{1} << log_bytes) - 1);
      unsigned bits = 0;
#pragma unroll
      for (int e = 0; e < 8; ++e) bits |= sign_bit(at(8 * i + e)) << e;
      if (row < in.rows) out.store(row, (rotation << log_bytes) + byte, bits);
    }
    __syncthreads();
  }

  // By segments of rows, a warp each, whose results are merged in order.
  __device__ __forceinline__ void store(const LargestOutput& out, const LongRows& in, int64_t first_row,
                                        int64_t rotation, Largest<Real> (&segments)[most_segments]) const {
    const int log_segment = in.log_size <= 10 ? in.log_size : max(10, in.log_size - 5);
    const int count = static_cast<int>(in.values >> log_segment), size = 1 << in.log_size;
    const int lane = threadIdx.x % 32, row_segments = 1 << (in.log_size - log_segment);
    for (int segment = int(threadIdx.x) / 32; segment < count; segment += threads / 32) {
      const int64_t first = int64_t(segment) << log_segment;
      Largest<Real> largest = Largest<Real>::none();
      for (int64_t i = lane; i < int64_t{1} << log_segment; i += 32)
        largest.offer(at(first + i), static_cast<int>((first + i) & (size - 1)), size);
      largest.merge_lanes(32);
      if (lane == 0) segments[segment] = largest;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < count / row_segments; i += threads) {
      Largest<Real> largest = segments[i * row_segments];
      for (int j = 1; j < row_segments; ++j) largest.merge(segments[i * row_segments + j]);
      if (first_row + i < in.rows) out.codes[(first_row + i) * in.rotations + rotation] = largest.code;
    }
    __syncthreads();
  }
};

// Rotations of the same rows are neighbours: x comes from the cache for all but one.
template <class Real, bool in_shared, class Output>
__global__ void __launch_bounds__(threads, sizeof(Real) == 8 ? 2 : 3)
    rotate_tiles(const LongRows in, const Output out) {
  DYNAMIC_SHARED(Real, shared);
  const Values<Real, in_shared> tile{in_shared ? shared : static_cast<Real*>(in.workspace) + blockIdx.x * in.values};
  const int64_t tile_rows = in.values >> in.log_size;
  const int64_t items = (in.rows + tile_rows - 1) / tile_rows * in.rotations;
  for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    const int64_t rotation = item % in.rotations, first_row = item / in.rotations * tile_rows;
    tile.load(in, first_row);
    tile.rotate(in, rotation);
    if constexpr (std::is_same_v<Output, SignOutput>) {
      tile.store(out, in, first_row, rotation);
    } else {
      __shared__ Largest<Real> segments[most_segments];
      tile.store(out, in, first_row, rotation, segments);
    }
  }
}

struct TilePlan {
  int64_t values, blocks;
  size_t bytes, shared_bytes;  // of a tile; shared bytes 0: in global memory
};
TilePlan plan_of(const Vectors& x, int64_t rotations, int multiprocessors) {
  const int64_t size = rotation_size(x.dim), each = x.type == VectorType::f64 ? 8 : 4;
  TilePlan plan{};
  plan.values = size > tile_values ? size : tile_values;
  plan.bytes = static_cast<size_t>(plan.values * each);
  const bool in_shared = size * each <= most_shared_bytes;
  if (in_shared) plan.shared_bytes = plan.bytes + plan.bytes / 32;
  const int64_t items = ceil_divide(x.rows, plan.values / size) * rotations;
  plan.blocks = in_shared ? most_blocks : int64_t{2} * multiprocessors;
  if (!in_shared) plan.blocks = clamp(most_workspace / static_cast<int64_t>(plan.bytes), 1, plan.blocks);
  plan.blocks = clamp(items, 1, plan.blocks);
  return plan;
}

bool fits_registers(const Vectors& x) {
  return x.type != VectorType::f64 && rotation_size(x.dim) <= int64_t{1} << most_register_log;
}

template <class Real, bool in_shared, class Output>
cudaError_t launch_tiles(const LongRows& in, const TilePlan& plan, const Output& out, cudaStream_t stream) {
  auto kernel = rotate_tiles<Real, in_shared, Output>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(plan.shared_bytes));
  if (error != cudaSuccess) return error;
  return launch(kernel, dim3(unsigned(plan.blocks)), dim3(threads), plan.shared_bytes, stream, in, out);
}

template <class Output>
cudaError_t rotate(const Vectors& x, const uint8_t* signs, int64_t rotations, int multiprocessors, void* workspace,
                   const Output& out, cudaStream_t stream) {
  if (fits_registers(x)) return rotate_in_registers(x, signs, rotations, out, stream);
  const TilePlan plan = plan_of(x, rotations, multiprocessors);
  const int log_size = log2_of(rotation_size(x.dim));
  if (log_size > 30) return cudaErrorInvalidValue;  // codes are int32
  const LongRows in{x.data,   x.type, x.rows, x.dim, signs, rotations, log_size, plan.values, round_scale(log_size),
                    workspace};
  const bool wide = x.type == VectorType::f64, in_shared = plan.shared_bytes != 0;
  if (wide)
    return in_shared ? launch_tiles<double, true>(in, plan, out, stream)
                     : launch_tiles<double, false>(in, plan, out, stream);
  return in_shared ? launch_tiles<float, true>(in, plan, out, stream)
                   : launch_tiles<float, false>(in, plan, out, stream);
}

}  // namespace

size_t rotation_workspace(const Vectors& x, int64_t rotations, int multiprocessors) {
  if (x.rows == 0 || rotations == 0 || fits_registers(x)) return 0;
  const TilePlan plan = plan_of(x, rotations, multiprocessors);
  return plan.shared_bytes != 0 ? 0 : plan.bytes * static_cast<size_t>(plan.blocks);
}

cudaError_t hd3(const Vectors& x, const uint8_t* signs, int64_t rotations, int64_t bits, int multiprocessors,
                void* workspace, uint8_t* codes, cudaStream_t stream) {
  if (x.rows == 0 || bits == 0 || rotations == 0) return cudaSuccess;
  return rotate(x, signs, rotations, multiprocessors, workspace, SignOutput{codes, bits, ceil_divide(bits, 8)}, stream);
}

cudaError_t cross_polytope(const Vectors& x, const uint8_t* signs, int64_t tables, int multiprocessors, void* workspace,
                           int32_t* codes, cudaStream_t stream) {
  if (x.rows == 0 || tables == 0) return cudaSuccess;
  return rotate(x, signs, tables, multiprocessors, workspace, LargestOutput{codes}, stream);
}

}  // namespace warphash::lsh
