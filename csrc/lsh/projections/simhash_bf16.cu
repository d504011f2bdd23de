// SPDX-License-Identifier: Apache-2.0
// SimHash on the tensor cores: values and planes rounded to bfloat16, sums in float32.
//
// Bound: reading x, as long as one pass over it does (up to 256 bits); beyond that the tensor cores. x goes from global
// memory straight into fragments: any order of dimensions will do if the planes have the same, so a lane takes 16 bytes
// in a row. Planes lie in shared memory in the order of fragments, all of them if they fit (then once a block, which
// takes many rows), else in two slots of 64 dimensions, one filled while the other is used. Columns are dealt out so
// that a lane's sums of a row are neighbouring bits: they are packed and stored without asking other lanes.
#include "lsh/projections/values.cuh"

namespace warphash::lsh {
namespace {

constexpr int warps = 8, threads = 32 * warps;
constexpr int row_tiles = 2, warp_rows = 16 * row_tiles;
constexpr int stage_dims = 32;               // what a lane's loads cover: two instructions' worth
constexpr int chunk_stages = 2;              // of a slot in shared memory
constexpr size_t most_resident = 128 << 10;  // bytes of planes; a block may have 163 KiB on sm_80
#if defined(WARPHASH_CUDA_EMULATION)
constexpr size_t most_resident_here = 40 << 10;
#else
constexpr size_t most_resident_here = most_resident;
#endif

// Blocks a multiprocessor: what registers allow without spills.
constexpr int resident_blocks(int tiles) { return tiles == 4 ? 2 : 1; }
constexpr int stage_bytes(int tiles) { return 2 * tiles * 256; }  // of the planes of one column tile

struct FastInputs {
  const void* x;
  int64_t rows, dim;
  bool aligned;
  const uint4* planes;  // [column tile][chunk][stage][instruction][8 columns][lane] as pairs of words
  int64_t bits, bytes;
  int chunks;
  int split;      // column tiles of a block: 1 or 2
  bool resident;  // all chunks in shared memory, else two slots
  int64_t row_blocks, column_blocks;
  uint8_t* codes;
};

// ---- Planes in the order of fragments ---------------------------------------------------------------------------------

// Dimension of a stage that value i of register r has in instruction `part`, for lanes of `member`. Such as lie in 16
// bytes in a row: 4 float32 of each half of the stage, or 8 shorter values.
__device__ __forceinline__ int dimension_of(bool four, int part, int member, int r, int i) {
  return four ? 16 * part + 4 * member + 2 * r + i : 8 * member + 4 * part + 2 * r + i;
}

// tiles: of 8 columns. A lane's member has the columns from 2 * tiles * member on, two of each 8.
__global__ void __launch_bounds__(threads)
    arrange(const float* __restrict__ planes, const int64_t dim, const int64_t bits, const int tiles, const bool four,
            const int64_t stages, const int64_t pairs, uint2* out) {
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < pairs; i += int64_t(gridDim.x) * threads) {
    const int lane = i % 32, tile = i / 32 % tiles, part = i / (32 * tiles) % 2;
    const int64_t stage = i / (64 * tiles) % stages, column_tile = i / (64 * tiles) / stages;
    const int group = lane / 4, member = lane % 4;
    const int64_t column = column_tile * 8 * tiles + 2 * tiles * (group / 2) + 2 * tile + group % 2;
    unsigned words[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float values[2];
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int64_t k = stage * stage_dims + dimension_of(four, part, member, r, j);
        values[j] = k < dim && column < bits ? __ldg(planes + k * bits + column) : 0;
      }
      words[r] = pack_bf16(values[0], values[1]);
    }
    out[i] = make_uint2(words[0], words[1]);
  }
}

// ---- The product ------------------------------------------------------------------------------------------------------

// A lane's values of a stage of its warp's rows: for short types 16 bytes a row, for float32 twice that.
template <VectorType type>
struct Fragment {
  static constexpr int loads = type == VectorType::f32 ? 2 : 1;
  unsigned words[2 * row_tiles][loads][4];

  __device__ __forceinline__ void load(const FastInputs& in, int64_t first_row, int stage) {
    const int lane = threadIdx.x % 32, group = lane / 4, member = lane % 4;
#pragma unroll
    for (int j = 0; j < 2 * row_tiles; ++j) {
      const int64_t row = first_row + group + 8 * j;
#pragma unroll
      for (int l = 0; l < loads; ++l) {
        const int64_t k = int64_t(stage) * stage_dims + (loads == 2 ? 16 * l + 4 * member : 8 * member);
        load_values<type>(static_cast<const char*>(in.x) + (row * in.dim + k) * bytes_of(type),
                          row < in.rows ? in.dim - k : 0, in.aligned, words[j][l]);
      }
    }
  }
  __device__ __forceinline__ void round(unsigned (&a)[2][row_tiles][4]) const {
#pragma unroll
    for (int part = 0; part < 2; ++part)
#pragma unroll
      for (int m = 0; m < row_tiles; ++m)
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const unsigned (&row)[loads][4] = words[2 * m + r % 2];
          if constexpr (type == VectorType::f32)
            a[part][m][r] = pack_bf16(__uint_as_float(row[part][r / 2 * 2]), __uint_as_float(row[part][r / 2 * 2 + 1]));
          else if constexpr (type == VectorType::bf16)
            a[part][m][r] = row[0][2 * part + r / 2];
          else
            a[part][m][r] = pack_bf16(value_of<type>(row[0], 2 * (2 * part + r / 2)),
                                      value_of<type>(row[0], 2 * (2 * part + r / 2) + 1));
        }
  }
};

// Fills a slot with a chunk of all of the block's column tiles.
template <int tiles>
__device__ __forceinline__ void copy_chunk(const FastInputs& in, int64_t first_tile, int64_t column_tiles, int chunk,
                                           uint4* slot) {
  constexpr int units = chunk_stages * stage_bytes(tiles) / 16;
  for (int i = threadIdx.x; i < in.split * units; i += threads) {
    const int64_t tile = min(first_tile + i / units, column_tiles - 1);
    copy_async_16(slot + i, in.planes + (tile * in.chunks + chunk) * units + i % units);
  }
  copy_async_commit();
}

// Sums of tile n, columns 2 * member and 2 * member + 1, are bits 2 n and 2 n + 1 of the lane's run.
template <int tiles>
__device__ __forceinline__ void store_bits(const FastInputs& in, int64_t row, int64_t column_tile,
                                           const float (&d)[row_tiles][tiles][4], int m, int half) {
  unsigned word = 0;
#pragma unroll
  for (int n = 0; n < tiles; ++n)
#pragma unroll
    for (int i = 0; i < 2; ++i) word |= sign_bit(d[m][n][2 * half + i]) << (2 * n + i);
  constexpr int run_bytes = tiles / 4;
  const int64_t byte = column_tile * tiles + threadIdx.x % 4 * run_bytes, left = in.bits - 8 * byte;
  if (row >= in.rows || left <= 0) return;
  if (left < 32) word &= (1u << left) - 1;
  uint8_t* to = in.codes + row * in.bytes + byte;
  if (run_bytes == 4 && in.bytes % 4 == 0) {
    *reinterpret_cast<unsigned*>(to) = word;
  } else if (run_bytes == 2 && in.bytes % 2 == 0) {
    *reinterpret_cast<unsigned short*>(to) = static_cast<unsigned short>(word);
  } else {
#pragma unroll
    for (int b = 0; b < run_bytes; ++b)
      if (byte + b < in.bytes) to[b] = static_cast<uint8_t>(word >> (8 * b));
  }
}

template <VectorType type, int tiles>
__global__ void __launch_bounds__(threads, resident_blocks(tiles)) project(const FastInputs in) {
  DYNAMIC_SHARED(uint4, slots);
  constexpr int units = chunk_stages * stage_bytes(tiles) / 16;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t column_tiles = (in.bits + 8 * tiles - 1) / (8 * tiles);
  const int64_t column_tile = blockIdx.x % in.column_blocks * in.split + warp % in.split;
  const int64_t first_tile = blockIdx.x % in.column_blocks * in.split;
  const int block_rows = warps / in.split * warp_rows, slot_units = in.split * units;
  const int64_t step = gridDim.x / in.column_blocks, first = blockIdx.x / in.column_blocks;
  const auto row_of = [&](int64_t block) { return block * block_rows + warp / in.split * warp_rows; };

  if (in.resident) {
    for (int chunk = 0; chunk < in.chunks; ++chunk)
      copy_chunk<tiles>(in, first_tile, column_tiles, chunk, slots + chunk * slot_units);
    copy_async_wait<0>();
    __syncthreads();
  } else {
    copy_chunk<tiles>(in, first_tile, column_tiles, 0, slots);
  }
  Fragment<type> ahead;
  ahead.load(in, row_of(first), 0);
  int turn = 0;  // chunks so far, of two slots
  for (int64_t block = first; block < in.row_blocks; block += step) {
    float d[row_tiles][tiles][4] = {};
    for (int chunk = 0; chunk < in.chunks; ++chunk) {
      const uint4* slot = slots + chunk * slot_units;
      if (!in.resident) {
        copy_async_wait<0>();
        __syncthreads();  // the chunk is there, and the other slot has been read
        slot = slots + turn * slot_units;
        turn ^= 1;
        const bool last = chunk + 1 == in.chunks;
        if (!last || block + step < in.row_blocks)
          copy_chunk<tiles>(in, first_tile, column_tiles, last ? 0 : chunk + 1, slots + turn * slot_units);
      }
      const uint2* planes = reinterpret_cast<const uint2*>(slot + warp % in.split * units) + lane;
#pragma unroll 1
      for (int stage = 0; stage < chunk_stages; ++stage) {
        unsigned a[2][row_tiles][4];
        ahead.round(a);
        const bool next_rows = chunk + 1 == in.chunks && stage + 1 == chunk_stages;
        ahead.load(in, row_of(next_rows ? block + step : block), next_rows ? 0 : chunk * chunk_stages + stage + 1);
#pragma unroll
        for (int part = 0; part < 2; ++part)
#pragma unroll
          for (int n = 0; n < tiles; ++n) {
            const uint2 pair = planes[((stage * 2 + part) * tiles + n) * 32];
            const unsigned b[2] = {pair.x, pair.y};
#pragma unroll
            for (int m = 0; m < row_tiles; ++m) mma_m16n8k16_bf16(d[m][n], a[part][m], b);
          }
      }
    }
    if (column_tile >= column_tiles) continue;
#pragma unroll
    for (int m = 0; m < row_tiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        store_bits<tiles>(in, row_of(block) + lane / 4 + 16 * m + 8 * half, column_tile, d, m, half);
  }
}

struct FastPlan {
  int tiles;
  int64_t column_tiles, chunks;
  size_t planes_bytes;
};
FastPlan plan_of(const Vectors& x, int64_t bits) {
  FastPlan plan{};
  plan.tiles = bits <= 32 ? 4 : bits <= 64 ? 8 : 16;
  plan.column_tiles = ceil_divide(bits, 8 * plan.tiles);
  plan.chunks = ceil_divide(x.dim, chunk_stages * stage_dims);
  plan.planes_bytes = static_cast<size_t>(plan.column_tiles * plan.chunks) * chunk_stages * stage_bytes(plan.tiles);
  return plan;
}

template <VectorType type, int tiles>
cudaError_t launch_project(FastInputs in, int64_t column_tiles, int multiprocessors, cudaStream_t stream) {
  in.split = column_tiles > 1 ? 2 : 1;
  const size_t chunk_bytes = size_t(in.split) * chunk_stages * stage_bytes(tiles);
  in.resident = in.chunks * chunk_bytes <= most_resident_here;
  in.column_blocks = ceil_divide(column_tiles, in.split);
  in.row_blocks = ceil_divide(in.rows, warps / in.split * warp_rows);
  const size_t shared_bytes = chunk_bytes * (in.resident ? in.chunks : 2);
  // Each block takes many rows, since it begins by fetching planes.
  const int64_t wanted = int64_t(resident_blocks(tiles)) * multiprocessors;
  const int64_t steps = clamp(ceil_divide(wanted, in.column_blocks), 1, in.row_blocks);
  if (in.column_blocks * steps > (int64_t{1} << 31) - 1) return cudaErrorInvalidValue;
  auto kernel = project<type, tiles>;
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_bytes));
  if (error != cudaSuccess) return error;
  return launch(kernel, dim3(unsigned(in.column_blocks * steps)), dim3(threads), shared_bytes, stream, in);
}

}  // namespace

size_t simhash_fast_workspace(const Vectors& x, int64_t bits) { return plan_of(x, bits).planes_bytes; }

cudaError_t simhash_fast(const Vectors& x, const Weights& planes, int64_t bits, int multiprocessors, void* workspace,
                         uint8_t* codes, cudaStream_t stream) {
  if (x.type == VectorType::f64 || planes.wide) return cudaErrorInvalidValue;
  if (x.rows == 0 || bits == 0) return cudaSuccess;
  if (x.dim == 0) return simhash(x, planes, bits, codes, stream);
  const FastPlan plan = plan_of(x, bits);
  if (plan.chunks > INT32_MAX / chunk_stages) return cudaErrorInvalidValue;
  const int64_t pairs = static_cast<int64_t>(plan.planes_bytes / sizeof(uint2));
  cudaError_t error =
      launch(arrange, dim3(unsigned(clamp(ceil_divide(pairs, threads), 1, most_blocks))), dim3(threads), 0, stream,
             static_cast<const float*>(planes.data), x.dim, bits, plan.tiles, x.type == VectorType::f32,
             plan.chunks * chunk_stages, pairs, static_cast<uint2*>(workspace));
  if (error != cudaSuccess) return error;
  const FastInputs in{x.data,
                      x.rows,
                      x.dim,
                      rows_aligned(x),
                      static_cast<const uint4*>(workspace),
                      bits,
                      ceil_divide(bits, 8),
                      static_cast<int>(plan.chunks),
                      0,
                      false,
                      0,
                      0,
                      codes};
  const auto launch_type = [&](auto type) {
    constexpr VectorType T = decltype(type)::value;
    if (plan.tiles == 4) return launch_project<T, 4>(in, plan.column_tiles, multiprocessors, stream);
    if (plan.tiles == 8) return launch_project<T, 8>(in, plan.column_tiles, multiprocessors, stream);
    return launch_project<T, 16>(in, plan.column_tiles, multiprocessors, stream);
  };
  if (x.type == VectorType::f16) return launch_type(TypeConstant<VectorType::f16>());
  if (x.type == VectorType::bf16) return launch_type(TypeConstant<VectorType::bf16>());
  return launch_type(TypeConstant<VectorType::f32>());
}

}  // namespace warphash::lsh
