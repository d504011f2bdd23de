// SPDX-License-Identifier: Apache-2.0
#include "common/isa.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace warphash {
namespace {

constexpr const char* names[] = {"scalar", "avx2", "avx512", "amx"};

bool amx_in_cpuid() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  constexpr unsigned amx_tile = 1u << 24, amx_int8 = 1u << 25;
  if ((d & amx_tile) == 0 || (d & amx_int8) == 0) return false;
  // The operating system must save tile configuration and data (bits 17 and 18 of XCR0).
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (1u << 27)) == 0) return false;
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low >> 17 & 3) == 3;
}

Isa find_machine_isa() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("popcnt"))
    return Isa::scalar;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (1u << 29)) == 0) return Isa::scalar;  // F16C
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512vpopcntdq") || !__builtin_cpu_supports("avx512vbmi2"))
    return Isa::avx2;
  return amx_in_cpuid() ? Isa::amx : Isa::avx512;
}

const char* wanted() {
  const char* value = std::getenv("WARPHASH_ISA");
  return value != nullptr && *value != '\0' ? value : nullptr;
}

Isa find_chosen_isa() {
  const char* name = wanted();
  if (name == nullptr) return machine_isa();
  for (int level = 0; level < 4; ++level) {
    if (std::strcmp(name, names[level]) != 0) continue;
    if (static_cast<Isa>(level) <= machine_isa()) return static_cast<Isa>(level);
    throw std::runtime_error(std::string("WARPHASH_ISA=") + name + ": this machine has at most " +
                             isa_name(machine_isa()));
  }
  throw std::runtime_error(std::string("WARPHASH_ISA must be scalar, avx2, avx512 or amx, got '") + name + "'");
}

bool ask_for_amx() {
  constexpr long arch_req_xcomp_perm = 0x1023, tile_data = 18;
  bool granted = machine_isa() >= Isa::amx && syscall(SYS_arch_prctl, arch_req_xcomp_perm, tile_data) == 0;
  if (!granted && wanted() != nullptr && std::strcmp(wanted(), "amx") == 0)
    throw std::runtime_error("WARPHASH_ISA=amx: the operating system refuses the AMX tile state");
  return granted;
}

}  // namespace

const char* isa_name(Isa isa) { return names[static_cast<int>(isa)]; }

Isa machine_isa() {
  static const Isa isa = find_machine_isa();
  return isa;
}

Isa chosen_isa() {
  static const Isa isa = find_chosen_isa();
  return isa;
}

void require(Isa isa) {
  if (isa > machine_isa()) throw std::runtime_error(std::string("this machine has no ") + isa_name(isa));
}

bool amx_permitted() {
  static const bool granted = ask_for_amx();
  return granted;
}

}  // namespace warphash
