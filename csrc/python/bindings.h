// SPDX-License-Identifier: Apache-2.0
// The parts of the module _C, one file each.
#pragma once

#include <pybind11/pybind11.h>

void bind_probes(pybind11::module_& module);
void bind_hamming(pybind11::module_& module);
