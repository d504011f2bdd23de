// SPDX-License-Identifier: Apache-2.0
// MinHash: the smallest value of each permutation over the tokens of a set.
//
// Bound: the permutations' arithmetic, for affine32 one multiply-add and half to one minimum a token and permutation. A
// warp takes a set and up to 128 permutations, four a lane, in registers; 32 tokens at a time are loaded, one a lane,
// mixed once, and told to all lanes by a shuffle, which four permutations share.
#include "lsh/sketches/token_sets.cuh"

namespace warphash::lsh {
namespace {

// x below 2^64 to its remainder by 2^61 - 1.
__device__ __forceinline__ uint64_t remainder61(uint64_t x) {
  constexpr uint64_t prime = (uint64_t{1} << 61) - 1;
  x = (x & prime) + (x >> 61);
  return x >= prime ? x - prime : x;
}

constexpr int threads = 256, warps = threads / 32;

// A permutation's parameters and the value it gives to a token; what of a token all permutations share.
template <Scheme scheme>
struct Permutation;

struct Affine32 {
  using Token = uint32_t;
  uint32_t a, b;
  __device__ __forceinline__ void set(uint64_t a64, uint64_t b64) {
    a = static_cast<uint32_t>(a64), b = static_cast<uint32_t>(b64);
  }
  __device__ __forceinline__ uint32_t operator()(uint32_t x) const { return a * x + b; }
};
template <>
struct Permutation<Scheme::affine32> : Affine32 {
  static __device__ __forceinline__ uint32_t token(const Sets& sets, int64_t place) { return mixed(sets, place); }
};
template <>
struct Permutation<Scheme::datasketch> : Affine32 {
  static __device__ __forceinline__ uint32_t token(const Sets& sets, int64_t place) {
    return fmix32(sets.wide ? static_cast<uint32_t>(__ldg(static_cast<const int64_t*>(sets.tokens) + place))
                            : static_cast<uint32_t>(__ldg(static_cast<const int32_t*>(sets.tokens) + place)));
  }
};
template <>
struct Permutation<Scheme::multiply_shift64> {
  using Token = uint32_t;
  uint64_t a, b;
  __device__ __forceinline__ void set(uint64_t a64, uint64_t b64) { a = a64, b = b64; }
  static __device__ __forceinline__ uint32_t token(const Sets& sets, int64_t place) { return mixed(sets, place); }
  __device__ __forceinline__ uint32_t operator()(uint32_t x) const { return static_cast<uint32_t>((a * x + b) >> 32); }
};
template <>
struct Permutation<Scheme::mersenne61> {
  using Token = uint32_t;
  uint32_t low, high;  // a = high * 2^32 + low, below 2^61
  uint64_t b;
  __device__ __forceinline__ void set(uint64_t a64, uint64_t b64) {
    const uint64_t a = remainder61(a64);
    low = static_cast<uint32_t>(a), high = static_cast<uint32_t>(a >> 32), b = remainder61(b64);
  }
  static __device__ __forceinline__ uint32_t token(const Sets& sets, int64_t place) { return mixed(sets, place); }
  __device__ __forceinline__ uint32_t operator()(uint32_t x) const {
    // a x = above * 2^32 + the low word of `below`, and 2^61 counts as 1.
    const uint64_t below = uint64_t{low} * x, above = uint64_t{high} * x + (below >> 32);
    const uint64_t product = ((above & 0x1fffffffu) << 32 | static_cast<uint32_t>(below)) + (above >> 29);
    return static_cast<uint32_t>(remainder61(product + b));
  }
};
template <>
struct Permutation<Scheme::datasketch_legacy> {
  using Token = uint64_t;
  uint64_t a, b;
  __device__ __forceinline__ void set(uint64_t a64, uint64_t b64) { a = a64, b = b64; }
  static __device__ __forceinline__ uint64_t token(const Sets& sets, int64_t place) {
    if (sets.wide) return static_cast<uint64_t>(__ldg(static_cast<const int64_t*>(sets.tokens) + place));
    return static_cast<uint32_t>(__ldg(static_cast<const int32_t*>(sets.tokens) + place));
  }
  __device__ __forceinline__ uint32_t operator()(uint64_t x) const {
    return static_cast<uint32_t>(remainder61(a * x + b));
  }
};

// 32 * count permutations of a warp, lane + 32 i a lane.
template <Scheme scheme, int count>
struct Minima {
  using Values = Permutation<scheme>;
  Values permutations[count];
  uint32_t least[count];

  __device__ __forceinline__ void begin(const uint64_t* a, const uint64_t* b, int64_t first, int64_t all) {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const int64_t place = min(first + threadIdx.x % 32 + 32 * i, all - 1);
      permutations[i].set(__ldg(a + place), __ldg(b + place));
      least[i] = ~0u;
    }
  }
  __device__ __forceinline__ void offer(typename Values::Token token) {
#pragma unroll
    for (int i = 0; i < count; ++i) least[i] = min(least[i], permutations[i](token));
  }
  __device__ __forceinline__ void add(const Sets& sets, const Span& span) {
    const int lane = threadIdx.x % 32;
    for (int64_t first = span.begin; first < span.end; first += 32) {
      // Lanes past the end repeat the last token, which changes no minimum.
      const typename Values::Token own = Values::token(sets, min(first + lane, span.end - 1));
      const int here = static_cast<int>(min(span.end - first, int64_t{32}));
#pragma unroll 1
      for (int i = 0; i < here; i += 8)
#pragma unroll
        for (int j = 0; j < 8; ++j) offer(__shfl_sync(all_lanes, own, i + j));
    }
  }
  __device__ __forceinline__ void store(uint32_t* row, int64_t first, int64_t all, bool shared_row) const {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const int64_t place = first + threadIdx.x % 32 + 32 * i;
      if (place >= all) continue;
      if (shared_row)
        atomicMin(row + place, least[i]);
      else
        row[place] = least[i];
    }
  }
};

// long_sets: items are pieces of the array, and whole sets have been here before; long ones stand there as empty.
template <Scheme scheme, int count>
__global__ void __launch_bounds__(threads, 4)
    minima(const Sets sets, const uint64_t* __restrict__ a, const uint64_t* __restrict__ b, const int64_t permutations,
           const bool long_sets, const int64_t pieces, uint32_t* signatures) {
  const int64_t groups = (permutations + 32 * count - 1) / (32 * count),
                items = (long_sets ? pieces : sets.sets) * groups;
  for (int64_t item = int64_t(blockIdx.x) * warps + threadIdx.x / 32; item < items;
       item += int64_t(gridDim.x) * warps) {
    const int64_t first = item % groups * 32 * count, place = item / groups;
#pragma unroll 1
    for (int turn = 0; turn < 2; ++turn) {
      const Part part = part_of(sets, long_sets, place, turn);
      if (part.set < 0) continue;
      Minima<scheme, count> work;
      work.begin(a, b, first, permutations);
      work.add(sets, part.span);
      work.store(signatures + part.set * permutations, first, permutations, long_sets);
    }
  }
}

template <Scheme scheme, int count>
cudaError_t launch_minima(const Sets& sets, const uint64_t* a, const uint64_t* b, int64_t permutations,
                          uint32_t* signatures, cudaStream_t stream) {
  const int64_t groups = ceil_divide(permutations, 32 * count), pieces = pieces_of(sets);
  cudaError_t error = launch(minima<scheme, count>, blocks_for(sets.sets * groups, warps), dim3(threads), 0, stream,
                             sets, a, b, permutations, false, int64_t{0}, signatures);
  if (error != cudaSuccess || sets.count <= most_tokens) return error;
  return launch(minima<scheme, count>, blocks_for(pieces * groups, warps), dim3(threads), 0, stream, sets, a, b,
                permutations, true, pieces, signatures);
}

template <Scheme scheme>
cudaError_t with_count(const Sets& sets, const uint64_t* a, const uint64_t* b, int64_t permutations,
                       uint32_t* signatures, cudaStream_t stream) {
  if (permutations <= 32) return launch_minima<scheme, 1>(sets, a, b, permutations, signatures, stream);
  if (permutations <= 64) return launch_minima<scheme, 2>(sets, a, b, permutations, signatures, stream);
  return launch_minima<scheme, 4>(sets, a, b, permutations, signatures, stream);
}

template <Scheme scheme>
struct Constant {
  static constexpr Scheme value = scheme;
};

}  // namespace

cudaError_t minhash(const Sets& sets, const Permutations& permutations, uint32_t* signatures, cudaStream_t stream) {
  if (sets.sets == 0 || permutations.count == 0) return cudaSuccess;
  const auto run = [&](auto scheme) {
    return with_count<decltype(scheme)::value>(sets, permutations.a, permutations.b, permutations.count, signatures,
                                               stream);
  };
  switch (permutations.scheme) {
    case Scheme::affine32: return run(Constant<Scheme::affine32>());
    case Scheme::multiply_shift64: return run(Constant<Scheme::multiply_shift64>());
    case Scheme::mersenne61: return run(Constant<Scheme::mersenne61>());
    case Scheme::datasketch: return run(Constant<Scheme::datasketch>());
    case Scheme::datasketch_legacy: return run(Constant<Scheme::datasketch_legacy>());
  }
  return cudaErrorInvalidValue;
}

}  // namespace warphash::lsh
