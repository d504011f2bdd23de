# SPDX-License-Identifier: Apache-2.0
"""The CUDA entries of the operators, on CPU tensors over emulated kernels, against the CPU operators, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import warphash  # noqa: F401  (registers the CPU operators)
from cuda_emulation.emulated import MODE
from cuda_emulation.operators import load_operators

from .test_emulated_hamming import KERNELS

pytestmark = pytest.mark.skipif(MODE != "plain", reason="the kernels are checked in the other modes by their own tests")


@pytest.fixture(scope="module")
def emulated() -> Any:
    return load_operators(KERNELS, "tests/hamming/emulated_operators.cpp")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def codes(generator: torch.Generator, count: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, width), dtype=torch.uint8, generator=generator)


def same(emulated: Any, name: str, *arguments: Any) -> None:
    found, expected = getattr(emulated, name)(*arguments), getattr(torch.ops.warphash, name)(*arguments)
    if isinstance(found, torch.Tensor):
        found, expected = (found,), (expected,)
    for a, b in zip(found, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert torch.equal(a, b)


@pytest.mark.parametrize("width", [0, 1, 3, 4, 8, 20])
@pytest.mark.parametrize(("queries", "count"), [(0, 5), (5, 0), (1, 40), (3, 700), (40, 301)])
def test_searches(emulated: Any, generator: torch.Generator, queries: int, count: int, width: int) -> None:
    a, b = codes(generator, queries, width), codes(generator, count, width)
    weights = torch.randn(queries, 8 * width, generator=generator)
    masks = [None, *(torch.rand(shape, generator=generator) < 0.5 for shape in ((count,), (queries, count)))]
    for k in (0, 1, 10, 256, 300, 720):
        for mask in masks:
            same(emulated, "hamming_topk", a, b, k, mask)
            same(emulated, "hamming_jaccard_topk", a, b, k, mask)
        same(emulated, "hamming_asymmetric_topk", weights, b, k)
    for mask in masks:
        for radius in (0, 3 * width, 8 * width, 10**6):
            same(emulated, "hamming_range_search", a, b, radius, mask)
        same(emulated, "hamming_histogram", a, b, mask)
    same(emulated, "hamming_cdist", a, b)


@pytest.mark.parametrize("shape", [(3,), (0,), (2, 5, 17), (4, 0), (0, 9), (3, 64)])
def test_packing(emulated: Any, generator: torch.Generator, shape: tuple[int, ...]) -> None:
    integers = (
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.uint16,
        torch.uint32,
        torch.uint64,
    )
    for dtype in (torch.bool, *integers, torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x = torch.randn(shape, generator=generator).mul(3).abs().to(dtype)
        for threshold in (0.0, 0.5, 1.0, -1.0):
            same(emulated, "hamming_pack", x, threshold)
    packed = torch.ops.warphash.hamming_pack(torch.randn(shape, generator=generator), 0.0)
    for bits in {0, shape[-1] // 2, shape[-1]}:
        same(emulated, "hamming_unpack", packed, bits)


def test_strided_inputs(emulated: Any, generator: torch.Generator) -> None:
    a, b = codes(generator, 8, 16)[::2, 1:9], codes(generator, 50, 16)[:, 3:11]
    mask = (torch.rand(50, 4, generator=generator) < 0.5).t()
    same(emulated, "hamming_topk", a, b, 5, mask)
    same(emulated, "hamming_jaccard_topk", a[:1].expand(6, 8), b, 300, None)
    same(emulated, "hamming_pack", torch.randn(30, 6, generator=generator).t(), 0.0)


def test_last_line_of_checks(emulated: Any, generator: torch.Generator) -> None:
    a, b = codes(generator, 2, 4), codes(generator, 3, 5)
    for call in (
        lambda: emulated.hamming_topk(a, b, 1, None),
        lambda: emulated.hamming_topk(a, a, -1, None),
        lambda: emulated.hamming_topk(a, a.int(), 1, None),
        lambda: emulated.hamming_topk(a, a, 1, torch.ones(3, dtype=torch.bool)),
        lambda: emulated.hamming_range_search(a, a, -1, None),
        lambda: emulated.hamming_asymmetric_topk(torch.zeros(2, 32, dtype=torch.float64), a, 1),
        lambda: emulated.hamming_unpack(a, 33),
        lambda: emulated.hamming_pack(torch.zeros(2, dtype=torch.complex64), 0.0),
    ):
        with pytest.raises(RuntimeError, match=r"must (be|not|have)|unsupported"):
            call()
