# SPDX-License-Identifier: Apache-2.0
"""The CUDA entries of the bucket tables, on CPU tensors over emulated kernels, against those of the CPU: equal bits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import warphash  # noqa: F401  (registers the CPU operators)
from cuda_emulation.emulated import MODE
from cuda_emulation.operators import load_operators

from .test_emulated_buckets import KERNELS

pytestmark = pytest.mark.skipif(MODE != "plain", reason="the kernels are checked in the other modes by their own tests")

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.fixture(scope="module")
def emulated() -> Any:
    return load_operators(KERNELS, "tests/lsh/emulated_buckets_operators.cpp")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def same(emulated: Any, name: str, *arguments: Any) -> Any:
    found, expected = getattr(emulated, name)(*arguments), getattr(torch.ops.warphash, name)(*arguments)
    pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
    for a, b in pairs:
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    return found


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("shape", [(700,), (0,), (2, 0), (0, 3), (2, 3, 65), (1, 1)])
def test_sort(emulated: Any, generator: torch.Generator, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    for buckets in (1, 7, 255, 4096, 5000, 70000):
        codes = torch.randint(0, min(buckets, torch.iinfo(dtype).max), shape, generator=generator).to(dtype)
        same(emulated, "lsh_bucket_sort", codes, buckets)
    same(emulated, "lsh_bucket_sort", torch.zeros(2, 0, dtype=dtype), 0)


def test_query(emulated: Any, generator: torch.Generator) -> None:
    for tables, items, buckets, queries in ((3, 100, 20, 5), (2, 400, 5, 3), (1, 0, 3, 2), (2, 9, 4, 0)):
        codes = torch.randint(0, buckets, (tables, items), generator=generator)
        order, _, offsets = torch.ops.warphash.lsh_bucket_sort(codes, buckets)
        wanted = torch.randint(0, buckets, (tables, queries), generator=generator)
        same(emulated, "lsh_bucket_query", order, offsets, wanted)
        same(emulated, "lsh_bucket_query", order, offsets, wanted.t().contiguous().t())


@pytest.mark.parametrize("dtype", FLOATS)
def test_sums(emulated: Any, generator: torch.Generator, dtype: torch.dtype) -> None:
    sizes = [(2, 3, 8, 16, 70), (1, 2, 5000, 3, 50), (1, 0, 4, 2, 3), (0, 2, 4, 2, 3), (1, 1, 4, 0, 3), (2, 2, 4, 8, 0)]
    for batch, tables, buckets, width, count in sizes:
        codes = torch.randint(-1, buckets, (batch, tables, count), generator=generator)
        values = torch.randn(batch, count, width, generator=generator, dtype=torch.float64).to(dtype)
        values[values > 2.5] = torch.nan
        for indices in (codes, codes.int()):
            sums = same(emulated, "lsh_bucket_sum", values, indices, buckets)
            same(emulated, "lsh_bucket_gather_sum", sums, indices)
    same(emulated, "lsh_bucket_gather_sum", torch.zeros(1, 2, 0, 3, dtype=dtype), torch.full((1, 2, 4), -1))


def test_strided_inputs(emulated: Any, generator: torch.Generator) -> None:
    codes = torch.randint(0, 9, (80, 6), generator=generator).t()
    same(emulated, "lsh_bucket_sort", codes[::2], 9)
    same(emulated, "lsh_bucket_sort", codes[:1].expand(3, 80), 9)
    values = torch.randn(9, 80, 2, generator=generator).transpose(0, 2)
    sums = same(emulated, "lsh_bucket_sum", values, codes.unflatten(0, (2, 3)), 9)
    same(emulated, "lsh_bucket_gather_sum", sums[..., 1:6], codes.unflatten(0, (2, 3)))


def test_last_line_of_checks(emulated: Any) -> None:
    floats, long = torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64)
    for call in (
        lambda: emulated.lsh_bucket_sort(floats, 4),
        lambda: emulated.lsh_bucket_sort(long, 0),
        lambda: emulated.lsh_bucket_sort(long, -1),
        lambda: emulated.lsh_bucket_sort(torch.tensor(3), 4),
        lambda: emulated.lsh_bucket_query(long, long[:1], long),
        lambda: emulated.lsh_bucket_query(long, long, long.int()),
        lambda: emulated.lsh_bucket_sum(floats, long, 3),
        lambda: emulated.lsh_bucket_sum(floats.int(), long[:, None], 3),
        lambda: emulated.lsh_bucket_gather_sum(floats, long[:, None]),
    ):
        with pytest.raises((RuntimeError, IndexError), match="must"):
            call()
