// SPDX-License-Identifier: Apache-2.0
// Prefix sums of rows: the blocks of a cluster have a piece of a row each and tell one another its sum through shared memory.
#include "kernels.cuh"

#ifndef BUG
#define BUG 0
#endif

namespace warphash::demo {
namespace {

constexpr int threads = 64;

struct Piece {
  unsigned sums[2][8];  // of the cluster's pieces, by turns: a block may be a row ahead of those that still read
  unsigned own[threads];
};

__global__ void __launch_bounds__(threads)
    cluster_scan_kernel(const unsigned* __restrict__ x, unsigned* __restrict__ y, int rows, int n) {
  DYNAMIC_SHARED(Piece, piece);
  const int rank = cluster_rank(), size = cluster_size(), thread = threadIdx.x;
  const int each = (n + size * threads - 1) / (size * threads);
  const int first = (rank * threads + thread) * each, end = min(first + each, n);
  cluster_sync();
  for (int row = blockIdx.x / size, turn = 0; row < rows; row += gridDim.x / size) {
    unsigned sum = 0;
    for (int i = first; i < end; ++i) sum += x[row * n + i];
    piece->own[thread] = sum;
    __syncthreads();
    unsigned before = 0, all = 0;
    for (int t = 0; t < threads; ++t) before += t < thread ? piece->own[t] : 0, all += piece->own[t];
    if (thread < size) *peer_shared(&piece->sums[turn][rank], thread) = all;
#if BUG == 1  // a block waits for itself alone
    __syncthreads();
#else
    cluster_sync();
#endif
    for (int r = 0; r < rank; ++r) before += piece->sums[turn][r];
    for (int i = first; i < end; ++i) y[row * n + i] = before += x[row * n + i];
#if BUG != 2  // 2: the next row's sums overwrite those still read
    turn ^= 1;
#endif
  }
  cluster_sync();
}

__global__ void wrong_cluster_kernel(unsigned* x, int kind) {
  DYNAMIC_SHARED(unsigned, own);
  __shared__ unsigned fixed[4];
  const unsigned other = cluster_rank() ^ 1;
  if (kind == 0 && other == 0) return;
  if (kind != 1) cluster_sync();
  if (kind == 1 || kind == 2) *peer_shared(own, other) = 1;
  if (kind == 3) *peer_shared(fixed, other) = 1;
  if (kind == 4) *peer_shared(own, 2) = 1;
  if (kind == 5) bulk_store(x, own, 8);
  if (kind == 6) bulk_store(x, x, 16);
}

__global__ void card_kernel(int* bulk_copies) { *bulk_copies = has_bulk_copies(); }

}  // namespace

cudaError_t cluster_scan(const unsigned* x, unsigned* y, int rows, int n, int size, int clusters, cudaStream_t stream) {
  return launch_clusters(cluster_scan_kernel, size, size * clusters, threads, sizeof(Piece), stream, x, y, rows, n);
}

cudaError_t wrong_cluster(unsigned* x, int kind, cudaStream_t stream) {
  return launch_clusters(wrong_cluster_kernel, 2, 2, 1, 64, stream, x, kind);
}

cudaError_t card(int compute_major, int size, int* clusters, int* bulk_copies, cudaStream_t stream) {
#if defined(WARPHASH_CUDA_EMULATION)
  cuda_emulation::engine.compute_major = compute_major;
#else
  (void)compute_major;
#endif
  cudaError_t error = most_clusters(clusters, cluster_scan_kernel, size, threads, sizeof(Piece));
  if (error == cudaSuccess) error = launch(card_kernel, 1, 1, 0, stream, bulk_copies);
  if (error == cudaSuccess && *clusters == 0)
    error = launch_clusters(wrong_cluster_kernel, size, size, 1, 64, stream, nullptr, 0);
#if defined(WARPHASH_CUDA_EMULATION)
  cuda_emulation::engine.compute_major = 9;
#endif
  return error;
}

}  // namespace warphash::demo
