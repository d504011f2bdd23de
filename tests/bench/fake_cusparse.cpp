// SPDX-License-Identifier: Apache-2.0
// Stands for cuSPARSE: the functions of an SpGEMM with the types of its documentation, on arrays in host memory. A call that
// comes too early, or whose arguments are not those of the first, is answered with status 3 (invalid value).
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <vector>

namespace {

constexpr int success = 0, invalid = 3;

struct Matrix {
  int64_t rows, columns, entries;
  void *offsets, *places, *values;
};

struct Description {
  int stage = 0;  // 1: work estimated, 2: memory estimated (ALG2, ALG3), 3: computed
  int algorithm = 0;
  std::vector<std::map<int32_t, float>> product;
};

constexpr size_t first_bytes = 48, second_bytes = 80, third_bytes = 24;

// A buffer is written to its end: one that is too small is found by the allocator or a sanitizer.
bool sized(size_t* size, void* buffer, size_t bytes) {
  if (buffer == nullptr) {
    *size = bytes;
    return true;
  }
  if (*size != bytes) return false;
  std::memset(buffer, 0xa5, bytes);
  return true;
}

bool plain(void* handle, int a, int b, const void* alpha, const void* beta, int type, int algorithm) {
  return handle != nullptr && a == 0 && b == 0 && *static_cast<const float*>(alpha) == 1.0f &&
         *static_cast<const float*>(beta) == 0.0f && type == 0 && algorithm >= 3 && algorithm <= 5;
}

}  // namespace

extern "C" {

int streams_set = 0;

int cusparseCreate(void** handle) { return *handle = new int(1), success; }
int cusparseDestroy(void* handle) { return delete static_cast<int*>(handle), success; }
int cusparseSetStream(void* handle, void* stream) {
  streams_set += stream == reinterpret_cast<void*>(0x123456789abcdef0);
  return handle == nullptr ? invalid : success;
}
int cusparseCreateCsr(void** matrix, int64_t rows, int64_t columns, int64_t entries, void* offsets, void* places,
                      void* values, int offset_type, int place_type, int base, int type) {
  if (offset_type != 2 || place_type != 2 || base != 0 || type != 0) return invalid;
  *matrix = new Matrix{rows, columns, entries, offsets, places, values};
  return success;
}
int cusparseDestroySpMat(void* matrix) { return delete static_cast<Matrix*>(matrix), success; }
int cusparseSpMatGetSize(void* matrix, int64_t* rows, int64_t* columns, int64_t* entries) {
  const Matrix& m = *static_cast<Matrix*>(matrix);
  *rows = m.rows, *columns = m.columns, *entries = m.entries;
  return success;
}
int cusparseCsrSetPointers(void* matrix, void* offsets, void* places, void* values) {
  Matrix& m = *static_cast<Matrix*>(matrix);
  m.offsets = offsets, m.places = places, m.values = values;
  return success;
}
int cusparseSpGEMM_createDescr(void** description) { return *description = new Description, success; }
int cusparseSpGEMM_destroyDescr(void* description) { return delete static_cast<Description*>(description), success; }

int cusparseSpGEMM_workEstimation(void* handle, int op_a, int op_b, const void* alpha, void*, void*, const void* beta,
                                  void*, int type, int algorithm, void* description, size_t* size, void* buffer) {
  Description& d = *static_cast<Description*>(description);
  if (!plain(handle, op_a, op_b, alpha, beta, type, algorithm) || !sized(size, buffer, first_bytes)) return invalid;
  if (buffer != nullptr) d.stage = 1, d.algorithm = algorithm;
  return success;
}
int cusparseSpGEMM_estimateMemory(void* handle, int op_a, int op_b, const void* alpha, void*, void*, const void* beta,
                                  void*, int type, int algorithm, void* description, float fraction, size_t* size,
                                  void* buffer, size_t* compute_size) {
  Description& d = *static_cast<Description*>(description);
  if (!plain(handle, op_a, op_b, alpha, beta, type, algorithm) || d.stage != 1 || d.algorithm != algorithm)
    return invalid;
  if (algorithm == 3 || fraction != 0.2f || !sized(size, buffer, third_bytes)) return invalid;
  if (buffer == nullptr) return success;
  *compute_size = second_bytes;
  d.stage = 2;
  return success;
}
int cusparseSpGEMM_compute(void* handle, int op_a, int op_b, const void* alpha, void* a, void* b, const void* beta,
                           void* c, int type, int algorithm, void* description, size_t* size, void* buffer) {
  Description& d = *static_cast<Description*>(description);
  if (!plain(handle, op_a, op_b, alpha, beta, type, algorithm) || d.stage != (algorithm == 3 ? 1 : 2)) return invalid;
  if (!sized(size, buffer, second_bytes)) return invalid;
  if (buffer == nullptr) return success;
  const Matrix &left = *static_cast<Matrix*>(a), &right = *static_cast<Matrix*>(b);
  const auto *left_offsets = static_cast<int32_t*>(left.offsets), *right_offsets = static_cast<int32_t*>(right.offsets);
  int64_t entries = 0;
  for (int64_t row = 0; row < left.rows; ++row) {
    auto& sums = d.product.emplace_back();
    for (int32_t i = left_offsets[row]; i < left_offsets[row + 1]; ++i) {
      const int32_t inner = static_cast<int32_t*>(left.places)[i];
      for (int32_t j = right_offsets[inner]; j < right_offsets[inner + 1]; ++j)
        sums[static_cast<int32_t*>(right.places)[j]] +=
            static_cast<float*>(left.values)[i] * static_cast<float*>(right.values)[j];
    }
    entries += static_cast<int64_t>(sums.size());
  }
  static_cast<Matrix*>(c)->entries = entries;
  d.stage = 3;
  return success;
}
int cusparseSpGEMM_copy(void* handle, int op_a, int op_b, const void* alpha, void*, void*, const void* beta, void* c,
                        int type, int algorithm, void* description) {
  Description& d = *static_cast<Description*>(description);
  if (!plain(handle, op_a, op_b, alpha, beta, type, algorithm) || d.stage != 3) return invalid;
  Matrix& out = *static_cast<Matrix*>(c);
  int32_t at = 0;
  static_cast<int32_t*>(out.offsets)[0] = 0;
  for (size_t row = 0; row < d.product.size(); ++row) {
    for (const auto& [column, value] : d.product[row]) {
      static_cast<int32_t*>(out.places)[at] = column;
      static_cast<float*>(out.values)[at++] = value;
    }
    static_cast<int32_t*>(out.offsets)[row + 1] = at;
  }
  return success;
}

}  // extern "C"
