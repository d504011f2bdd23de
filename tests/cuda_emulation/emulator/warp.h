// SPDX-License-Identifier: Apache-2.0
// Barriers, shuffles, votes and warp reductions.
#pragma once
#include "meeting.h"

#define CUDA_EMULATION_SITE const cuda_emulation::Site& site = cuda_emulation::Site::current()

inline void __syncthreads(CUDA_EMULATION_SITE) { cuda_emulation::block_collective("__syncthreads", 0, site); }
inline int __syncthreads_count(int predicate, CUDA_EMULATION_SITE) {
  return cuda_emulation::block_collective("__syncthreads_count", predicate, site);
}
inline int __syncthreads_or(int predicate, CUDA_EMULATION_SITE) {
  return cuda_emulation::block_collective("__syncthreads_or", predicate, site) != 0;
}
inline int __syncthreads_and(int predicate, CUDA_EMULATION_SITE) {
  return cuda_emulation::block_collective("__syncthreads_and", !predicate, site) == 0;
}
inline void __syncwarp(unsigned mask = ~0u, CUDA_EMULATION_SITE) {
  cuda_emulation::warp_collective<int>("__syncwarp", mask, site, 0, [](int**, int**, unsigned) {}, true);
}
// The only answer that holds on every GPU: no other lane is promised to be with the caller.
inline unsigned __activemask() { return 1u << (cuda_emulation::current->number & 31); }

namespace cuda_emulation {

// source_of(lane, argument, width) names the lane to read.
template <class T, class SourceOf>
T shuffle(const char* name, unsigned mask, T value, int argument, int width, const Site& site, SourceOf source_of) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 2, "shuffles move 2, 4 or 8 bytes");
  Busy guard;
  if (width < 1 || width > 32 || (width & (width - 1))) fail_here(name, site, "width must be a power of two up to 32");
  struct In {
    T value;
    int argument, width;
  };
  unsigned source = source_of(int(current->number & 31), argument, width);
  if (!(mask >> source & 1))
    fail_here(name, site, "reads lane " + std::to_string(source) + ", which the mask does not name");
  return warp_collective<T>(name, mask, site, In{value, argument, width}, [source_of](In** in, T** out, unsigned m) {
    for (int lane = 0; lane < 32; ++lane)
      if (m >> lane & 1) *out[lane] = in[source_of(lane, in[lane]->argument, in[lane]->width)]->value;
  });
}

template <class T, class Combine>
T warp_reduce(const char* name, unsigned mask, T value, const Site& site, Combine combine) {
  return warp_collective<T>(name, mask, site, value, [combine](T** in, T** out, unsigned m) {
    T all = *in[std::countr_zero(m)];
    for (unsigned rest = m & (m - 1); rest; rest &= rest - 1) all = combine(all, *in[std::countr_zero(rest)]);
    for (unsigned rest = m; rest; rest &= rest - 1) *out[std::countr_zero(rest)] = all;
  });
}

}  // namespace cuda_emulation

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, CUDA_EMULATION_SITE) {
  return cuda_emulation::shuffle("__shfl_sync", mask, value, source, width, site,
                                 [](int lane, int a, int w) { return (lane & ~(w - 1)) | (a & (w - 1)); });
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_EMULATION_SITE) {
  return cuda_emulation::shuffle("__shfl_up_sync", mask, value, delta, width, site,
                                 [](int lane, int a, int w) { return (lane & (w - 1)) >= a ? lane - a : lane; });
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_EMULATION_SITE) {
  return cuda_emulation::shuffle("__shfl_down_sync", mask, value, delta, width, site,
                                 [](int lane, int a, int w) { return (lane & (w - 1)) + a < w ? lane + a : lane; });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, CUDA_EMULATION_SITE) {
  return cuda_emulation::shuffle("__shfl_xor_sync", mask, value, bits, width, site, [](int lane, int a, int w) {
    return (lane ^ a) < (lane | (w - 1)) + 1 ? lane ^ a : lane;
  });
}

inline unsigned __ballot_sync(unsigned mask, int predicate, CUDA_EMULATION_SITE) {
  unsigned own = predicate ? 1u << (cuda_emulation::current->number & 31) : 0;
  return cuda_emulation::warp_reduce("__ballot_sync", mask, own, site, [](unsigned a, unsigned b) { return a | b; });
}
inline int __any_sync(unsigned mask, int predicate, CUDA_EMULATION_SITE) {
  return cuda_emulation::warp_reduce("__any_sync", mask, int(predicate != 0), site, [](int a, int b) { return a | b; });
}
inline int __all_sync(unsigned mask, int predicate, CUDA_EMULATION_SITE) {
  return cuda_emulation::warp_reduce("__all_sync", mask, int(predicate != 0), site, [](int a, int b) { return a & b; });
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, CUDA_EMULATION_SITE) {
  return cuda_emulation::warp_collective<unsigned>(
      "__match_any_sync", mask, site, value, [](T** in, unsigned** out, unsigned m) {
        for (int a = 0; a < 32; ++a)
          for (int b = 0; b < 32; ++b)
            if ((m >> a & 1) && (m >> b & 1) && !std::memcmp(in[a], in[b], sizeof(T))) *out[a] |= 1u << b;
      });
}

#define CUDA_EMULATION_REDUCE(name, T, expression)                                                          \
  inline T name(unsigned mask, T value, CUDA_EMULATION_SITE) {                                              \
    return cuda_emulation::warp_reduce(#name, mask, value, site, [](T a, T b) -> T { return expression; }); \
  }
CUDA_EMULATION_REDUCE(__reduce_add_sync, unsigned, a + b)
CUDA_EMULATION_REDUCE(__reduce_add_sync, int, int(unsigned(a) + unsigned(b)))
CUDA_EMULATION_REDUCE(__reduce_min_sync, unsigned, std::min(a, b))
CUDA_EMULATION_REDUCE(__reduce_min_sync, int, std::min(a, b))
CUDA_EMULATION_REDUCE(__reduce_max_sync, unsigned, std::max(a, b))
CUDA_EMULATION_REDUCE(__reduce_max_sync, int, std::max(a, b))
CUDA_EMULATION_REDUCE(__reduce_and_sync, unsigned, a& b)
CUDA_EMULATION_REDUCE(__reduce_or_sync, unsigned, a | b)
CUDA_EMULATION_REDUCE(__reduce_xor_sync, unsigned, a ^ b)
#undef CUDA_EMULATION_REDUCE
