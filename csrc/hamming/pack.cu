// SPDX-License-Identifier: Apache-2.0
// Values to bits and back. Bound: reading the values (packing), writing them (unpacking). A warp takes 32 values of a
// row, one a lane, and votes; so that reads are whole lines whatever the type.
#include <cmath>
#include <cstring>
#include <limits>

#include "hamming/workspace.cuh"

namespace warphash::hamming {
namespace {

constexpr int threads = 256, warps = threads / 32;
constexpr int64_t most_blocks = int64_t{1} << 20;

// is_set(value) for each kind of value. Booleans are their bits; an integer is compared with the least integer that is
// not below the threshold.
struct Truth {
  __device__ __forceinline__ bool operator()(uint8_t value) const { return value != 0; }
};
template <class T>
struct AtLeast {
  T bound;
  bool possible;
  __device__ __forceinline__ bool operator()(T value) const { return possible && value >= bound; }
};
// 16-bit floats as integers: sign and magnitude turned into an order, what lies above infinity is NaN.
struct ShortFloatAtLeast {
  int bound, infinity;
  static __host__ __device__ __forceinline__ int order(int x) { return x & 0x8000 ? 0x7fff - x : x; }
  __device__ __forceinline__ bool operator()(uint16_t value) const {
    return order(value) >= bound && (value & 0x7fff) <= infinity;
  }
};

template <class T, class IsSet>
__global__ void __launch_bounds__(threads) pack_values(const T* __restrict__ values, const int64_t rows,
                                                       const int64_t bits, const IsSet is_set, uint8_t* codes) {
  const int lane = threadIdx.x % 32;
  const int64_t bytes = (bits + 7) / 8, row_words = (bits + 31) / 32, words = rows * row_words;
  for (int64_t word = int64_t(blockIdx.x) * warps + threadIdx.x / 32; word < words;
       word += int64_t(gridDim.x) * warps) {
    const int64_t row = word / row_words, first = word % row_words * 32;
    const bool set = first + lane < bits && is_set(__ldg(values + row * bits + first + lane));
    const unsigned packed = __ballot_sync(0xffffffffu, set);
    if (lane < 4 && first / 8 + lane < bytes) codes[row * bytes + first / 8 + lane] = uint8_t(packed >> (8 * lane));
  }
}

__global__ void __launch_bounds__(threads) unpack_bits(const uint8_t* __restrict__ codes, const int64_t rows,
                                                       const int64_t bytes, const int64_t bits, bool* out) {
  const int64_t count = rows * bits, step = int64_t(gridDim.x) * threads;
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < count; i += step) {
    const int64_t row = i / bits, bit = i % bits;
    out[i] = __ldg(codes + row * bytes + bit / 8) >> (bit % 8) & 1;
  }
}

template <class T, class IsSet>
cudaError_t launch_pack(const void* values, int64_t rows, int64_t bits, const IsSet& is_set, uint8_t* codes,
                        cudaStream_t stream) {
  const int64_t blocks = ceil_divide(rows * ceil_divide(bits, 32), warps);
  return launch(pack_values<T, IsSet>, dim3(unsigned(clamp(blocks, 1, most_blocks))), dim3(threads), 0, stream,
                static_cast<const T*>(values), rows, bits, is_set, codes);
}

template <class T>
cudaError_t pack_integers(const void* values, int64_t rows, int64_t bits, double threshold, uint8_t* codes,
                          cudaStream_t stream) {
  // 2^digits is exact as a double, the type's maximum may not be.
  const double least = std::ceil(threshold), end = std::ldexp(1.0, std::numeric_limits<T>::digits);
  AtLeast<T> is_set{std::numeric_limits<T>::min(), least < end};
  if (is_set.possible && least > static_cast<double>(is_set.bound)) is_set.bound = static_cast<T>(least);
  return launch_pack<T>(values, rows, bits, is_set, codes, stream);
}

// threshold: the bits of the threshold in the values' type.
cudaError_t pack_short_floats(const void* values, int64_t rows, int64_t bits, int threshold, int infinity,
                              uint8_t* codes, cudaStream_t stream) {
  const bool zero = (threshold & 0x7fff) == 0;  // -0 >= +0 holds
  const int bound = (threshold & 0x7fff) > infinity ? 0x10000 : ShortFloatAtLeast::order(zero ? 0x8000 : threshold);
  return launch_pack<uint16_t>(values, rows, bits, ShortFloatAtLeast{bound, infinity}, codes, stream);
}

template <class Half>
int bits_of(Half half) {
  uint16_t bits;
  std::memcpy(&bits, &half, sizeof bits);
  return bits;
}

}  // namespace

cudaError_t pack(ValueType type, const void* values, int64_t rows, int64_t bits, double threshold, uint8_t* codes,
                 cudaStream_t stream) {
  if (rows == 0 || bits == 0) return cudaSuccess;
  const float rounded = static_cast<float>(threshold);
  switch (type) {
    case ValueType::boolean: return launch_pack<uint8_t>(values, rows, bits, Truth(), codes, stream);
    case ValueType::u8: return pack_integers<uint8_t>(values, rows, bits, threshold, codes, stream);
    case ValueType::i8: return pack_integers<int8_t>(values, rows, bits, threshold, codes, stream);
    case ValueType::i16: return pack_integers<int16_t>(values, rows, bits, threshold, codes, stream);
    case ValueType::i32: return pack_integers<int32_t>(values, rows, bits, threshold, codes, stream);
    case ValueType::i64: return pack_integers<int64_t>(values, rows, bits, threshold, codes, stream);
    case ValueType::u16: return pack_integers<uint16_t>(values, rows, bits, threshold, codes, stream);
    case ValueType::u32: return pack_integers<uint32_t>(values, rows, bits, threshold, codes, stream);
    case ValueType::u64: return pack_integers<uint64_t>(values, rows, bits, threshold, codes, stream);
    case ValueType::f16:
      return pack_short_floats(values, rows, bits, bits_of(__float2half(rounded)), 0x7c00, codes, stream);
    case ValueType::bf16:
      return pack_short_floats(values, rows, bits, bits_of(__float2bfloat16(rounded)), 0x7f80, codes, stream);
    case ValueType::f32: return launch_pack<float>(values, rows, bits, AtLeast<float>{rounded, true}, codes, stream);
    case ValueType::f64:
      return launch_pack<double>(values, rows, bits, AtLeast<double>{threshold, true}, codes, stream);
  }
  return cudaErrorInvalidValue;
}

cudaError_t unpack(const uint8_t* codes, int64_t rows, int64_t bytes, int64_t bits, bool* out, cudaStream_t stream) {
  if (rows == 0 || bits == 0) return cudaSuccess;
  return launch(unpack_bits, dim3(unsigned(clamp(ceil_divide(rows * bits, threads), 1, most_blocks))), dim3(threads), 0,
                stream, codes, rows, bytes, bits, out);
}

}  // namespace warphash::hamming
