// SPDX-License-Identifier: Apache-2.0
// pybind11 module _C: carries the operators' registrars, tells what was built and what the machine can do.
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>

#include "common/isa.h"
#include "common/memory.h"
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
  module.def(
      "prefer_large_pages",
      [](uintptr_t address, size_t bytes) { warphash::prefer_large_pages(reinterpret_cast<void*>(address), bytes); },
      py::arg("address"), py::arg("bytes"),
      "Wishes for large pages for memory of the caller's own, before it is first written; changes no result.");
  bind_probes(module);
  bind_hamming(module);
  bind_hashgrid(module);
  bind_lsh_projections(module);
  bind_lsh_sketches(module);
  bind_lsh_buckets(module);
  bind_lsh_pairs(module);
  bind_spgemm_numeric(module);
  bind_spgemm_topk(module);
  bind_spgemm_product(module);
}
