// SPDX-License-Identifier: Apache-2.0
// Tensor-core tiles: Hamming distances of 256-bit codes by |a ^ b| = |a| + |b| - 2 |a & b|, rows brought in by
// cp.async; and single tiles of bytes straight from global memory.
#include "kernels.cuh"

#ifndef BUG
#define BUG 0
#endif

namespace warphash::demo {
namespace {

// One warp per tile of 16 queries and 8 codes.
__global__ void hamming_tiles_kernel(const unsigned* __restrict__ queries, const unsigned* __restrict__ codes,
                                     int* __restrict__ distances, int q, int n) {
  __shared__ __align__(16) unsigned rows[24][8];
  int lane = threadIdx.x, group = lane / 4, member = lane % 4;
  int first_query = blockIdx.y * 16, first_code = blockIdx.x * 8;
  for (int half = lane; half < 48; half += 32) {  // 24 rows of 32 bytes, 16 bytes at a time
    int row = half / 2, index = row < 16 ? first_query + row : first_code + row - 16;
    bool exists = index < (row < 16 ? q : n);
    const unsigned* from = (row < 16 ? queries : codes) + (exists ? size_t(index) * 8 + half % 2 * 4 : 0);
    copy_async_16_or_zero(&rows[row][half % 2 * 4], from, exists ? 16 : 0);
  }
  copy_async_commit();
#if BUG != 8  // 8: no wait for the copies
  copy_async_wait<0>();
#endif
#if BUG != 10  // 10: a lane waits for its own copies only
  __syncwarp();
#endif
  unsigned a[4], b[2];
  int d[4] = {0, 0, 0, 0};
  for (int r = 0; r < 4; ++r) a[r] = rows[group + r % 2 * 8][member + r / 2 * 4];
  for (int r = 0; r < 2; ++r) b[r] = rows[16 + group][member + r * 4];
  mma_m16n8k256_b1_and(d, a, b);
  for (int r = 0; r < 4; ++r) {
    int row = group + r / 2 * 8, column = 2 * member + r % 2, bits = 0;
    for (int w = 0; w < 8; ++w) bits += __popc(rows[row][w]) + __popc(rows[16 + column][w]);
    if (first_query + row < q && first_code + column < n)
      distances[size_t(first_query + row) * n + first_code + column] = bits - 2 * d[r];
  }
}

template <bool unsigned_a>
__global__ void tile_kernel(const unsigned* __restrict__ a, const unsigned* __restrict__ b, int* __restrict__ d) {
  int group = threadIdx.x / 4, member = threadIdx.x % 4, sum[4] = {0, 0, 0, 0};
  unsigned x[4], y[2];
  for (int r = 0; r < 4; ++r) x[r] = a[(group + r % 2 * 8) * 8 + member + r / 2 * 4];
  for (int r = 0; r < 2; ++r) y[r] = b[group * 8 + member + r * 4];
  if (unsigned_a)
    mma_m16n8k32_u8_s8(sum, x, y);
  else
    mma_m16n8k32_s8(sum, x, y);
  for (int r = 0; r < 4; ++r) d[(group + r / 2 * 8) * 8 + 2 * member + r % 2] = sum[r];
}

__global__ void bf16_kernel(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ d) {
  int group = threadIdx.x / 4, member = threadIdx.x % 4;
  unsigned x[4], y[2];
  float sum[4];
  auto pair = [](const float* from) { return pack_bf16(from[0], from[1]); };
  for (int r = 0; r < 4; ++r) x[r] = pair(a + (group + r % 2 * 8) * 16 + 2 * (member + r / 2 * 4));
  for (int r = 0; r < 2; ++r) y[r] = pair(b + group * 16 + 2 * (member + r * 4));
  for (int r = 0; r < 4; ++r) sum[r] = d[(group + r / 2 * 8) * 8 + 2 * member + r % 2];
  mma_m16n8k16_bf16(sum, x, y);
  for (int r = 0; r < 4; ++r) d[(group + r / 2 * 8) * 8 + 2 * member + r % 2] = sum[r];
}

}  // namespace

cudaError_t hamming_tiles(const unsigned* queries, const unsigned* codes, int* distances, int q, int n,
                          cudaStream_t stream) {
  return launch(hamming_tiles_kernel, dim3((n + 7) / 8, (q + 15) / 16), 32, 0, stream, queries, codes, distances, q, n);
}

cudaError_t tile_s8(const signed char* a, const signed char* b, int* d, cudaStream_t stream) {
  return launch(tile_kernel<false>, 1, 32, 0, stream, reinterpret_cast<const unsigned*>(a),
                reinterpret_cast<const unsigned*>(b), d);
}

cudaError_t tile_u8_s8(const unsigned char* a, const signed char* b, int* d, cudaStream_t stream) {
  return launch(tile_kernel<true>, 1, 32, 0, stream, reinterpret_cast<const unsigned*>(a),
                reinterpret_cast<const unsigned*>(b), d);
}

cudaError_t tile_bf16(const float* a, const float* b, float* d, cudaStream_t stream) {
  return launch(bf16_kernel, 1, 32, 0, stream, a, b, d);
}

}  // namespace warphash::demo
