// SPDX-License-Identifier: Apache-2.0
// Sums of rows by bucket, and of tables' rows by code. Bound: a row read from the second-level cache for each code, and by
// bucket a row of sums read and written there too.
//
// A few tables' sums stay in that cache while the values pass by in blocks that the first level keeps for all of them.
// Where there are fewer tables than threads, each thread takes a range of buckets and looks over all codes. A bucket is
// always summed by one thread in the order of the items, so the bits do not depend on how the work is cut.
#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "common/half.h"
#include "common/memory.h"
#include "common/parallel.h"
#include "lsh/buckets/buckets.h"

namespace warphash::lsh {
namespace {

constexpr int64_t cached_bytes = 256 << 10, block_items = 128, worth_threads = 1 << 15;

const RowKernels& kernels_for(Isa isa) {
  require(isa);
  switch (isa) {
    case Isa::scalar: return row_kernels_scalar();
    case Isa::avx2: return row_kernels_avx2();
    default: return row_kernels_avx512();
  }
}

// How values of a type are added up and written.
struct Float16 {
  using Value = uint16_t;
  using Sum = float;
  static constexpr auto add = &RowKernels::add_f16;
  static constexpr auto sum = &RowKernels::sum_f16;
  static Value round(Sum x) { return float16_of_float(x); }
};
struct Bfloat16 {
  using Value = uint16_t;
  using Sum = float;
  static constexpr auto add = &RowKernels::add_bf16;
  static constexpr auto sum = &RowKernels::sum_bf16;
  static Value round(Sum x) { return bfloat16_of_float(x); }
};
struct Float32 {
  using Value = float;
  using Sum = float;
  static constexpr auto add = &RowKernels::add_f32;
  static constexpr auto sum = &RowKernels::sum_f32;
};
struct Float64 {
  using Value = double;
  using Sum = double;
  static constexpr auto add = &RowKernels::add_f64;
  static constexpr auto sum = &RowKernels::sum_f64;
};

template <class Type, class Code>
class Sums {
 public:
  using Value = typename Type::Value;
  using Sum = typename Type::Sum;
  static constexpr bool rounded = !std::is_same_v<Value, Sum>;

  Sums(const Rows& rows, const RowKernels& kernels)
      : rows_(rows), codes_(static_cast<const Code*>(rows.codes)), add_(kernels.*Type::add), sum_(kernels.*Type::sum) {}

  void by_bucket(const Value* values, Value* out) {
    const int64_t table_bytes = std::max<int64_t>(1, rows_.buckets * rows_.width * int64_t{sizeof(Sum)});
    const int64_t threads = thread_count();
    int64_t group = std::clamp<int64_t>(cached_bytes / table_bytes, 1, std::max<int64_t>(1, rows_.tables));
    group = std::min(group, std::max<int64_t>(1, rows_.batch * rows_.tables / (2 * threads)));
    const int64_t groups = (rows_.tables + group - 1) / group;
    const int64_t ranges = std::clamp<int64_t>(threads / std::max<int64_t>(1, rows_.batch * groups), 1,
                                               std::max<int64_t>(1, rows_.buckets));
    const bool worth_it = rows_.batch * rows_.tables * rows_.codes_per_table * rows_.width > worth_threads;
    parallel_tasks_if(worth_it, rows_.batch * groups * ranges, [&](int64_t task) {
      const int64_t range = task % ranges, first_table = task / ranges % groups * group, batch = task / ranges / groups;
      const int64_t begin = rows_.buckets * range / ranges, end = rows_.buckets * (range + 1) / ranges;
      sum_tables(values, out, batch, first_table, std::min(rows_.tables, first_table + group), begin, end);
    });
  }

  void by_code(const Value* table, Value* out) {
    const int64_t blocks = (rows_.codes_per_table + block_items - 1) / block_items;
    const bool worth_it = rows_.batch * rows_.tables * rows_.codes_per_table * rows_.width > worth_threads;
    parallel_tasks_if(worth_it, rows_.batch * blocks,
                      [&](int64_t task) { gather(table, out, task / blocks, task % blocks * block_items); });
  }

 private:
  // Sums of tables [first, last) into buckets [begin, end).
  void sum_tables(const Value* values, Value* out, int64_t batch, int64_t first, int64_t last, int64_t begin,
                  int64_t end) {
    const int64_t width = rows_.width, per_table = rows_.buckets * width, items = rows_.codes_per_table;
    Value* to = out + (batch * rows_.tables + first) * per_table;
    AlignedBuffer wide(rounded ? static_cast<size_t>((last - first) * per_table) * sizeof(Sum) : 0);
    Sum* sums;
    if constexpr (rounded)
      sums = wide.as<Sum>();
    else
      sums = to;
    for (int64_t table = 0; table < last - first; ++table)
      std::fill_n(sums + table * per_table + begin * width, (end - begin) * width, Sum{0});
    values += batch * items * width;
    for (int64_t block = 0; block < items; block += block_items)
      for (int64_t table = first; table < last; ++table) {
        const Code* codes = codes_ + (batch * rows_.tables + table) * items;
        for (int64_t i = block; i < std::min(items, block + block_items); ++i) {
          const int64_t code = codes[i];
          if (code >= rows_.buckets) refuse(code);
          if (code >= begin && code < end)
            add_(values + i * width, width, sums + (table - first) * per_table + code * width);
        }
      }
    if constexpr (rounded)
      for (int64_t table = 0; table < last - first; ++table)
        for (int64_t i = table * per_table + begin * width; i < table * per_table + end * width; ++i)
          to[i] = Type::round(sums[i]);
  }

  void gather(const Value* table, Value* out, int64_t batch, int64_t first) {
    const int64_t width = rows_.width, last = std::min(rows_.codes_per_table, first + block_items);
    AlignedBuffer wide(rounded ? static_cast<size_t>(width) * sizeof(Sum) : 0);
    std::vector<const Value*> named(static_cast<size_t>(rows_.tables));
    for (int64_t i = first; i < last; ++i) {
      int64_t count = 0;
      for (int64_t t = 0; t < rows_.tables; ++t) {
        const int64_t row = batch * rows_.tables + t;
        const int64_t code = codes_[row * rows_.codes_per_table + i];
        if (code >= rows_.buckets) refuse(code);
        if (code >= 0) named[static_cast<size_t>(count++)] = table + (row * rows_.buckets + code) * width;
      }
      Value* to = out + (batch * rows_.codes_per_table + i) * width;
      if constexpr (rounded) {
        sum_(named.data(), count, width, wide.as<Sum>());
        for (int64_t j = 0; j < width; ++j) to[j] = Type::round(wide.as<Sum>()[j]);
      } else {
        sum_(named.data(), count, width, to);
      }
    }
  }

  [[noreturn]] void refuse(int64_t code) const {
    throw std::out_of_range("codes must be below " + std::to_string(rows_.buckets) + ", got " + std::to_string(code));
  }

  const Rows& rows_;
  const Code* codes_;
  void (*add_)(const Value*, int64_t, Sum*);
  void (*sum_)(const Value* const*, int64_t, int64_t, Sum*);
};

template <class Type>
void run(const Rows& rows, const RowKernels& kernels, bool by_bucket, const void* from, void* to) {
  using Value = typename Type::Value;
  const auto call = [&](auto sums) {
    if (by_bucket)
      sums->by_bucket(static_cast<const Value*>(from), static_cast<Value*>(to));
    else
      sums->by_code(static_cast<const Value*>(from), static_cast<Value*>(to));
  };
  if (rows.long_codes) {
    Sums<Type, int64_t> sums(rows, kernels);
    call(&sums);
  } else {
    Sums<Type, int32_t> sums(rows, kernels);
    call(&sums);
  }
}

void run(Isa isa, const Rows& rows, bool by_bucket, const void* from, void* to) {
  const RowKernels& kernels = kernels_for(isa);
  switch (rows.type) {
    case ValueType::f16: return run<Float16>(rows, kernels, by_bucket, from, to);
    case ValueType::bf16: return run<Bfloat16>(rows, kernels, by_bucket, from, to);
    case ValueType::f32: return run<Float32>(rows, kernels, by_bucket, from, to);
    case ValueType::f64: return run<Float64>(rows, kernels, by_bucket, from, to);
  }
}

}  // namespace

void bucket_sum(Isa isa, const Rows& rows, const void* values, void* sums) { run(isa, rows, true, values, sums); }
void bucket_gather_sum(Isa isa, const Rows& rows, const void* table, void* sums) { run(isa, rows, false, table, sums); }

}  // namespace warphash::lsh
