# SPDX-License-Identifier: Apache-2.0
"""On a CUDA device: every operator and every algorithm of a top-k against the CPU operators, bit for bit."""

from __future__ import annotations

import pytest
import torch
import warphash as wh

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

WIDTHS = [1, 8, 20, 32, 33, 128]
ALGORITHMS = ["stream", "tile", "mma_b1", "mma_s8", "wgmma_b1", "wgmma_s8"]


def codes(count: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, width), dtype=torch.uint8, generator=generator)


def equal(found: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a.cpu(), b)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("metric", ["distance", "jaccard"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_algorithms(algorithm: str, metric: str, width: int) -> None:
    from warphash import _C_cuda

    if algorithm.startswith("wgmma") and torch.cuda.get_device_capability() != (9, 0):
        pytest.skip("wgmma needs compute capability 9.0")
    k, queries, database = 10, codes(70, width, 0), codes(200_001, width, 1)
    expected = (wh.hamming.topk if metric == "distance" else wh.hamming.jaccard_topk)(queries, database, k)
    values, indices = (torch.empty_like(x, device="cuda") for x in expected)
    a, b = queries.cuda(), database.cuda()
    sizes = (a.data_ptr(), len(a), b.data_ptr(), len(b), width)
    stream = torch.cuda.current_stream().cuda_stream
    _C_cuda.hamming_topk(metric, algorithm, *sizes, k, values.data_ptr(), indices.data_ptr(), stream)
    equal((values, indices), expected)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("queries", [1, 3, 20, 200])
@pytest.mark.parametrize("k", [1, 100, 1000])
def test_topk(k: int, queries: int, width: int) -> None:
    a, b = codes(queries, width, 2), codes(50_001, width, 3)
    mask = torch.rand(len(b), generator=torch.Generator().manual_seed(4)) < 0.5
    weights = torch.randn(queries, 8 * width, generator=torch.Generator().manual_seed(5))
    equal(wh.hamming.topk(a.cuda(), b.cuda(), k), wh.hamming.topk(a, b, k))
    equal(wh.hamming.topk(a.cuda(), b.cuda(), k, mask=mask.cuda()), wh.hamming.topk(a, b, k, mask=mask))
    equal(wh.hamming.jaccard_topk(a.cuda(), b.cuda(), k), wh.hamming.jaccard_topk(a, b, k))
    equal(wh.hamming.asymmetric_topk(weights.cuda(), b.cuda(), k), wh.hamming.asymmetric_topk(weights, b, k))


@pytest.mark.parametrize("width", WIDTHS)
def test_the_other_operators(width: int) -> None:
    a, b = codes(9, width, 6), codes(30_001, width, 7)
    equal((wh.hamming.cdist(a.cuda(), b.cuda()),), (wh.hamming.cdist(a, b),))
    equal((wh.hamming.histogram(a.cuda(), b.cuda()),), (wh.hamming.histogram(a, b),))
    equal(wh.hamming.range_search(a.cuda(), b.cuda(), 4 * width), wh.hamming.range_search(a, b, 4 * width))
    bits = 8 * width - 1
    x = torch.randn(100, bits, generator=torch.Generator().manual_seed(8))
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8):
        equal((wh.hamming.pack(x.to(dtype).cuda()),), (wh.hamming.pack(x.to(dtype)),))
    equal((wh.hamming.unpack(b.cuda(), bits),), (wh.hamming.unpack(b, bits),))


def test_another_stream_and_no_waiting() -> None:
    a, b = codes(5, 32, 9), codes(10_000, 32, 10)
    expected = wh.hamming.topk(a, b, 7)
    x, y = a.cuda(), b.cuda()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.cuda.stream(stream):
            found = wh.hamming.topk(x, y, 7)
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    stream.synchronize()
    equal(found, expected)
