// SPDX-License-Identifier: Apache-2.0
// What every CUDA entry needs of torch: the tensor's device made current, its stream, its multiprocessors, checked calls.
#pragma once

#include <cuda_runtime_api.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>

#include <vector>

#include "common/checks.h"

namespace warphash {

// The message of a failed call names it; errors of earlier kernels show here too.
inline void check_cuda(cudaError_t error) { STD_CUDA_CHECK(error); }

// Makes the tensor's device the current one for as long as it lives.
class OnDevice {
 public:
  explicit OnDevice(const Tensor& tensor) : index_(tensor.get_device_index()), guard_(index_) {
    void* stream = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(index_, &stream));
    stream_ = static_cast<cudaStream_t>(stream);
  }

  cudaStream_t stream() const { return stream_; }

  int multiprocessors() const {
    int count = 0;
    check_cuda(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, index_));
    return count;
  }

  Tensor empty(const std::vector<int64_t>& shape, ScalarType type) const {
    return torch::stable::empty({shape.data(), shape.size()}, type, std::nullopt,
                                torch::stable::Device(torch::headeronly::DeviceType::CUDA, index_));
  }
  // Of the stream-ordered cache: it may be given up while kernels still use it.
  Tensor workspace(size_t bytes) const { return empty({static_cast<int64_t>(bytes)}, ScalarType::Byte); }

 private:
  int32_t index_;
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_ = nullptr;
};

inline void check_same_device(const Tensor& a, const char* a_name, const Tensor& b, const char* b_name) {
  STD_TORCH_CHECK(a.is_cuda() && b.is_cuda() && a.get_device_index() == b.get_device_index(), a_name, " and ", b_name,
                  " must be on the same CUDA device");
}

}  // namespace warphash
