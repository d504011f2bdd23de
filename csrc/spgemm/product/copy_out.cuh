// SPDX-License-Identifier: Apache-2.0
// The way of results from shared to global memory: gathered by the block, then copied out by the hardware while the block
// goes on. Room is in two halves, taken by turns, so that a copy has the time in which the other half is filled. What needs
// both waits for the copies before it.
//
// A bulk copy moves 16 bytes at a time: results lie in shared memory at the same distance from a multiple of 16 as in global
// memory, and those before the first one and after the last one go by plain stores. Before sm_90 all do.
#pragma once

#include "common/portable.h"

namespace warphash::spgemm {
namespace {

// All threads of a block call its functions together.
class CopyOut {
 public:
  static constexpr int slack = 16;  // of a half

  // room [2, half_bytes]; half_bytes is a multiple of 16.
  __device__ __forceinline__ CopyOut(char* room, int half_bytes) : room_(room), half_bytes_(half_bytes) {}

  // How many of them half of the room is enough for.
  template <class T>
  __device__ __forceinline__ int most_of_half() const {
    return (half_bytes_ - slack) / int(sizeof(T));
  }

  // Room for results that go to `to`, at most as many as twice most_of_half; all threads may write there.
  template <class T>
  __device__ __forceinline__ T* take(const T* to, int count) {
    const bool both = count > most_of_half<T>();
    if (threadIdx.x == 0) {
      if (both || next_ == 2)
        bulk_wait_read<0>();
      else
        bulk_wait_read<1>();
    }
    __syncthreads();
    const int half = both ? 0 : next_ % 2;
    char* const begin = room_ + half * half_bytes_ + phase_of(to);
    next_ = both ? 2 : 1 - half;
    return reinterpret_cast<T*>(begin);
  }

  // Of the room taken last, when all threads have written their part.
  template <class T>
  __device__ __forceinline__ void send(T* to, const T* from, int count) {
    constexpr int step = 16 / sizeof(T);
    int head = 0, middle = 0;
    if (has_bulk_copies()) {
      head = min(count, (step - phase_of(to) / int(sizeof(T))) % step);
      middle = (count - head) / step * step;
      fence_shared_for_async();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      if (middle > 0) bulk_store(to + head, from + head, unsigned(middle * sizeof(T)));
      bulk_commit();
    }
    for (int i = threadIdx.x; i < count - middle; i += blockDim.x) {
      const int at = i < head ? i : i + middle;
      to[at] = from[at];
    }
  }
  // The same by store(i), where results change on their way.
  template <class Store>
  __device__ __forceinline__ void send_by(int count, const Store& store) {
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += blockDim.x) store(i);
    if (threadIdx.x == 0) bulk_commit();  // one group each time, by which take() counts
  }

  // Before the block ends.
  __device__ __forceinline__ void finish() {
    if (threadIdx.x == 0) bulk_wait_read<0>();
  }

 private:
  template <class T>
  static __device__ __forceinline__ int phase_of(const T* to) {
    return int(reinterpret_cast<size_t>(to) % 16);
  }

  char* room_;
  int half_bytes_;
  int next_ = 0;  // half; 2: the first one, when both have been read
};

}  // namespace
}  // namespace warphash::spgemm
