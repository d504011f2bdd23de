// SPDX-License-Identifier: Apache-2.0
#include "hamming/multi_index.h"
#include "hamming/multi_index_gather.h"

namespace warphash::hamming {

void gather_distances_scalar(const uint8_t* codes, int bytes, const uint8_t* query, const int32_t* ids, int count,
                             uint32_t* distances) {
  gather_by_width(codes, bytes, query, ids, count, distances);
}

}  // namespace warphash::hamming
