// SPDX-License-Identifier: Apache-2.0
// pybind11 module _C_cuda: carries the CUDA entries' registrars, tells what was built, measures the device's limits,
// and lets a bench call a top-k by a named algorithm. Loaded only beside a CUDA torch.
#include <cuda_runtime_api.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "common/probes_cuda.cuh"
#include "hamming/hamming.cuh"

namespace py = pybind11;

namespace {

using warphash::hamming::Algorithm;
using warphash::hamming::Metric;

void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

// Stream-ordered device memory of a call.
class Buffer {
 public:
  Buffer(size_t bytes, cudaStream_t stream) : stream_(stream) {
    check(cudaMallocAsync(&data_, std::max<size_t>(bytes, 1), stream));
  }
  ~Buffer() { cudaFreeAsync(data_, stream_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  cudaStream_t stream_;
};

int multiprocessors() {
  int device = 0, count = 0;
  check(cudaGetDevice(&device));
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

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
  const double seconds = median_seconds(
      [&] { return warphash::probe_copy(from.as<void>(), to.as<void>(), bytes, count, nullptr); }, repeats);
  return 2.0 * static_cast<double>(bytes) / seconds;
}

// Units of work a second of a probe that does work_a_round a block and round.
double rate(cudaError_t (*probe)(int, int, unsigned*, cudaStream_t), double work_a_round) {
  const int count = multiprocessors(), rounds = 4096;
  Buffer sink(static_cast<size_t>(count) * warphash::probe_threads * sizeof(unsigned), nullptr);
  const double seconds = median_seconds([&] { return probe(count, rounds, sink.as<unsigned>(), nullptr); }, repeats);
  return work_a_round * count * rounds / seconds;
}

constexpr double probe_warps = warphash::probe_threads / 32.0;

Metric metric_named(const std::string& name) {
  const std::pair<const char*, Metric> metrics[] = {
      {"distance", Metric::distance}, {"jaccard", Metric::jaccard}, {"score", Metric::score}};
  for (const auto& [known, metric] : metrics)
    if (name == known) return metric;
  throw std::invalid_argument("metric must be distance, jaccard or score, got " + name);
}

Algorithm algorithm_named(const std::string& name) {
  const std::pair<const char*, Algorithm> algorithms[] = {
      {"automatic", Algorithm::automatic}, {"stream", Algorithm::stream}, {"tile", Algorithm::tile},
      {"mma_b1", Algorithm::mma_b1},       {"mma_s8", Algorithm::mma_s8}, {"wgmma_b1", Algorithm::wgmma_b1},
      {"wgmma_s8", Algorithm::wgmma_s8}};
  for (const auto& [known, algorithm] : algorithms)
    if (name == known) return algorithm;
  throw std::invalid_argument("algorithm must be automatic, stream, tile, mma_b1, mma_s8, wgmma_b1 or wgmma_s8, got " +
                              name);
}

// Pointers are addresses in the current device's memory; queries hold floats for the metric "score".
void hamming_topk(const std::string& metric, const std::string& algorithm, uintptr_t queries, int64_t query_count,
                  uintptr_t database, int64_t database_count, int64_t bytes, int64_t k, uintptr_t values,
                  uintptr_t indices, uintptr_t stream) {
  const Metric m = metric_named(metric);
  const Algorithm a = algorithm_named(algorithm);
  warphash::hamming::Problem problem{};
  problem.queries = reinterpret_cast<const uint8_t*>(queries);
  problem.weights = reinterpret_cast<const float*>(queries);
  problem.query_count = query_count;
  problem.database = reinterpret_cast<const uint8_t*>(database);
  problem.database_count = database_count;
  problem.bytes = bytes;
  const cudaStream_t on = reinterpret_cast<cudaStream_t>(stream);
  const int count = multiprocessors();
  const Buffer workspace(warphash::hamming::topk_workspace(m, problem, k, a, count), on);
  check(warphash::hamming::topk(m, problem, k, a, count, workspace.as<void>(), reinterpret_cast<void*>(values),
                                reinterpret_cast<int64_t*>(indices), on));
}

}  // namespace

PYBIND11_MODULE(_C_cuda, module) {
  using namespace py::literals;
  module.doc() = "CUDA half of warphash: operators, device probes, a top-k by named algorithm.";
  module.def("build_info", [] {
    py::dict info;
    int runtime = 0;
    check(cudaRuntimeGetVersion(&runtime));
    info["nvcc"] = WARPHASH_NVCC;
    info["architectures"] = WARPHASH_CUDA_ARCHITECTURES;
    info["cuda_runtime"] = std::to_string(runtime / 1000) + "." + std::to_string(runtime % 1000 / 10);
    return info;
  });
  module.def("copy_bandwidth", &copy_bandwidth, "bytes"_a = int64_t{1} << 30, py::call_guard<py::gil_scoped_release>(),
             "Bytes read and written a second by a copy of so many bytes in device memory.");
  module.def(
      "popc_rate", [] { return rate(warphash::probe_popc, warphash::probe_threads * warphash::probe_unroll); },
      py::call_guard<py::gil_scoped_release>(), "Popcounts of 32-bit words a second.");
  module.def(
      "mma_b1_rate", [] { return rate(warphash::probe_mma_b1, probe_warps * warphash::probe_unroll * 16 * 8 * 256); },
      py::call_guard<py::gil_scoped_release>(), "Pairs of bits a second by mma.sync m16n8k256.");
  module.def(
      "mma_s8_rate", [] { return rate(warphash::probe_mma_s8, probe_warps * warphash::probe_unroll * 16 * 8 * 32); },
      py::call_guard<py::gil_scoped_release>(), "Products of bytes a second by mma.sync m16n8k32.");
  module.def("hamming_topk", &hamming_topk, "metric"_a, "algorithm"_a, "queries"_a, "query_count"_a, "database"_a,
             "database_count"_a, "bytes"_a, "k"_a, "values"_a, "indices"_a, "stream"_a = 0,
             py::call_guard<py::gil_scoped_release>(),
             "Top-k for k <= 256 by the named algorithm; pointers as integers, all in the current device's memory.");
}
