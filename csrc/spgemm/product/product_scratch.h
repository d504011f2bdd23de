// SPDX-License-Identifier: Apache-2.0
// Memory of one worker of a product. Nothing is allocated before a row needs it, and no more than the row needs: calls on
// small matrices must cost microseconds. No member is inline, since files of instruction sets may carry no weak symbol.
#pragma once

#include <cstddef>
#include <cstdint>

namespace warphash::spgemm {

class Workspace;

// A workspace that grows.
class ZeroedMemory {
 public:
  ZeroedMemory();
  ~ZeroedMemory();
  ZeroedMemory(const ZeroedMemory&) = delete;
  ZeroedMemory& operator=(const ZeroedMemory&) = delete;
  // At least so many bytes, all zero where memory is new; what was there before is lost where it must grow.
  // True where memory is new.
  bool reserve(size_t bytes);
  unsigned char* data() const;
  void release();

 private:
  Workspace* memory_;
  unsigned char* data_;
  size_t size_;
};

struct Scratch {
  // A window of columns: one flag a column, one coarse flag for 64 columns, one sum a column. Between rows flags are zero
  // and sums are the semiring's zero.
  ZeroedMemory flags, coarse, bits, sums;
  ZeroedMemory cursors;                      // where each row of B stands when it is read window by window
  ZeroedMemory keys, spare, products;        // of rows whose products are sorted
  ZeroedMemory piece_columns, piece_values;  // a piece of output before its indices are widened or values narrowed
  ZeroedMemory block_columns, block_values;  // output of rows whose place is not known yet
  Scratch();
  ~Scratch();
};

// Ascending; keys differ. `spare` has room for as many. Only bits [low, low + bits) need sorting on: the rest ascends already
// among equal ones.
void sort_keys(uint64_t* keys, uint64_t* spare, int64_t count, int low, int bits);

}  // namespace warphash::spgemm
