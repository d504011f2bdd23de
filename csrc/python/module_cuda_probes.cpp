// SPDX-License-Identifier: Apache-2.0
// _C_cuda's probes: the device's limits for Python, each timed by events after a call that warms up. A call takes some
// milliseconds and releases the GIL.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "common/probes_cuda.cuh"
#include "python/device_memory.h"

namespace py = pybind11;

namespace warphash {
namespace {

// Median seconds of one call on the default stream, after one to warm up.
double median_seconds(const std::function<cudaError_t()>& call, int repeats) {
  struct Event {
    cudaEvent_t event;
    Event() { check(cudaEventCreate(&event)); }
    ~Event() { cudaEventDestroy(event); }
  } begin, end;
  check(call());
  std::vector<float> milliseconds(static_cast<size_t>(repeats));
  for (float& time : milliseconds) {
    check(cudaEventRecord(begin.event, nullptr));
    check(call());
    check(cudaEventRecord(end.event, nullptr));
    check(cudaEventSynchronize(end.event));
    check(cudaEventElapsedTime(&time, begin.event, end.event));
  }
  std::nth_element(milliseconds.begin(), milliseconds.begin() + repeats / 2, milliseconds.end());
  return milliseconds[static_cast<size_t>(repeats / 2)] * 1e-3;
}

constexpr int repeats = 9;

// Bytes read and written a second, by a copy within device memory.
double copy_bandwidth(int64_t bytes) {
  bytes = bytes / 16 * 16;
  if (bytes <= 0) throw std::invalid_argument("bytes must be at least 16");
  Buffer from(static_cast<size_t>(bytes), nullptr), to(static_cast<size_t>(bytes), nullptr);
  check(cudaMemsetAsync(from.as<void>(), 0x5a, static_cast<size_t>(bytes), nullptr));
  const int count = multiprocessors();
  const double seconds =
      median_seconds([&] { return probe_copy(from.as<void>(), to.as<void>(), bytes, count, nullptr); }, repeats);
  return 2.0 * static_cast<double>(bytes) / seconds;
}

// Units of work a second of a probe that does work_a_round a block and round.
double rate(cudaError_t (*probe)(int, int, unsigned*, cudaStream_t), double work_a_round) {
  const int count = multiprocessors(), rounds = 4096;
  Buffer sink(static_cast<size_t>(count) * probe_threads * sizeof(unsigned), nullptr);
  const double seconds = median_seconds([&] { return probe(count, rounds, sink.as<unsigned>(), nullptr); }, repeats);
  return work_a_round * count * rounds / seconds;
}

constexpr double probe_warps = probe_threads / 32.0;

// Tables that random rows are read from, or added to.
int64_t checked_table(int64_t bytes) {
  if (bytes < 1024 || bytes > int64_t{1} << 33)
    throw std::invalid_argument("bytes: expected 1024 to 2^33, got " + std::to_string(bytes));
  return bytes / 64 * 64;
}

constexpr int table_rounds = 64;

using Gather = cudaError_t (*)(const void*, int64_t, int, int, unsigned*, cudaStream_t);

// Rows read a second, where `threads_a_row` threads read one together.
double gather_rate(Gather probe, int threads_a_row, int64_t bytes) {
  bytes = checked_table(bytes);
  const int count = multiprocessors();
  const Buffer table(static_cast<size_t>(bytes), nullptr);
  const Buffer sink(static_cast<size_t>(count) * probe_threads * sizeof(unsigned), nullptr);
  check(cudaMemsetAsync(table.as<void>(), 0x5a, static_cast<size_t>(bytes), nullptr));
  const double seconds = median_seconds(
      [&] { return probe(table.as<void>(), bytes, count, table_rounds, sink.as<unsigned>(), nullptr); }, repeats);
  return double{probe_threads} * probe_unroll * table_rounds * count / threads_a_row / seconds;
}

Addition addition_named(const std::string& name) {
  const std::pair<const char*, Addition> additions[] = {
      {"single", Addition::single}, {"pair", Addition::pair}, {"quad", Addition::quad}, {"halves", Addition::halves}};
  for (const auto& [known, addition] : additions)
    if (name == known) return addition;
  throw std::invalid_argument("addition must be single, pair, quad or halves, got " + name);
}

double row_update_rate(int64_t bytes, const std::string& name) {
  bytes = checked_table(bytes);
  const Addition addition = addition_named(name);
  const int count = multiprocessors();
  const Buffer table(static_cast<size_t>(bytes), nullptr);
  check(cudaMemsetAsync(table.as<void>(), 0, static_cast<size_t>(bytes), nullptr));
  const double seconds = median_seconds(
      [&] { return probe_add(addition, table.as<void>(), bytes, count, table_rounds, nullptr); }, repeats);
  return double{probe_threads} * probe_unroll * table_rounds * count / seconds;
}

double shared_count_rate() {
  constexpr int rounds = 256;
  const int count = multiprocessors();
  const Buffer counts(counted_words * sizeof(unsigned), nullptr);
  check(cudaMemsetAsync(counts.as<void>(), 0, counted_words * sizeof(unsigned), nullptr));
  const double seconds =
      median_seconds([&] { return probe_count(count, rounds, counts.as<unsigned>(), nullptr); }, repeats);
  return double{probe_threads} * probe_unroll * rounds * count / seconds;
}

// Columns of 32 entries that a warp adds at once differ.
std::vector<unsigned> columns_of_entries(size_t count, unsigned columns) {
  std::vector<unsigned> found(count), all(columns);
  std::iota(all.begin(), all.end(), 0u);
  std::mt19937 random(1);
  for (size_t first = 0; first < count; first += 32)
    for (unsigned i = 0; i < 32; ++i) {
      std::swap(all[i], all[i + random() % (columns - i)]);
      found[first + i] = all[i];
    }
  return found;
}

double accumulate_rate(int64_t bytes) {
  constexpr int warps = probe_threads / 32, rounds = 1024;
  constexpr int64_t least = int64_t{warps} * 32 * sizeof(float), most = 128 << 10;
  if (bytes < least || bytes > most)
    throw std::invalid_argument("bytes: expected " + std::to_string(least) + " to " + std::to_string(most) + ", got " +
                                std::to_string(bytes));
  constexpr size_t entries = size_t{1} << 18;
  const int count = multiprocessors(),
            sums_a_warp = static_cast<int>(bytes / static_cast<int64_t>(sizeof(float)) / warps);
  const std::vector<unsigned> host = columns_of_entries(entries, static_cast<unsigned>(sums_a_warp));
  const Buffer columns(entries * sizeof(unsigned), nullptr), values(entries * sizeof(float), nullptr);
  const Buffer totals(static_cast<size_t>(count) * sizeof(float), nullptr);
  check(cudaMemcpy(columns.as<void>(), host.data(), entries * sizeof(unsigned), cudaMemcpyHostToDevice));
  check(cudaMemsetAsync(values.as<void>(), 0, entries * sizeof(float), nullptr));
  const double seconds = median_seconds(
      [&] {
        return probe_accumulate(columns.as<unsigned>(), values.as<float>(), entries, sums_a_warp, count, rounds,
                                totals.as<float>(), nullptr);
      },
      repeats);
  return double{probe_threads} * rounds * count / seconds;
}

}  // namespace
}  // namespace warphash

void bind_device_probes(py::module_& module) {
  using namespace py::literals;
  using namespace warphash;
  module.def("copy_bandwidth", &copy_bandwidth, "bytes"_a = int64_t{1} << 30, py::call_guard<py::gil_scoped_release>(),
             "Bytes read and written a second by a copy of so many bytes in device memory.");
  module.def(
      "popc_rate", [] { return rate(probe_popc, probe_threads * probe_unroll); },
      py::call_guard<py::gil_scoped_release>(), "Popcounts of 32-bit words a second.");
  module.def(
      "mma_b1_rate", [] { return rate(probe_mma_b1, probe_warps * probe_unroll * 16 * 8 * 256); },
      py::call_guard<py::gil_scoped_release>(), "Pairs of bits a second by mma.sync m16n8k256.");
  module.def(
      "mma_s8_rate", [] { return rate(probe_mma_s8, probe_warps * probe_unroll * 16 * 8 * 32); },
      py::call_guard<py::gil_scoped_release>(), "Products of bytes a second by mma.sync m16n8k32.");
  module.def(
      "affine_min_rate", [] { return rate(probe_affine_min, double{probe_threads} * affine_unroll); },
      py::call_guard<py::gil_scoped_release>(), "32-bit a * x + b with a minimum over them, so many a second.");
  module.def(
      "shared_count_rate", [] { return shared_count_rate(); }, py::call_guard<py::gil_scoped_release>(),
      "Atomic increments a second of random words of 16 KiB of shared memory.");
  module.def(
      "row_gather_rate", [](int64_t bytes) { return gather_rate(probe_gather_rows, 1, bytes); }, "bytes"_a,
      py::call_guard<py::gil_scoped_release>(), "8-byte rows read a second at random places of a table of this size.");
  module.def(
      "gather_rate", [](int64_t bytes) { return gather_rate(probe_gather_lines, 4, bytes); }, "bytes"_a,
      py::call_guard<py::gil_scoped_release>(),
      "64-byte lines read a second at random places of one buffer of this size.");
  module.def(
      "row_update_rate", &row_update_rate, "bytes"_a, "addition"_a = "pair", py::call_guard<py::gil_scoped_release>(),
      "Additions a second at random places of a table of this size, that all multiprocessors share: of two floats by "
      "two instructions (single) or one (pair), of four (quad), of two float16 (halves).");
  module.def(
      "accumulate_rate", &accumulate_rate, "bytes"_a, py::call_guard<py::gil_scoped_release>(),
      "Products added a second to float32 sums of this size in shared memory at random places, flags set beside them.");
}
