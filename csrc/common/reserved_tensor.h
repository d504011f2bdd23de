// SPDX-License-Identifier: Apache-2.0
// Tensors of reserved memory, whose size is known only when they have been written.
#pragma once

#include <dlfcn.h>

#include <cstdint>
#include <utility>

#include "common/checks.h"

namespace warphash {

// torch has it from 2.11 on; modules are to load on 2.10, too.
using FromBlob = AOTITorchError (*)(void* data, int64_t dims, const int64_t* sizes, const int64_t* strides,
                                    int64_t storage_offset, int32_t dtype, int32_t device_type, int32_t device_index,
                                    AtenTensorHandle* out, int32_t layout, const uint8_t* metadata,
                                    int64_t metadata_size, void (*deleter)(void* data, void* context), void* context);
inline FromBlob from_blob_of_torch() {
  static const FromBlob function = reinterpret_cast<FromBlob>(dlsym(RTLD_DEFAULT, "torch_from_blob"));
  return function;
}

// The first `entries` numbers of `bytes` each; the rest of what was reserved goes back. Not without from_blob_of_torch().
inline Tensor tensor_of(Reservation memory, int64_t entries, size_t bytes, ScalarType type) {
  const int32_t dtype = torch::stable::detail::to<int32_t>(torch::stable::detail::from(type));
  const int64_t stride = 1;
  AtenTensorHandle handle = nullptr;
  memory.keep(static_cast<size_t>(entries) * bytes);
  const auto unmap = [](void* data, void* size) { munmap(data, reinterpret_cast<size_t>(size)); };
  STABLE_TORCH_ERROR_CODE_CHECK(
      from_blob_of_torch()(memory.data(), 1, &entries, &stride, 0, dtype, aoti_torch_device_type_cpu(), -1, &handle,
                           aoti_torch_layout_strided(), nullptr, 0, unmap, reinterpret_cast<void*>(memory.size())));
  memory.release();
  return Tensor(handle);
}

}  // namespace warphash
