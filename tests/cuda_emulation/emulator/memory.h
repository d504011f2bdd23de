// SPDX-License-Identifier: Apache-2.0
// Atomics, fences, and loads and stores with cache hints.
#pragma once
#include <type_traits>

#include "meeting.h"

namespace cuda_emulation {
template <class T, class Update>
T atomic(T* address, Update update) {
  yield_point();
  note_access(address, sizeof(T), true, true);
  Busy guard;
  T old = *address;
  *address = update(old);
  return old;
}
}  // namespace cuda_emulation

#define CUDA_EMULATION_ATOMIC(name, expression)                                     \
  template <class T>                                                                \
  T name(T* address, std::type_identity_t<T> value) {                               \
    return cuda_emulation::atomic(address, [=](T old) -> T { return expression; }); \
  }
CUDA_EMULATION_ATOMIC(atomicAdd, old + value)
CUDA_EMULATION_ATOMIC(atomicSub, old - value)
CUDA_EMULATION_ATOMIC(atomicMin, std::min(old, value))
CUDA_EMULATION_ATOMIC(atomicMax, std::max(old, value))
CUDA_EMULATION_ATOMIC(atomicAnd, old& value)
CUDA_EMULATION_ATOMIC(atomicOr, old | value)
CUDA_EMULATION_ATOMIC(atomicXor, old ^ value)
CUDA_EMULATION_ATOMIC(atomicExch, (void(old), value))
CUDA_EMULATION_ATOMIC(atomicInc, old >= value ? 0 : old + 1)
#undef CUDA_EMULATION_ATOMIC
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return cuda_emulation::atomic(address, [=](T old) { return old == expected ? value : old; });
}

inline void __threadfence() { cuda_emulation::fence(); }
inline void __threadfence_block() { __threadfence(); }
inline void __threadfence_system() { __threadfence(); }
inline void __nanosleep(unsigned) { cuda_emulation::yield_point(true); }
[[noreturn]] inline void __trap() {
  cuda_emulation::Busy guard;
  cuda_emulation::fail_here("__trap", "the kernel gave up");
}

#define CUDA_EMULATION_LOAD(name) \
  template <class T>              \
  T name(const T* address) {      \
    return *address;              \
  }
CUDA_EMULATION_LOAD(__ldg)
CUDA_EMULATION_LOAD(__ldcs)
CUDA_EMULATION_LOAD(__ldcg)
CUDA_EMULATION_LOAD(__ldca)
CUDA_EMULATION_LOAD(__ldlu)
#undef CUDA_EMULATION_LOAD
#define CUDA_EMULATION_STORE(name)                       \
  template <class T>                                     \
  void name(T* address, std::type_identity_t<T> value) { \
    *address = value;                                    \
  }
CUDA_EMULATION_STORE(__stcs)
CUDA_EMULATION_STORE(__stcg)
CUDA_EMULATION_STORE(__stwb)
#undef CUDA_EMULATION_STORE
