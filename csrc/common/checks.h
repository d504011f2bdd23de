// SPDX-License-Identifier: Apache-2.0
// The last line of checks on stable tensors. Users meet the clear errors of functional.py before; these become RuntimeError.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "common/memory.h"

namespace warphash {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline Tensor empty_on_cpu(const std::vector<int64_t>& shape, ScalarType type) {
  const auto empty = [type](const std::vector<int64_t>& sizes) {
    return torch::stable::empty({sizes.data(), sizes.size()}, type, std::nullopt,
                                torch::stable::Device(torch::headeronly::DeviceType::CPU));
  };
  Tensor out = [&] {
    try {
      return empty(shape);
    } catch (const std::exception&) {
      std::string sizes;
      uint64_t bytes = empty({0}).element_size();
      for (int64_t size : shape)
        sizes += (sizes.empty() ? "" : ", ") + std::to_string(size), bytes *= static_cast<uint64_t>(size);
      throw NotEnoughMemory(bytes, "a result of shape [" + sizes + "]");
    }
  }();
  prefer_large_pages(out.mutable_data_ptr(), static_cast<size_t>(out.numel()) * out.element_size());
  return out;
}

// A matrix of bytes with contiguous rows.
inline Tensor checked_codes(const Tensor& codes, const char* name) {
  STD_TORCH_CHECK(codes.dim() == 2, name, " must be 2-D, got ", codes.dim(), "-D");
  STD_TORCH_CHECK(codes.scalar_type() == ScalarType::Byte, name, " must be uint8");
  return torch::stable::contiguous(codes);
}

inline void check_same_device(const Tensor& a, const char* a_name, const Tensor& b, const char* b_name) {
  STD_TORCH_CHECK(a.device() == b.device(), a_name, " and ", b_name, " must be on the same device");
}

}  // namespace warphash
