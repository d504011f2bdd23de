# SPDX-License-Identifier: Apache-2.0
"""k nearest codes on a GPU as one writes them in Numba: distances by a kernel, then torch's topk."""

from __future__ import annotations

import torch

from bench.hamming_inputs import Search
from bench.hamming_peers import pair, sample
from bench.harness.workload import Contestant, Prepared, Settings, Unavailable


def numba_cuda(search: Search, settings: Settings) -> Prepared:
    from numba import cuda

    from bench.hamming_numba_cuda import THREADS, distances, grid

    if not cuda.is_available():
        raise Unavailable("Numba finds no GPU here")
    part = sample(search, settings, 3e11, memory_per_pair=2)
    queries, codes = (matrix.view(torch.int32) for matrix in (part.search.queries, part.search.database))
    out = torch.empty(len(queries), len(codes), dtype=torch.int16, device=codes.device)
    arrays = [cuda.as_cuda_array(array) for array in (queries, codes, out)]
    stream = cuda.external_stream(torch.cuda.current_stream(codes.device).cuda_stream)

    def call() -> tuple[torch.Tensor, torch.Tensor]:
        distances[grid(len(queries), len(codes)), THREADS, stream](*arrays)
        values, indices = out.topk(search.k, dim=1, largest=False)
        return values.int(), indices

    return Prepared(call, pair, part.inputs, part.share, "a thread a distance, torch.topk")


GPU_PEERS = (Contestant("Numba CUDA", numba_cuda, devices=("cuda",)),)
