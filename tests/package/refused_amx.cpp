// SPDX-License-Identifier: Apache-2.0
// The binding of the kernel entries on a machine whose processor has AMX and whose system refuses it: everything below
// the binding is replaced.
#include <pybind11/pybind11.h>

#include "common/isa.h"
#include "hamming/hamming_search.h"
#include "python/bindings.h"

namespace warphash {
const char* isa_name(Isa isa) {
  constexpr const char* names[] = {"scalar", "avx2", "avx512", "amx"};
  return names[static_cast<int>(isa)];
}
Isa machine_isa() { return Isa::amx; }
bool amx_permitted() { return false; }

namespace hamming {
Choice kernels_for(Isa) { return {nullptr, nullptr}; }
void topk(const Choice&, Metric, const Problem&, int64_t, void (*)(void*, int64_t, const Hit*, int64_t), void*) {}
void cdist(const Choice&, const Problem& problem, int32_t* out) {
  for (int64_t i = 0; i < problem.query_count * problem.database_count; ++i) out[i] = 7;
}
}  // namespace hamming
}  // namespace warphash

PYBIND11_MODULE(refused_amx, module) { bind_hamming(module); }
