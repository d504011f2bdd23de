// SPDX-License-Identifier: Apache-2.0
// pybind11 module _C_cuda: carries the CUDA entries' registrars, tells what was built, measures the device's limits
// (module_cuda_probes.cpp), and lets a bench call a top-k by a named algorithm. Loaded only beside a CUDA torch.
#include <cuda_runtime_api.h>
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "hamming/hamming.cuh"
#include "python/device_memory.h"

namespace py = pybind11;

namespace {

using warphash::Buffer;
using warphash::check;
using warphash::multiprocessors;
using warphash::hamming::Algorithm;
using warphash::hamming::Metric;

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
  bind_device_probes(module);
  module.def("hamming_topk", &hamming_topk, "metric"_a, "algorithm"_a, "queries"_a, "query_count"_a, "database"_a,
             "database_count"_a, "bytes"_a, "k"_a, "values"_a, "indices"_a, "stream"_a = 0,
             py::call_guard<py::gil_scoped_release>(),
             "Top-k for k <= 256 by the named algorithm; pointers as integers, all in the current device's memory.");
}
