// SPDX-License-Identifier: Apache-2.0
// Bound: memory. Squares of points and components are turned by the kernels.
#include "hashgrid/hashgrid_layout.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <new>

#include "common/memory.h"

namespace warphash::hashgrid {
namespace {

// Points are split, and rows turned, in strips, so that both sides of a strip stay in the L1 cache.
constexpr int64_t strip = 64;

template <class Real>
void turn_rows(const Kernels<Real>& kernels, const Real* rows, int64_t count, int components, Real* planes,
               int64_t stride) {
  const Real* in[strip];
  for (int64_t i = 0; i < count; ++i) in[i] = rows + i * components;
  kernels.turn(in, count, components, planes, stride);
}

void half_to_planes(const Kernels<float>& kernels, TableType type, const uint16_t* rows, int64_t count, int components,
                    float* planes, int64_t stride) {
  std::vector<float> wide(static_cast<size_t>(strip * components));
  for (int64_t first = 0; first < count; first += strip) {
    const int64_t here = std::min(strip, count - first);
    kernels.widen(type, rows + first * components, here * components, wide.data());
    turn_rows(kernels, wide.data(), here, components, planes + first, stride);
  }
}
void narrow(const Kernels<float>& kernels, TableType type, const float* from, int64_t count, uint16_t* to) {
  kernels.narrow(type, from, count, to);
}
// float64 has no half types.
void half_to_planes(const Kernels<double>&, TableType, const uint16_t*, int64_t, int, double*, int64_t) {}
void narrow(const Kernels<double>&, TableType, const double*, int64_t, uint16_t*) {}

bool is_half(TableType type) { return type == TableType::f16 || type == TableType::bf16; }

// Up to whole vectors.
template <class Real>
void clear_padding(int64_t count, int components, Real* planes, int64_t stride) {
  const int64_t end = (count + most_lanes - 1) / most_lanes * most_lanes;
  for (int c = 0; c < components; ++c) std::fill(planes + c * stride + count, planes + c * stride + end, Real(0));
}

}  // namespace

void read_ahead(const void* memory, int64_t bytes) {
  const char* from = static_cast<const char*>(memory);
  for (int64_t at = 0; at < bytes; at += 64) {
    char one = from[at];
    asm volatile("" ::"r"(one));  // a prefetch would be dropped where the memory's queue is full
  }
}

template <class Real>
Buffer<Real>::Buffer(int64_t count) {
  constexpr size_t large = size_t{2} << 20;
  size_t bytes = std::max<size_t>(64, static_cast<size_t>(count) * sizeof(Real));
  const size_t alignment = bytes >= large ? large : 64;
  bytes = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, bytes);
  if (memory == nullptr) throw std::bad_alloc();
  if (alignment == large) prefer_large_pages(memory, bytes);
  memory_.reset(static_cast<Real*>(memory));
}
template <class Real>
void Buffer<Real>::Free::operator()(Real* memory) const {
  std::free(memory);
}

template <class Real>
void split_points(const Real* x, int64_t count, int dims, Real largest, Real* planes, int64_t stride,
                  std::vector<int64_t>& unusable) {
  for (int64_t first = 0; first < count; first += strip) {
    const int64_t here = std::min(strip, count - first);
    bool all_usable = true;
    for (int axis = 0; axis < dims; ++axis) {
      Real* to = planes + axis * stride + first;
      const Real* from = x + first * dims + axis;
      bool usable = true;
      for (int64_t i = 0; i < here; ++i) {
        to[i] = from[i * dims];
        usable &= std::fabs(to[i]) <= largest;
      }
      all_usable &= usable;
    }
    if (all_usable) continue;
    for (int64_t i = first; i < first + here; ++i) {
      bool usable = true;
      for (int axis = 0; axis < dims; ++axis) usable &= std::fabs(planes[axis * stride + i]) <= largest;
      if (usable) continue;
      unusable.push_back(i);
      for (int axis = 0; axis < dims; ++axis) planes[axis * stride + i] = 0;
    }
  }
  clear_padding(count, dims, planes, stride);
}

template <class Real>
void split_rows(const Kernels<Real>& kernels, TableType type, const void* rows, int64_t count, int components,
                Real* planes, int64_t stride) {
  if (is_half(type)) {
    half_to_planes(kernels, type, static_cast<const uint16_t*>(rows), count, components, planes, stride);
  } else {
    for (int64_t first = 0; first < count; first += strip)
      turn_rows(kernels, static_cast<const Real*>(rows) + first * components, std::min(strip, count - first),
                components, planes + first, stride);
  }
  clear_padding(count, components, planes, stride);
}

template <class Real>
void join_rows(const Kernels<Real>& kernels, TableType type, const Real* const* planes, int64_t count, int components,
               void* rows) {
  alignas(64) static constexpr Real zeros[strip] = {};
  std::vector<const Real*> in(static_cast<size_t>(components));
  std::vector<Real> wide(is_half(type) ? static_cast<size_t>(strip * components) : 0);
  for (int64_t first = 0; first < count; first += strip) {
    const int64_t here = std::min(strip, count - first);
    for (int c = 0; c < components; ++c) in[static_cast<size_t>(c)] = planes[c] == nullptr ? zeros : planes[c] + first;
    Real* out = is_half(type) ? wide.data() : static_cast<Real*>(rows) + first * components;
    kernels.turn(in.data(), components, here, out, components);
    if (is_half(type)) narrow(kernels, type, out, here * components, static_cast<uint16_t*>(rows) + first * components);
  }
}

#define INSTANTIATE(Real)                                                                               \
  template class Buffer<Real>;                                                                          \
  template void split_points(const Real*, int64_t, int, Real, Real*, int64_t, std::vector<int64_t>&);   \
  template void split_rows(const Kernels<Real>&, TableType, const void*, int64_t, int, Real*, int64_t); \
  template void join_rows(const Kernels<Real>&, TableType, const Real* const*, int64_t, int, void*)
INSTANTIATE(float);
INSTANTIATE(double);
#undef INSTANTIATE

}  // namespace warphash::hashgrid
