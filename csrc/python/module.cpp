// SPDX-License-Identifier: Apache-2.0
// pybind11 module _C: carries the operators' registrars, tells what was built and what the machine can do.
#include <pybind11/pybind11.h>

#include "common/isa.h"
#include "python/bindings.h"

namespace py = pybind11;

PYBIND11_MODULE(_C, module) {
  using warphash::Isa;
  module.doc() = "CPU half of warphash: operators, machine probes, kernel entries.";
  // An environment variable that names no level of this machine must stop the import, not the first search.
  warphash::chosen_isa();
  module.def("build_info", [] {
    py::dict info;
    info["version"] = WARPHASH_VERSION;
    info["compiler"] = WARPHASH_COMPILER;
    info["target_torch"] = WARPHASH_TARGET_TORCH;
    info["sanitizers"] = WARPHASH_SANITIZE;
    return info;
  });
  module.def("cpu_features", [] {
    py::dict features;
    features["machine_isa"] = warphash::isa_name(warphash::machine_isa());
    features["isa"] = warphash::isa_name(warphash::chosen_isa());
    features["amx_permitted"] = warphash::chosen_isa() == Isa::amx && warphash::amx_permitted();
    return features;
  });
  bind_probes(module);
  bind_hamming(module);
}
