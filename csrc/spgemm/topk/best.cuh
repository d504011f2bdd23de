// SPDX-License-Identifier: Apache-2.0
// A block's best entries so far, in shared memory: what may still be among the best k is appended; when there is no room
// for a turn's worth more, all are sorted and those behind the k-th are dropped, whose key is the least from then on.
#pragma once

#include "spgemm/topk/topk.cuh"
#include "spgemm/walk.cuh"

namespace warphash::spgemm {
namespace {

#if defined(WARPHASH_CUDA_EMULATION)
constexpr int threads = 64;
constexpr int64_t most_best = 24;  // so that tests see several passes
#else
constexpr int threads = 256;
constexpr int64_t most_best = 2048;
#endif

// An entry as integers, the larger the better: its value's order (NaN is 0, -inf comes next, both zeros are equal), then
// its column the other way round. 0 is none.
template <class Value>
struct Key;

template <>
struct Key<float> {
  unsigned long long bits;

  static __device__ __forceinline__ Key none() { return {0}; }
  static __device__ __forceinline__ Key of(float value, int32_t column) {
    unsigned order = __float_as_uint(value);
    if ((order & 0x7fffffffu) > 0x7f800000u)
      order = 0;
    else
      order = order == 0x80000000u ? 0x80000000u : order & 0x80000000u ? ~order : order | 0x80000000u;
    return {static_cast<unsigned long long>(order) << 32 | ~static_cast<unsigned>(column)};
  }
  __device__ __forceinline__ bool is_none() const { return bits == 0; }
  __device__ __forceinline__ bool beats(const Key& other) const { return bits > other.bits; }
  __device__ __forceinline__ int32_t column() const { return static_cast<int32_t>(~static_cast<unsigned>(bits)); }
  __device__ __forceinline__ float value() const {
    const unsigned order = static_cast<unsigned>(bits >> 32);
    return __uint_as_float(order == 0 ? 0x7fc00000u : order & 0x80000000u ? order ^ 0x80000000u : ~order);
  }
};

template <>
struct Key<double> {
  unsigned long long order;
  unsigned reversed;

  static __device__ __forceinline__ Key none() { return {0, 0}; }
  static __device__ __forceinline__ Key of(double value, int32_t column) {
    constexpr unsigned long long sign = 1ull << 63, infinity = 0x7ffull << 52;
    unsigned long long bits = static_cast<unsigned long long>(__double_as_longlong(value));
    if ((bits & ~sign) > infinity)
      bits = 0;
    else
      bits = bits == sign ? sign : bits & sign ? ~bits : bits | sign;
    return {bits, ~static_cast<unsigned>(column)};
  }
  __device__ __forceinline__ bool is_none() const { return reversed == 0; }
  __device__ __forceinline__ bool beats(const Key& other) const {
    return order != other.order ? order > other.order : reversed > other.reversed;
  }
  __device__ __forceinline__ int32_t column() const { return static_cast<int32_t>(~reversed); }
  __device__ __forceinline__ double value() const {
    constexpr unsigned long long sign = 1ull << 63;
    return __longlong_as_double(static_cast<long long>(order == 0     ? 0x7ff8ull << 48
                                                       : order & sign ? order ^ sign
                                                                      : ~order));
  }
};

// Room for the best k and a turn more, a power of two.
inline int room_for(int64_t k) {
  int room = 1;
  while (room < k + threads) room *= 2;
  return room;
}

template <class Value>
struct Best {
  Key<Value>* keys;  // [room], shared
  int* count;        // shared: where the next one goes
  int room, k, held;
  Key<Value> least, after;  // wanted are those above `least` and, unless it is none, below `after`

  __device__ __forceinline__ void begin(Key<Value> behind) {
    held = 0, least = Key<Value>::none(), after = behind;
    __syncthreads();
    if (threadIdx.x == 0) *count = 0;
    __syncthreads();
  }
  // All threads call it, with an entry or none.
  __device__ __forceinline__ void offer(Key<Value> key) {
    const bool is_wanted = key.beats(least) && (after.is_none() || after.beats(key));
    if (is_wanted) keys[atomicAdd(count, 1)] = key;
    held += __syncthreads_count(is_wanted);
    if (held > room - threads) sort();
  }
  // The best in order; fewer than k where there are no more.
  __device__ __forceinline__ void sort() {
    int size = 2;
    while (size < held) size *= 2;
    for (int i = held + threadIdx.x; i < size; i += threads) keys[i] = Key<Value>::none();
    __syncthreads();
    for (int run = 2; run <= size; run *= 2)
      for (int stride = run / 2; stride > 0; stride /= 2) {
        for (int i = threadIdx.x; i < size / 2; i += threads) {
          const int low = 2 * i - (i & (stride - 1)), high = low + stride;
          const Key<Value> first = keys[low], second = keys[high];
          if ((low & run) == 0 ? second.beats(first) : first.beats(second)) keys[low] = second, keys[high] = first;
        }
        __syncthreads();
      }
    held = min(held, k);
    if (held == k) least = keys[k - 1];
    if (threadIdx.x == 0) *count = held;
    __syncthreads();
  }
};

}  // namespace
}  // namespace warphash::spgemm
