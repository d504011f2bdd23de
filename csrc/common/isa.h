// SPDX-License-Identifier: Apache-2.0
// Which instruction set the CPU kernels use: found once, lowered by the environment variable WARPHASH_ISA.
#pragma once

namespace warphash {

enum class Isa : int { scalar = 0, avx2 = 1, avx512 = 2, amx = 3 };

// scalar, avx2, avx512 or amx.
const char* isa_name(Isa isa);

// The best level of this machine: AVX2 means AVX2+FMA+F16C+POPCNT, AVX-512 means F+BW+DQ+VL+VPOPCNTDQ+VBMI2,
// AMX means AVX-512 and AMX-TILE+INT8 (kernels for AMX-BF16 ask for that besides). AMX is what the processor has; whether
// the kernel lets us is amx_permitted().
Isa machine_isa();

// The level in force. Throws std::runtime_error where WARPHASH_ISA names an unknown level or one that the machine lacks.
Isa chosen_isa();

// Throws std::runtime_error where the machine lacks a level that is asked for by name.
void require(Isa isa);

// Asks Linux once for the AMX tile state. An explicit WARPHASH_ISA=amx throws where it is refused.
bool amx_permitted();

}  // namespace warphash
