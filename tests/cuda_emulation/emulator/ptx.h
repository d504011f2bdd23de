// SPDX-License-Identifier: Apache-2.0
// Host models of the PTX behind csrc/common/portable.h.
#pragma once
#include <initializer_list>

#include "arithmetic.h"
#include "memory.h"

namespace cuda_emulation {

// ---- cp.async -------------------------------------------------------------------------------------------------------

// Copies land at the wait, or at once if the seed says so; a missing wait then shows under half of the seeds. races.h
// sees the write both at the issue and at the wait: whoever touches the place between the two without a barrier races.
inline void copy_async(void* to, const void* from, size_t bytes, size_t filled) {
  Busy guard;
  auto is_aligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  if (bytes > filled || !is_aligned(to) || !is_aligned(from))
    fail_here("cp.async", "moves 0 to 16 bytes between addresses that are multiples of 16");
  if (bytes) note_access(from, bytes, false, false);
  note_access(to, filled, true, false);
  current->copies.push_back({to, from, bytes, filled, current->copy_group});
  if (engine.eager_copies) std::memcpy(to, from, bytes), std::memset(static_cast<char*>(to) + bytes, 0, filled - bytes);
}
inline void copy_commit() {
  Busy guard;
  ++current->copy_group;
}
inline void copy_wait(unsigned pending_groups) {
  Busy guard;
  auto& copies = current->copies;
  auto landed = [&](const Copy& c) { return c.group + pending_groups < current->copy_group; };
  for (const Copy& c : copies)
    if (landed(c)) {
      note_access(c.to, c.filled, true, false);
      std::memcpy(c.to, c.from, c.bytes);
      std::memset(static_cast<char*>(c.to) + c.bytes, 0, c.filled - c.bytes);
    }
  std::erase_if(copies, landed);
}

// ---- cp.async.bulk from shared to global memory -----------------------------------------------------------------------

// Copies land at the wait, which reads the source only then, or at once, as the seed says. Whether the source has changed
// in between is checked under every seed.
inline void bulk_store(void* to, const void* from, size_t bytes) {
  Busy guard;
  auto address = [](const void* p) { return reinterpret_cast<uintptr_t>(p); };
  if (bytes == 0 || bytes % 16 || address(to) % 16 || address(from) % 16)
    fail_here("bulk copy", "moves a multiple of 16 bytes between addresses that are multiples of 16");
  if (address(from) - address(current->block->dynamic_shared) >= engine.dynamic_shared_bytes &&
      address(from) - address(__start_cuda_shared) >= static_shared_bytes())
    fail_here("bulk copy", "reads the block's own shared memory");
  note_access(from, bytes, false, false);
  check_proxy_fences(from, bytes);
  note_access(to, bytes, true, false);
  const char* source = static_cast<const char*>(from);
  current->bulk_copies.push_back({to, from, bytes, current->bulk_group, {source, source + bytes}});
  if (engine.eager_copies) std::memcpy(to, from, bytes);
}
inline void bulk_commit() {
  Busy guard;
  ++current->bulk_group;
}
inline void bulk_wait_read(unsigned pending_groups) {
  Busy guard;
  auto& copies = current->bulk_copies;
  auto landed = [&](const BulkCopy& c) { return c.group + pending_groups < current->bulk_group; };
  for (const BulkCopy& c : copies)
    if (landed(c)) {
      note_access(c.from, c.bytes, false, false);
      note_access(c.to, c.bytes, true, false);
      if (std::memcmp(c.from, c.source.data(), c.bytes))
        fail_here("bulk copy", "shared memory was written to before the wait for the copy from there");
      std::memcpy(c.to, c.from, c.bytes);
    }
  std::erase_if(copies, landed);
}
inline void fence_shared_for_async() {
  Busy guard;
  ++current->proxy_fences;
}

// ---- mapa -----------------------------------------------------------------------------------------------------------

// The place in a block of the cluster that `own` is in the caller's block.
inline void* peer_shared(const void* own, unsigned rank) {
  Busy guard;
  const Block& block = *current->block;
  const Cluster& cluster = *block.cluster;
  const size_t offset = static_cast<const char*>(own) - block.dynamic_shared;
  if (rank >= cluster.blocks.size())
    fail_here("peer_shared", "the cluster has " + std::to_string(cluster.blocks.size()) + " blocks, none of rank " +
                                 std::to_string(rank));
  if (offset >= engine.dynamic_shared_bytes)
    fail_here("peer_shared", "takes an address in the caller's dynamic shared memory");
  Block& peer = *cluster.blocks[rank];
  if (&peer != &block) {
    if (cluster.epoch == 0) fail_here("peer_shared", "the other block may not have begun: cluster_sync() comes before");
    if (peer.alive == 0) fail_here("peer_shared", "the other block has ended");
    peer.lent_in = cluster.epoch;
  }
  return peer.dynamic_shared + offset;
}

// ---- ld.acquire, st.release -----------------------------------------------------------------------------------------

inline unsigned load_acquire(const unsigned* address) {
  fence();
  yield_point(true);
  note_access(address, sizeof *address, false, true);
  Busy guard;
  return *address;
}
inline void store_release(unsigned* address, unsigned value) {
  yield_point();
  note_access(address, sizeof *address, true, true);
  Busy guard;
  *address = value;
}

// ---- ld.relaxed, st.relaxed -----------------------------------------------------------------------------------------

template <class T>
T load_relaxed(const T* address) {
  yield_point(true);
  note_access(address, sizeof *address, false, true);
  Busy guard;
  return *address;
}
template <class T>
void store_relaxed(T* address, std::type_identity_t<T> value) {
  yield_point();
  note_access(address, sizeof *address, true, true);
  Busy guard;
  *address = value;
}

// ---- red.v2.f32, red.v4.f32 -----------------------------------------------------------------------------------------

inline void atomic_add_group(float* address, std::initializer_list<float> values) {
  {
    Busy guard;
    if (reinterpret_cast<uintptr_t>(address) % (values.size() * sizeof(float)))
      fail_here("red", "adds to an address that is a multiple of the group's size");
  }
  for (float value : values) atomicAdd(address++, value);
}

// ---- red.f16x2 ------------------------------------------------------------------------------------------------------

inline void atomic_add_halves(unsigned* address, unsigned pair) {
  const auto sum = [](unsigned a, unsigned b) -> unsigned {
    const auto value = [](unsigned bits) { return static_cast<float>(std::bit_cast<_Float16>(uint16_t(bits))); };
    return std::bit_cast<uint16_t>(static_cast<_Float16>(value(a) + value(b)));  // exact before it is rounded
  };
  atomic(address, [=](unsigned old) { return sum(old, pair) | sum(old >> 16, pair >> 16) << 16; });
}

// ---- mma.sync -------------------------------------------------------------------------------------------------------

// What one register of a row of A and one of a column of B add to the sum.
inline int dot_s8(unsigned a, unsigned b) { return __dp4a(int(a), int(b), 0); }
inline int dot_u8_s8(unsigned a, unsigned b) {
  int sum = 0;
  for (int i = 0; i < 4; ++i) sum += uint8_t(a >> 8 * i) * int8_t(b >> 8 * i);
  return sum;
}
inline int dot_b1_and(unsigned a, unsigned b) { return __popc(a & b); }
// Sums of float64 round once at the end: the hardware promises no order and no more than float32 between.
inline double dot_bf16(unsigned a, unsigned b) {
  auto product = [](unsigned x, unsigned y) { return double(std::bit_cast<float>(x)) * std::bit_cast<float>(y); };
  return product(a << 16, b << 16) + product(a & 0xffff0000u, b & 0xffff0000u);
}
inline unsigned pack_bf16(float low, float high) {
  return unsigned(__float2bfloat16(high).bits) << 16 | __float2bfloat16(low).bits;
}

// portable.h says which register holds what.
template <class T, class Sum>
void mma_m16n8(const char* name, T (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const Site& site,
               Sum (*dot)(unsigned, unsigned)) {
  struct In {
    unsigned a[4], b[2];
    T c[4];
  };
  struct Out {
    T d[4];
  };
  In own;
  std::copy_n(a, 4, own.a), std::copy_n(b, 2, own.b), std::copy_n(d, 4, own.c);
  Out out = warp_collective<Out>(name, ~0u, site, own, [dot](In** in, Out** out, unsigned) {
    for (int row = 0; row < 16; ++row)
      for (int column = 0; column < 8; ++column) {
        int lane = row % 8 * 4 + column / 2, r = row / 8 * 2 + column % 2;
        Sum sum = in[lane]->c[r];
        for (int k = 0; k < 8; ++k)
          sum += dot(in[row % 8 * 4 + k % 4]->a[row / 8 + k / 4 * 2], in[column * 4 + k % 4]->b[k / 4]);
        out[lane]->d[r] = T(sum);
      }
  });
  std::copy_n(out.d, 4, d);
}

}  // namespace cuda_emulation
