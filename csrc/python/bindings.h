// SPDX-License-Identifier: Apache-2.0
// The parts of the module _C, one file each, and what they share.
#pragma once

#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "common/isa.h"

// By its name, whether or not this machine has it.
inline warphash::Isa isa_named(const std::string& name) {
  for (int level = 0; level < 4; ++level)
    if (name == warphash::isa_name(static_cast<warphash::Isa>(level))) return static_cast<warphash::Isa>(level);
  throw pybind11::value_error("isa must be scalar, avx2, avx512 or amx, got '" + name + "'");
}

// The choice of kernels goes without AMX where Linux refuses it; who names it wants no other.
inline void require_tiles(warphash::Isa isa) {
  using namespace warphash;
  if (isa == Isa::amx && machine_isa() == Isa::amx && !amx_permitted())
    throw std::runtime_error("isa amx: the operating system refuses the AMX tile state");
}

void bind_probes(pybind11::module_& module);
// After this one the module has a submodule `kernels`, to which the others add.
void bind_hamming(pybind11::module_& module);
void bind_hashgrid(pybind11::module_& module);
void bind_lsh_projections(pybind11::module_& module);
void bind_lsh_sketches(pybind11::module_& module);
void bind_lsh_buckets(pybind11::module_& module);
void bind_lsh_pairs(pybind11::module_& module);
void bind_spgemm_numeric(pybind11::module_& module);
void bind_spgemm_topk(pybind11::module_& module);
void bind_spgemm_product(pybind11::module_& module);
