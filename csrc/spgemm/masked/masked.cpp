// SPDX-License-Identifier: Apache-2.0
// The product of two patterns where a mask has entries too. Bound: a sum and a mark written for each product, in the cache
// while a row of them fits it.
//
// Which of the mask's entries are hit is known only when a row is done, so that rows are written into memory of the mask's
// size, without gaps within a block of rows, and copied once their places are known.
#include "spgemm/masked/masked.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "spgemm/inspect/inspect.h"
#include "spgemm/numeric/numeric_driver.h"

namespace warphash::spgemm {
namespace {

MaskedRows kernel_for(Isa isa, const MaskedJob& job) {
  require(isa);
  return job.a_values == nullptr ? masked_pattern_rows_scalar() : masked_rows_scalar(job.type, job.semiring);
}

}  // namespace

Masked::Masked(Isa isa, const MaskedJob& job)
    : job_(job),
      counts_(job.mask.rows * int64_t{sizeof(int64_t)}),
      col_(job.mask.entries * int64_t{sizeof(int32_t)}, true),
      values_(job.a_values == nullptr ? 0 : job.mask.entries * bytes_of(job.type), true) {
  const MaskedRows rows = kernel_for(isa, job);
  check_bounds(isa, job.a, "a");
  check_bounds(isa, job.b, "b");
  check_pointers(job.mask, "the mask");
  const MaskedOut out = {counts_.as<int64_t>(), col_.as<int32_t>(), values_.data()};
  FirstRow broken;
  std::mutex mutex;
  for_row_blocks({job.a.crow, job.mask.crow, job.mask.rows}, [&](auto& next) {
    const DenseRow<uint8_t> hits(job.mask.columns, 0);
    std::vector<MaskedPiece> own;
    const auto work = [&](void* sums) {
      for (MaskedPiece piece = {}; next(piece.begin, piece.end);) {
        broken.keep(rows(job, out, piece, sums, hits.column_0()));
        own.push_back(piece);
      }
    };
    if (job.a_values == nullptr) {
      work(nullptr);
    } else {
      with_ring(job.type, job.semiring, [&]<class Stored, class Sum, class Ring>() {
        const DenseRow<Sum> sums(job.mask.columns, Ring::zero());
        work(sums.column_0());
      });
    }
    const std::lock_guard lock(mutex);
    pieces_.insert(pieces_.end(), own.begin(), own.end());
  });
  broken.refuse(job.mask, "the mask", 0);
  for (const MaskedPiece& piece : pieces_) entries_ += piece.entries;
}

template <class Index>
void Masked::write_as(Index* crow, Index* col, void* values) const {
  const int64_t* counts = counts_.as<int64_t>();
  int64_t sum = 0;
  for (int64_t row = 0; row < job_.mask.rows; ++row) {
    crow[row] = static_cast<Index>(sum);
    sum += counts[row];
  }
  crow[job_.mask.rows] = static_cast<Index>(sum);
  const int64_t width = bytes_of(job_.type);
  parallel_tasks_if(pieces_.size() > 1, static_cast<int64_t>(pieces_.size()), [&](int64_t task) {
    const MaskedPiece& piece = pieces_[task];
    if (piece.entries == 0) return;
    const int64_t from = job_.mask.crow[piece.begin], to = crow[piece.begin];
    std::copy_n(col_.as<int32_t>() + from, piece.entries, col + to);
    if (job_.a_values != nullptr)
      std::memcpy(static_cast<std::byte*>(values) + to * width, values_.data() + from * width, piece.entries * width);
  });
}
template void Masked::write_as(int32_t*, int32_t*, void*) const;
template void Masked::write_as(int64_t*, int64_t*, void*) const;

}  // namespace warphash::spgemm
