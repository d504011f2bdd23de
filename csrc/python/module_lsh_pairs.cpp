// SPDX-License-Identifier: Apache-2.0
// _C.kernels: pairs of the room lsh on NumPy arrays with the kernels of one instruction set, past torch.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "python/bindings.h"

namespace py = pybind11;

void bind_lsh_pairs(py::module_& module) { (void)module; }
