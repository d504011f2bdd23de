# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels of the product of two sparse matrices, run on the CPU, against the definitions: all bits equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cuda_emulation.emulated import MODE, EmulatedKernels
from torch import Tensor
from warphash.spgemm import reference

FOLDER = "csrc/spgemm/product"
KERNELS = [
    *(f"{FOLDER}/{name}.cu" for name in ("product", "product_clusters", "product_lists", "product_slices")),
    *("csrc/spgemm/rows.cu", "csrc/common/scan.cu"),
]
SOURCES = [*KERNELS, "tests/spgemm/emulated_product.cpp"]

# The numbers of ValueType.
TYPES = {
    torch.float32: 0,
    torch.float64: 1,
    torch.int32: 2,
    torch.int64: 3,
    torch.bool: 4,
    torch.float16: 5,
    torch.bfloat16: 6,
}
PLUS, OR, MIN, MAX = range(4)
# Cards: compute capability, the most blocks of a cluster.
AMPERE, HOPPER, NARROW = (8, 0), (9, 8), (9, 3)
Pattern = tuple[Tensor, Tensor, int]  # row pointers, columns, how many columns there are


def pattern(lengths: list[int], columns: int, seed: int = 0) -> Pattern:
    """Rows of the given lengths; their columns are drawn."""
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randperm(columns, generator=generator)[:length].sort().values for length in lengths]
    col = torch.cat(rows) if rows else torch.zeros(0, dtype=torch.int64)
    return torch.tensor([0, *lengths]).cumsum(0), col.int(), columns


def values_for(count: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if dtype == torch.bool:
        return torch.rand(count, generator=generator) < 0.7
    if not dtype.is_floating_point:
        return torch.randint(-(2**31), 2**31 - 1, (count,), generator=generator).to(dtype)
    values = torch.randn(count, generator=generator, dtype=torch.float64).to(dtype)
    values[torch.rand(count, generator=generator) < 0.02] = torch.nan
    return values


def product(
    kernels: EmulatedKernels,
    a: Pattern,
    b: Pattern,
    exclude: Pattern | None = None,
    values: tuple[Tensor, Tensor] | None = None,
    semiring: int = PLUS,
    wide: bool = False,
    card: tuple[int, int] = HOPPER,
) -> tuple[Tensor, Tensor, Tensor | None]:
    rows, room = len(a[0]) - 1, 100_000
    crow = torch.full((rows + 1,), -7)
    col = torch.full((room,), -7, dtype=torch.int64 if wide else torch.int32)
    out, dtype, given = None, torch.float32, (None, None)
    if values is not None:
        dtype = values[0].dtype
        out = torch.zeros(room, dtype=dtype)
        given = tuple(reference.wide(x) for x in values)  # type: ignore[assignment]
    excluded: tuple[Any, Any, int] = (None, None, 0) if exclude is None else (*exclude[:2], len(exclude[1]))
    kernels.product(
        *(*card, *a[:2], rows, a[2], len(a[1]), *b[:2], b[2], len(b[1]), *excluded, *given, TYPES[dtype], semiring),
        *(room, wide, crow, col, out),
    )
    entries = int(crow[-1])
    return crow, col[:entries], None if out is None else out[:entries]


def check(
    kernels: EmulatedKernels,
    a: Pattern,
    b: Pattern,
    exclude: Pattern | None,
    dtype: torch.dtype,
    semiring: int,
    cards: tuple[tuple[int, int], ...] = (AMPERE, HOPPER),
) -> None:
    values = (values_for(len(a[1]), dtype), values_for(len(b[1]), dtype, 1))
    left_out = exclude[:2] if exclude is not None else ()
    expected = reference.matmul(*a[:2], values[0], *b[:2], values[1], b[2], semiring, *left_out)
    for card in cards:
        crow, col, found = product(kernels, a, b, exclude, values, semiring, card=card)
        torch.testing.assert_close(crow, expected[0], rtol=0, atol=0)
        torch.testing.assert_close(col.long(), expected[1].long(), rtol=0, atol=0)
        torch.testing.assert_close(found, expected[2], rtol=0, atol=0, equal_nan=True)
        crow, col, _ = product(kernels, a, b, exclude, wide=True, card=card)
        torch.testing.assert_close(crow, expected[0], rtol=0, atol=0)
        torch.testing.assert_close(col, expected[1].long(), rtol=0, atol=0)


# Lengths of rows of a, how many rows b has, their longest, and columns.
SHAPES = {
    "small": ([3, 0, 1, 7, 2], 9, 8, 30),
    "edges of a warp": ([31, 32, 33, 1], 40, 2, 11),
    "lists": ([40, 5, 90, 12], 90, 9, 2000),
    "slices": ([80, 200, 3], 200, 40, 900),
    "parts of a slice": ([200, 1], 200, 500, 512),
    "wide slices": ([60, 61], 61, 90, 3000),
    "parts of a row": ([0, 90, 80, 88, 3, 70], 90, 120, 1800),
}


def operands(name: str) -> tuple[Pattern, Pattern]:
    lengths, inner, longest, columns = SHAPES[name]
    generator = np.random.default_rng(len(name))
    return pattern(lengths, inner), pattern(generator.integers(0, longest + 1, inner).tolist(), columns, 1)


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(emulated_kernels: EmulatedKernels, name: str) -> None:
    a, b = operands(name)
    check(emulated_kernels, a, b, None, torch.float32, PLUS)
    exclude = pattern([min(b[2], length) for length in (b[2] // 2, 9, 0, b[2], 3, 100)][: len(a[0]) - 1], b[2], 2)
    check(emulated_kernels, a, b, exclude, torch.float64, MIN)


RINGS = [
    *((dtype, ring) for dtype in (torch.float32, torch.float64, torch.int32, torch.int64) for ring in (PLUS, MIN, MAX)),
    *((dtype, PLUS) for dtype in (torch.float16, torch.bfloat16, torch.bool)),
    *((torch.float16, MIN), (torch.bfloat16, MAX), (torch.bool, OR)),
]


@pytest.mark.parametrize(("dtype", "semiring"), RINGS)
def test_types(emulated_kernels: EmulatedKernels, dtype: torch.dtype, semiring: int) -> None:
    for name in ("small", "lists", "slices"):
        check(emulated_kernels, *operands(name), None, dtype, semiring)


def test_empty(emulated_kernels: EmulatedKernels) -> None:
    for rows, inner, columns in ((0, 0, 0), (0, 3, 4), (3, 0, 4), (3, 4, 0), (3, 4, 5)):
        check(emulated_kernels, pattern([0] * rows, inner), pattern([0] * inner, columns), None, torch.float32, PLUS)
    check(emulated_kernels, pattern([2, 0], 3), pattern([0, 0, 0], 4), None, torch.float32, PLUS)
    check(emulated_kernels, pattern([1], 1), pattern([1], 1), pattern([1], 1), torch.float32, PLUS)


def test_hubs(emulated_kernels: EmulatedKernels) -> None:
    """All products of a row fall on one entry; a row of a meets a long row of b among short ones."""
    column = (torch.arange(151), torch.zeros(150, dtype=torch.int32), 700)
    check(emulated_kernels, pattern([150, 40, 0], 150), column, None, torch.float32, PLUS)
    band = pattern([10] * 300, 64)
    shifted = (band[0], band[1] + torch.arange(300).repeat_interleave(10).int(), 1000)
    check(emulated_kernels, pattern([30, 299, 1], 300), shifted, None, torch.float64, PLUS)
    far = (band[0], band[1] + 900 - torch.arange(300).repeat_interleave(10).int(), 1000)
    check(emulated_kernels, pattern([30, 299, 1], 300), far, pattern([900, 2, 0], 1000), torch.int64, PLUS)
    b = pattern([1, 0, 600, 2, 300] * 8, 700)
    check(emulated_kernels, pattern([40, 7], 40), b, None, torch.bfloat16, PLUS)


def skewed(lengths: list[int], columns: int, first: int, seed: int) -> Pattern:
    """Rows whose columns, from `first` on, are the more popular the lower they are."""
    generator = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, columns - first + 1)
    rows = [
        np.sort(generator.choice(columns - first, length, replace=False, p=weights / weights.sum()) + first)
        for length in lengths
    ]
    return torch.tensor([0, *lengths]).cumsum(0), torch.from_numpy(np.concatenate(rows)).int(), columns


# Columns and the first of them in use, lengths of rows of b. From 1024 products on several blocks do a row together.
HUGE = {
    "fewer columns than blocks": (3, 0, [3, 2, 3]),
    "less than a slice": (400, 0, [40, 90, 0, 17]),
    "a slice": (512, 0, [130, 20]),
    "a column more": (513, 0, [60, 71]),
    "far off": (4000, 3377, [60, 2, 100]),
    "several rounds": (3700, 150, [200, 70, 133]),
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_rows(emulated_kernels: EmulatedKernels, name: str) -> None:
    columns, first, lengths = HUGE[name]
    inner = max(13, 1500 * len(lengths) // sum(lengths))
    lengths = (lengths * inner)[:inner]
    a = pattern([1, 0, 2, inner, inner - 9, inner, 1, inner, inner - 3], inner)
    exclude = pattern([min(columns, length) for length in (0, 3, 9, columns // 2, 1, columns, 9, 17, 0)], columns, 3)
    for b in (skewed(lengths, columns, first, 1), pattern(lengths, columns, 2)):
        check(emulated_kernels, a, b, None, torch.float32, PLUS)
        check(emulated_kernels, a, b, exclude, torch.int64, MAX, (AMPERE, HOPPER, NARROW))


@pytest.mark.parametrize(("dtype", "semiring"), RINGS)
def test_types_of_huge_rows(emulated_kernels: EmulatedKernels, dtype: torch.dtype, semiring: int) -> None:
    b = skewed([90, 41, 60] * 20, 1500, 100, 1)
    check(emulated_kernels, pattern([3, 60, 1, 57], 60), b, None, dtype, semiring)


@pytest.mark.skipif(MODE == "races", reason="where a row of b has a column twice, threads race for its sum")
def test_wrong_data(emulated_kernels: EmulatedKernels) -> None:
    """Nothing outside of the arrays is touched (mode asan), and every launch ends."""
    generator = np.random.default_rng(0)
    for rows, inner, columns, size in ((6, 5, 40, 60), (4, 30, 1200, 400)):
        for _ in range(4):
            crow_a, crow_b = (torch.from_numpy(generator.integers(-size, 2 * size, n + 1)) for n in (rows, inner))
            col_a = torch.from_numpy(generator.integers(-2, inner + 2, size, dtype=np.int32))
            col_b = torch.from_numpy(generator.integers(-9, columns + 9, size, dtype=np.int32))
            values = (torch.randn(size), torch.randn(size))
            for exclude, card in ((None, AMPERE), (None, HOPPER), ((crow_a, col_b, columns), HOPPER)):
                crow, col, _ = product(
                    emulated_kernels, (crow_a, col_a, inner), (crow_b, col_b, columns), exclude, values, card=card
                )
                assert crow[0] == 0
                assert (crow.diff() >= 0).all()
                assert ((col >= 0) & (col < columns)).all()
