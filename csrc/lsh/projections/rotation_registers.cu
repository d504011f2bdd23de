// SPDX-License-Identifier: Apache-2.0
// Rotations of up to 256 values in registers.
//
// Bound, for many rotations: shuffles and additions, of about equal weight; for one, reading x. A row belongs to 2 to 8
// lanes, each of which holds runs of four neighbours: loads are 16 bytes, the stages h = 1, 2 and those above the lanes
// need nobody else, and only the one to three stages between are shuffles.
#include <type_traits>

#include "lsh/projections/rotation.cuh"

namespace warphash::lsh {
namespace {

constexpr int threads = 256, warps = threads / 32;

struct Rows {
  const void* x;
  VectorType type;
  int64_t rows, dim;
  bool aligned;  // runs of four values may be loaded at once
  const uint8_t* signs;
  bool aligned_signs;
  int64_t rotations;
  float scale;
};

// Four values from dimension k on, of which `count` exist.
__device__ __forceinline__ void load_four(const Rows& in, int64_t row, int k, float* to) {
  const int64_t place = row * in.dim + k, count = in.dim - k;
  if (in.type == VectorType::f32) {
    unsigned words[4];
    load_values<VectorType::f32>(static_cast<const char*>(in.x) + 4 * place, count, in.aligned, words);
#pragma unroll
    for (int e = 0; e < 4; ++e) to[e] = __uint_as_float(words[e]);
    return;
  }
  const unsigned short* from = static_cast<const unsigned short*>(in.x) + place;
  unsigned words[4] = {};
  if (in.aligned) {
    if (count > 0) {
      const uint2 both = __ldg(reinterpret_cast<const uint2*>(from));
      words[0] = both.x, words[1] = both.y;
    }
  } else {
#pragma unroll
    for (int e = 0; e < 4; ++e)
      if (e < count) words[e / 2] |= static_cast<unsigned>(__ldg(from + e)) << (16 * (e % 2));
  }
#pragma unroll
  for (int e = 0; e < 4; ++e)
    to[e] = in.type == VectorType::bf16 ? value_of<VectorType::bf16>(words, e) : value_of<VectorType::f16>(words, e);
}

template <int size>
__device__ __forceinline__ unsigned load_signs(const Rows& in, int64_t round, int word) {
  const uint8_t* from = in.signs + round * (size / 8) + 4 * word;
  if (size >= 32 && in.aligned_signs) return __ldg(reinterpret_cast<const unsigned*>(from));
  unsigned bits = 0;
#pragma unroll
  for (int b = 0; b < (size < 32 ? size / 8 : 4); ++b) bits |= static_cast<unsigned>(__ldg(from + b)) << (8 * b);
  return bits;
}

// Value v[4 c + e] of a lane is number 4 (lanes c + member) + e of the row.
template <int lanes, int values>
struct Row {
  static constexpr int size = lanes * values, words = (size + 31) / 32;
  float v[values];

  __device__ __forceinline__ void load(const Rows& in, int64_t row, int member) {
#pragma unroll
    for (int c = 0; c < values / 4; ++c) load_four(in, row, 4 * (lanes * c + member), v + 4 * c);
  }

  __device__ __forceinline__ void add_pairs(int h) {
#pragma unroll
    for (int i = 0; i < values; ++i) {
      if ((i & h) != 0) continue;
      const float a = v[i], b = v[i + h];
      v[i] = a + b, v[i + h] = a - b;
    }
  }

  __device__ __forceinline__ void transform(int member) {
#pragma unroll
    for (int h = 1; h < 4; h *= 2) add_pairs(h);
#pragma unroll
    for (int bit = 1; bit < lanes; bit *= 2) {
      const float sign = (member & bit) != 0 ? -1.0f : 1.0f;  // the upper of two lanes keeps the difference
#pragma unroll
      for (int i = 0; i < values; ++i) v[i] = fmaf(sign, v[i], __shfl_xor_sync(all_lanes, v[i], bit));
    }
#pragma unroll
    for (int h = 4; h < values; h *= 2) add_pairs(h);
  }

  __device__ __forceinline__ void rotate(const Rows& in, int64_t rotation, int member) {
#pragma unroll 1
    for (int round = 0; round < 3; ++round) {
#pragma unroll
      for (int w = 0; w < words; ++w) {
        const unsigned bits = load_signs<size>(in, rotation * 3 + round, w) >> (4 * member);
#pragma unroll
        for (int c = 0; c < values / 4; ++c)
#pragma unroll
          for (int e = 0; e < 4; ++e)
            if (4 * lanes * c / 32 == w)
              v[4 * c + e] = __uint_as_float(__float_as_uint(v[4 * c + e]) ^
                                             (bits << (31 - 4 * lanes * c % 32 - e) & 0x80000000u));
      }
      transform(member);
#pragma unroll
      for (int i = 0; i < values; ++i) v[i] *= in.scale;
    }
  }

  __device__ __forceinline__ void store(const SignOutput& out, int64_t row, int64_t rotation, int member,
                                        bool exists) const {
    unsigned bits[words] = {};
#pragma unroll
    for (int i = 0; i < values; ++i) bits[lanes * (i / 4) / 8] |= sign_bit(v[i]) << (4 * lanes * (i / 4) % 32 + i % 4);
#pragma unroll
    for (int w = 0; w < words; ++w) {
      bits[w] <<= 4 * member;
#pragma unroll
      for (int bit = 1; bit < lanes; bit *= 2) bits[w] |= __shfl_xor_sync(all_lanes, bits[w], bit);
    }
    if (!exists) return;
#pragma unroll
    for (int w = 0; w < words; ++w)
      for (int b = member; b < (size < 32 ? size / 8 : 4); b += lanes)
        out.store(row, rotation * (size / 8) + 4 * w + b, bits[w] >> (8 * b) & 0xffu);
  }

  __device__ __forceinline__ void store(const LargestOutput& out, const Rows& in, int64_t row, int64_t rotation,
                                        int member, bool exists) const {
    Largest<float> largest = Largest<float>::none();
#pragma unroll
    for (int i = 0; i < values; ++i) largest.offer(v[i], 4 * (lanes * (i / 4) + member) + i % 4, size);
    largest.merge_lanes(lanes);
    if (exists && member == 0) out.codes[row * in.rotations + rotation] = largest.code;
  }
};

// Rotations of the same rows are neighbours, so that one of their warps fetches x for all.
template <int lanes, int values, class Output>
__global__ void __launch_bounds__(threads, 2) rotate_rows(const Rows in, const Output out) {
  constexpr int warp_rows = 32 / lanes;
  const int lane = threadIdx.x % 32, member = lane % lanes;
  const int64_t items = (in.rows + warp_rows - 1) / warp_rows * in.rotations;
  for (int64_t item = int64_t(blockIdx.x) * warps + threadIdx.x / 32; item < items;
       item += int64_t(gridDim.x) * warps) {
    const int64_t rotation = item % in.rotations, row = item / in.rotations * warp_rows + lane / lanes;
    const bool exists = row < in.rows;
    Row<lanes, values> work;
    work.load(in, exists ? row : in.rows - 1, member);
    work.rotate(in, rotation, member);
    if constexpr (std::is_same_v<Output, SignOutput>)
      work.store(out, row, rotation, member, exists);
    else
      work.store(out, in, row, rotation, member, exists);
  }
}

template <class Output>
cudaError_t rotate(const Vectors& x, const uint8_t* signs, int64_t rotations, const Output& out, cudaStream_t stream) {
  const int64_t size = rotation_size(x.dim);
  if (x.type == VectorType::f64 || size > int64_t{1} << most_register_log) return cudaErrorInvalidValue;
  const int four = 4 * bytes_of(x.type);
  const bool aligned = is_aligned(x.data, size_t(four)) && x.dim % 4 == 0;
  const Rows in{x.data,
                x.type,
                x.rows,
                x.dim,
                aligned,
                signs,
                is_aligned(signs, 4),
                rotations,
                static_cast<float>(round_scale(log2_of(size)))};
  const auto run = [&](auto kernel, int warp_rows) {
    const int64_t blocks = ceil_divide(ceil_divide(x.rows, warp_rows) * rotations, warps);
    return launch(kernel, dim3(unsigned(clamp(blocks, 1, most_blocks))), dim3(threads), 0, stream, in, out);
  };
  switch (size) {
    case 8: return run(rotate_rows<2, 4, Output>, 16);
    case 16: return run(rotate_rows<4, 4, Output>, 8);
    case 32: return run(rotate_rows<4, 8, Output>, 8);
    case 64: return run(rotate_rows<4, 16, Output>, 8);
    case 128: return run(rotate_rows<4, 32, Output>, 8);
    default: return run(rotate_rows<8, 32, Output>, 4);
  }
}

}  // namespace

cudaError_t rotate_in_registers(const Vectors& x, const uint8_t* signs, int64_t rotations, const SignOutput& out,
                                cudaStream_t stream) {
  return rotate(x, signs, rotations, out, stream);
}
cudaError_t rotate_in_registers(const Vectors& x, const uint8_t* signs, int64_t rotations, const LargestOutput& out,
                                cudaStream_t stream) {
  return rotate(x, signs, rotations, out, stream);
}

}  // namespace warphash::lsh
