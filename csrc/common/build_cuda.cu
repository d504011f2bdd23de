// SPDX-License-Identifier: Apache-2.0
// What nvcc was, told by its own macros. Host code alone.
#include "common/probes_cuda.cuh"

#define TEXT_OF_NOW(...) #__VA_ARGS__
#define TEXT_OF(...) TEXT_OF_NOW(__VA_ARGS__)

namespace warphash {

const char* nvcc_version() { return TEXT_OF(__CUDACC_VER_MAJOR__) "." TEXT_OF(__CUDACC_VER_MINOR__); }
const char* nvcc_targets() { return TEXT_OF(__CUDA_ARCH_LIST__); }

}  // namespace warphash
