// SPDX-License-Identifier: Apache-2.0
// Bucket tables: a stable sort of codes, look-ups in it, sums of rows by bucket. Torch-free.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/isa.h"

namespace warphash::lsh {

// ---- Sorting --------------------------------------------------------------------------------------------------------

// codes [tables, items] of unsigned or signed integers of `bytes` bytes each; bytes = 1 means uint8.
struct Codes {
  const void* data;
  int bytes;
  int64_t tables, items;
  int64_t buckets;
};

// order, inverse [tables, items], offsets [tables, buckets + 1]. Throws std::out_of_range with the code where one is not in
// [0, buckets), std::bad_alloc where there is no memory for the tables in work: 4 bytes a bucket; 4 an item above 2^10
// buckets, 12 above 2^20.
void bucket_sort(const Codes& codes, int64_t* order, int64_t* inverse, int64_t* offsets);

// ---- Look-ups -------------------------------------------------------------------------------------------------------

struct Table {
  const int64_t* order;    // [tables, items]
  const int64_t* offsets;  // [tables, buckets + 1]
  int64_t tables, items, buckets;
};

// The distinct items, ascending, of a query's buckets in all tables, one list a block of queries; counts [queries]. codes
// [tables, queries]. Throws std::out_of_range where a code is not in [0, buckets), std::invalid_argument where offsets are
// not those of a table.
std::vector<std::vector<int64_t>> bucket_query(Isa isa, const Table& table, const int64_t* codes, int64_t queries,
                                               int64_t* counts);

// Ascending numbers of one bucket; place: where they go in a merge's room, a multiple of run_multiple.
struct Run {
  const int64_t* numbers;
  int64_t count, place;
};
constexpr int64_t run_multiple = 16;

// Of one instruction set: the distinct numbers of all runs, ascending, to room for run_multiple more than the runs have;
// how many; the runs are overwritten. from, to: aligned to 64 bytes, with room for the runs, each rounded up to
// run_multiple, and run_multiple more. -1, and the runs as they were, where a number is not in [0, 2^31 - 1).
int64_t merge_runs_avx2(Run* runs, int64_t count, int32_t* from, int32_t* to, int64_t* out);
int64_t merge_runs_avx512(Run* runs, int64_t count, int32_t* from, int32_t* to, int64_t* out);

// ---- Sums -----------------------------------------------------------------------------------------------------------

enum class ValueType { f16, bf16, f32, f64 };

// Sums over rows by bucket, and over tables by code; half types are summed in float32. In order of their index, so that
// the bits do not depend on threads or instruction sets. A negative code is left out.
struct Rows {
  ValueType type;
  int64_t batch, tables, buckets, width;
  int64_t codes_per_table;  // N of bucket_sum, C of bucket_gather_sum
  const void* codes;        // [batch, tables, codes_per_table]
  bool long_codes;          // int64, else int32
};

// values [batch, N, width] -> sums [batch, tables, buckets, width]. Both throw std::out_of_range for a code that is not
// below `buckets`.
void bucket_sum(Isa isa, const Rows& rows, const void* values, void* sums);
// table [batch, tables, buckets, width] -> sums [batch, C, width]
void bucket_gather_sum(Isa isa, const Rows& rows, const void* table, void* sums);

// Of one instruction set each: to[i] += from[i]; and to[i] = 0 + rows[0][i] + rows[1][i] + … in this order.
struct RowKernels {
  void (*add_f32)(const float* from, int64_t count, float* to);
  void (*add_f64)(const double* from, int64_t count, double* to);
  void (*add_f16)(const uint16_t* from, int64_t count, float* to);
  void (*add_bf16)(const uint16_t* from, int64_t count, float* to);
  void (*sum_f32)(const float* const* rows, int64_t count, int64_t width, float* to);
  void (*sum_f64)(const double* const* rows, int64_t count, int64_t width, double* to);
  void (*sum_f16)(const uint16_t* const* rows, int64_t count, int64_t width, float* to);
  void (*sum_bf16)(const uint16_t* const* rows, int64_t count, int64_t width, float* to);
};
const RowKernels& row_kernels_scalar();
const RowKernels& row_kernels_avx2();
const RowKernels& row_kernels_avx512();

}  // namespace warphash::lsh
