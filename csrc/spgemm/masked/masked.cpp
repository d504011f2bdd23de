// SPDX-License-Identifier: Apache-2.0
// The product of two patterns where a mask has entries too. A row's mask is marked in a row of bytes as wide as the product,
// and products that fall elsewhere cost one look at it; rows of b much longer than the mask's are searched instead. Bound:
// those looks, in the cache while a row of bytes fits it.
//
// Which of the mask's entries are hit is known only when a row is done, so that rows are written into memory of the mask's
// size, without gaps within a block of rows, and copied once their places are known.
#include "spgemm/masked/masked.h"

#include <algorithm>
#include <cstring>
#include <mutex>

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
  MaskedJob checked = job;
  const CheckedOperands operands(isa, checked.a, checked.b, checked.mask, "the mask");
  if (checked.mask.col != job.mask.col) checked.names = job.mask.col;
  const MaskedOut out = {counts_.as<int64_t>(), col_.as<int32_t>(), values_.data()};
  const RowWork row_work = {job.a.crow, job.mask.crow, job.mask.rows};
  const int64_t columns = checked.mask.columns;
  const bool busy = row_work.all() > columns;
  FirstRow broken;
  std::mutex mutex;
  for_row_blocks(row_work, [&](auto& next) {
    const DenseRow<uint8_t> marks(columns, 0, busy), hits(columns, 0, busy);
    std::vector<MaskedPiece> own;
    const auto work = [&](void* sums) {
      for (MaskedPiece piece = {}; next(piece.begin, piece.end);) {
        broken.keep(rows(checked, out, piece, {sums, marks.column_0(), hits.column_0()}));
        own.push_back(piece);
      }
    };
    if (job.a_values == nullptr) {
      work(nullptr);
    } else {
      with_ring(job.type, job.semiring, [&]<class Stored, class Sum, class Ring>() {
        const DenseRow<Sum> sums(columns, Ring::zero(), busy);
        work(sums.column_0());
      });
    }
    const std::lock_guard lock(mutex);
    pieces_.insert(pieces_.end(), own.begin(), own.end());
  });
  broken.refuse(checked.mask, "the mask");
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
