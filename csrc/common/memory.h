// SPDX-License-Identifier: Apache-2.0
// Large outputs in large pages: the first write to each small page costs more than the kernels that fill it.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace warphash {

// A wish; whether the system grants it changes no result.
inline void prefer_large_pages(void* memory, size_t bytes) {
  constexpr uintptr_t large_page = uintptr_t{2} << 20;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + large_page - 1) / large_page * large_page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) / large_page * large_page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

}  // namespace warphash
