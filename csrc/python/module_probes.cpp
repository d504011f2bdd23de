// SPDX-License-Identifier: Apache-2.0
// _C.probes: the machine's limits for Python. Each call takes about a tenth of a second and releases the GIL.
#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "common/probes.h"
#include "python/bindings.h"

namespace py = pybind11;
namespace probes = warphash::probes;

namespace {

int checked_threads(int threads) {
  const int most = probes::most_threads();
  if (threads < 1 || threads > most)
    throw py::value_error("threads: expected 1 to " + std::to_string(most) + ", got " + std::to_string(threads));
  return threads;
}

size_t checked_bytes(int64_t bytes) {
  if (bytes < 1024) throw py::value_error("bytes: expected at least 1024, got " + std::to_string(bytes));
  return static_cast<size_t>(bytes);
}

template <class Probe>
py::object rate_or_none(Probe&& probe) {
  double rate = probes::absent;
  {
    py::gil_scoped_release released;
    rate = probe();
  }
  if (rate < 0) return py::none();
  return py::float_(rate);
}

void bind_unit(py::module_& module, const char* name, probes::Unit unit, const char* text) {
  module.def(
      name,
      [unit](int threads) {
        checked_threads(threads);
        return rate_or_none([&] { return probes::unit_rate(unit, threads); });
      },
      py::arg("threads") = 1, text);
}

void bind_memory(py::module_& module, const char* name, double (*probe)(size_t, int), const char* text) {
  module.def(
      name,
      [probe](int64_t bytes, int threads) {
        const size_t size = checked_bytes(bytes);
        checked_threads(threads);
        return rate_or_none([&] { return probe(size, threads); });
      },
      py::arg("bytes"), py::arg("threads") = 1, text);
}

}  // namespace

void bind_probes(py::module_& module) {
  using probes::Unit;
  py::module_ sub = module.def_submodule("probes", "Measured limits of this machine; None where it lacks the unit.");
  sub.def("core_clock", [] { return rate_or_none(probes::core_clock); }, "Cycles a second of one core.");
  bind_memory(sub, "read_bandwidth", probes::read_bandwidth,
              "Bytes read a second from a buffer of this size, cut into one piece a thread.");
  bind_memory(sub, "write_bandwidth", probes::write_bandwidth,
              "Bytes written a second to a buffer of this size, by the better of ordinary and cache-bypassing stores.");
  bind_memory(sub, "gather_rate", probes::gather_rate,
              "64-byte lines read a second at random places of one buffer of this size.");
  bind_memory(
      sub, "row_gather_rate", probes::row_gather_rate,
      "8-byte rows read a second at random places of one table of this size, by the best of loads and gathers.");
  bind_memory(sub, "row_update_rate", probes::row_update_rate,
              "Additions a second to 8-byte rows at random places; each thread has a table of this size.");
  bind_memory(sub, "touch_bandwidth", probes::touch_bandwidth,
              "Bytes a second of memory taken from the system with large pages, written once and given back.");
  bind_memory(sub, "accumulate_rate", probes::accumulate_rate,
              "Products added a second to float32 sums of this size at random places, flags set beside them.");
  bind_unit(sub, "popcount_portable", Unit::popcount_portable, "64-bit words counted a second, by shifts and masks.");
  bind_unit(sub, "popcount_word", Unit::popcount_word, "64-bit words counted a second by popcnt.");
  bind_unit(sub, "distance_avx2", Unit::distance_avx2, "64-bit words compared a second by AVX2 nibble tables.");
  bind_unit(sub, "popcount_avx512", Unit::popcount_avx512, "64-bit words counted a second by vpopcntq.");
  bind_unit(sub, "distance_word", Unit::distance_word, "64-bit words a second through xor, popcnt and add.");
  bind_unit(sub, "distance_avx512", Unit::distance_avx512,
            "64-bit words a second through vpxorq, vpopcntq and vpaddq.");
  bind_unit(sub, "multiply_add", Unit::multiply_add, "float32 multiply-adds a second.");
  bind_unit(sub, "affine_min", Unit::affine_min, "32-bit a * x + b with a minimum over them, so many a second.");
  bind_unit(sub, "int8_avx512", Unit::int8_avx512, "int8 multiply-adds a second by vpdpbusd.");
  bind_unit(sub, "int8_amx", Unit::int8_amx, "int8 multiply-adds a second by AMX tdpbssd.");
}
