// SPDX-License-Identifier: Apache-2.0
// EMULATED_LAUNCHER(name, function) lets Python call a launcher, that is a function that takes numbers, pointers and a
// stream and returns cudaError_t. Its signature goes along, so that emulated.py converts and checks each argument:
//   i1 i2 i4 i8 u1 u2 u4 u8 f4 f8 b1   a number          stream   the (null) stream
//   *T                                 a pointer to T    *const T a pointer to read from
// where T may also be f2, bf2, any (void) or v<bytes>, a vector or another struct.
#pragma once
#include <tuple>

#include "runtime.h"

namespace cuda_emulation {

template <class T>
std::string signature_of() {
  using U = std::remove_cv_t<T>;
  std::string bytes;
  if constexpr (!std::is_void_v<U>) bytes = std::to_string(sizeof(U));
  if constexpr (std::is_same_v<U, cudaStream_t>)
    return "stream";
  else if constexpr (std::is_pointer_v<U>) {
    using Target = std::remove_pointer_t<U>;
    return (std::is_const_v<Target> ? "*const " : "*") + signature_of<Target>();
  } else if constexpr (std::is_void_v<U>)
    return "any";
  else if constexpr (std::is_same_v<U, __half>)
    return "f2";
  else if constexpr (std::is_same_v<U, __nv_bfloat16>)
    return "bf2";
  else if constexpr (std::is_same_v<U, bool>)
    return "b1";
  else if constexpr (std::is_floating_point_v<U>)
    return "f" + bytes;
  else if constexpr (std::is_integral_v<U>)
    return (std::is_signed_v<U> ? "i" : "u") + bytes;
  else if constexpr (std::is_enum_v<U>)
    return signature_of<std::underlying_type_t<U>>();
  else
    return "v" + bytes;
}

struct Launcher;
inline Launcher* first_launcher = nullptr;

struct Launcher {
  const char* name;
  std::string signature;  // of the parameters, separated by commas
  void (*function)();
  cudaError_t (*call)(void (*function)(), void* const* arguments);
  Launcher* next;

  template <class... Parameters>
  Launcher(const char* name, cudaError_t (*launcher)(Parameters...))
      : name(name), function(reinterpret_cast<void (*)()>(launcher)), next(first_launcher) {
    static_assert((!std::is_reference_v<Parameters> && ...), "take references apart in the room's emulated_<room>.cpp");
    ((signature += (signature.empty() ? "" : ",") + signature_of<Parameters>()), ...);
    call = [](void (*function)(), void* const* arguments) {
      return [&]<size_t... i>(std::index_sequence<i...>) {
        return reinterpret_cast<cudaError_t (*)(Parameters...)>(function)(*static_cast<Parameters*>(arguments[i])...);
      }(std::index_sequence_for<Parameters...>());
    };
    first_launcher = this;
  }

  static Launcher* find(const char* name) {
    Launcher* launcher = first_launcher;
    while (launcher && std::strcmp(launcher->name, name)) launcher = launcher->next;
    return launcher;
  }
};

}  // namespace cuda_emulation

#define CUDA_EMULATION_JOIN_NOW(a, b) a##b
#define CUDA_EMULATION_JOIN(a, b) CUDA_EMULATION_JOIN_NOW(a, b)
#define EMULATED_LAUNCHER(name, ...) \
  static const cuda_emulation::Launcher CUDA_EMULATION_JOIN(launcher_, __LINE__)(#name, __VA_ARGS__)

// What emulated.py calls.
#define CUDA_EMULATION_EXPORT extern "C" __attribute__((weak, visibility("default")))
CUDA_EMULATION_EXPORT void cuda_emulation_configure(uint64_t seed, unsigned resident_blocks) {
  cuda_emulation::Engine& engine = cuda_emulation::engine;
  engine.seed = seed, engine.resident_limit = resident_blocks, engine.first_launch = engine.launches;
}
CUDA_EMULATION_EXPORT const char* cuda_emulation_signature(const char* name) {  // null: no such launcher
  cuda_emulation::Launcher* launcher = cuda_emulation::Launcher::find(name);
  return launcher ? launcher->signature.c_str() : nullptr;
}
CUDA_EMULATION_EXPORT int cuda_emulation_call(const char* name, void* const* arguments) {
  cuda_emulation::engine.failure.clear();
  cuda_emulation::Launcher* launcher = cuda_emulation::Launcher::find(name);
  return launcher->call(launcher->function, arguments);
}
CUDA_EMULATION_EXPORT const char* cuda_emulation_message() { return cuda_emulation::engine.failure.c_str(); }
