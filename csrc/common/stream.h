// SPDX-License-Identifier: Apache-2.0
// What every CUDA entry needs of torch: the tensor's device made current, its stream, its multiprocessors, checked
// calls. In the CPU emulation (tests/cuda_emulation) the entries run on CPU tensors, so that they too are tested
// without a GPU.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>

#include <vector>

#include "common/checks.h"
#include "common/portable.h"

namespace warphash {

// Makes the tensor's device the current one for as long as it lives.
class OnDevice {
 public:
#if defined(WARPHASH_CUDA_EMULATION)
  static constexpr auto device_type = torch::headeronly::DeviceType::CPU;
  explicit OnDevice(const Tensor&) {}
#else
  static constexpr auto device_type = torch::headeronly::DeviceType::CUDA;
  explicit OnDevice(const Tensor& tensor) : index_(tensor.get_device_index()), guard_(index_) {
    void* stream = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(index_, &stream));
    stream_ = static_cast<cudaStream_t>(stream);
  }
#endif

  cudaStream_t stream() const { return stream_; }

  // Names the failed call's error; errors of earlier kernels show here too.
  static void check(cudaError_t error) {
#if defined(WARPHASH_CUDA_EMULATION)
    STD_TORCH_CHECK(error == cudaSuccess, cudaGetErrorString(error));
#else
    STD_CUDA_CHECK(error);
#endif
  }

  int multiprocessors() const {
    int count = 0;
    check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, index_));
    return count;
  }

  Tensor empty(const std::vector<int64_t>& shape, ScalarType type) const {
    return torch::stable::empty({shape.data(), shape.size()}, type, std::nullopt,
                                torch::stable::Device(device_type, index_));
  }
  // A number that kernels write, once they have: waits for the stream.
  int64_t read(const int64_t* number) const {
    int64_t value = 0;
    check(cudaMemcpyAsync(&value, number, sizeof value, cudaMemcpyDeviceToHost, stream_));
    check(cudaStreamSynchronize(stream_));
    return value;
  }
  // From the stream-ordered cache: it may be given up while kernels still use it.
  Tensor workspace(size_t bytes) const { return empty({static_cast<int64_t>(bytes)}, ScalarType::Byte); }

 private:
  int32_t index_ = 0;
#if !defined(WARPHASH_CUDA_EMULATION)
  torch::stable::accelerator::DeviceGuard guard_;
#endif
  cudaStream_t stream_ = nullptr;
};

}  // namespace warphash
