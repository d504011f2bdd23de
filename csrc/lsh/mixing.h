// SPDX-License-Identifier: Apache-2.0
// The finishers of MurmurHash3 (Appleby, public domain): bijections that mix all bits. For the CPU and the CUDA kernels
// alike; in an unnamed namespace, so that no instruction set's file carries the code of another's flags.
#pragma once

#include <cstdint>

namespace warphash::lsh {
namespace {

constexpr uint32_t fmix32(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x85EBCA6B;
  x = (x ^ (x >> 13)) * 0xC2B2AE35;
  return x ^ (x >> 16);
}

constexpr uint64_t fmix64(uint64_t x) {
  x = (x ^ (x >> 33)) * 0xFF51AFD7ED558CCD;
  x = (x ^ (x >> 33)) * 0xC4CEB9FE1A85EC53;
  return x ^ (x >> 33);
}

}  // namespace
}  // namespace warphash::lsh
