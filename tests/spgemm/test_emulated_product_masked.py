# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels of masked patterns and of the inspection, run on the CPU, against the definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cuda_emulation.emulated import EmulatedKernels
from torch import Tensor
from warphash.spgemm import reference

from .test_emulated_product import MAX, MIN, OR, PLUS, SHAPES, TYPES, Pattern, operands, pattern, values_for

KERNELS = [
    *(f"csrc/spgemm/{name}.cu" for name in ("masked/masked", "masked/masked_values", "inspect/inspect")),
    "csrc/common/scan.cu",
]
SOURCES = [*KERNELS, "tests/spgemm/emulated_product_masked.cpp"]


def masked(kernels: EmulatedKernels, a: Pattern, b: Pattern, mask: Pattern) -> tuple[Tensor, Tensor]:
    rows, room = len(a[0]) - 1, 50_000
    crow, col = torch.full((rows + 1,), -7), torch.full((room,), -7, dtype=torch.int32)
    kernels.masked(
        *(*a[:2], rows, a[2], len(a[1]), *b[:2], b[2], len(b[1]), *mask[:2], len(mask[1])), *(room, crow, col)
    )
    return crow, col[: int(crow[-1])]


RINGS = [
    *((torch.float32, PLUS), (torch.float64, MIN), (torch.int32, MAX), (torch.int64, PLUS), (torch.bool, OR)),
    *((torch.float16, PLUS), (torch.bfloat16, MAX)),
]


def check(kernels: EmulatedKernels, a: Pattern, b: Pattern, mask: Pattern) -> None:
    expected = reference.masked_pattern(*a[:2], *b[:2], b[2], *mask[:2])
    crow, col = masked(kernels, a, b, mask)
    torch.testing.assert_close(crow, expected[0], rtol=0, atol=0)
    torch.testing.assert_close(col, expected[1].int(), rtol=0, atol=0)
    sizes = (*a[:2], len(a[0]) - 1, a[2], len(a[1]), *b[:2], b[2], len(b[1]), crow, col, len(col))
    for dtype, semiring in RINGS:
        values = (values_for(len(a[1]), dtype), values_for(len(b[1]), dtype, 1))
        wanted = reference.numeric(*a[:2], values[0], *b[:2], values[1], crow, col, b[2], semiring)
        found = torch.zeros(len(col), dtype=dtype)
        kernels.masked_values(*sizes, *map(reference.wide, values), TYPES[dtype], semiring, found)
        torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", SHAPES)
def test_masks(emulated_kernels: EmulatedKernels, name: str) -> None:
    """Masks of all sizes: those that products are searched in, and those whose columns are searched in b."""
    a, b = operands(name)
    rows, columns = len(a[0]) - 1, b[2]
    for lengths in ([0] * rows, [1] * rows, [columns] * rows, [min(columns, 5 + 20 * i) for i in range(rows)]):
        check(emulated_kernels, a, b, pattern(lengths, columns, 2))


def test_empty_masks(emulated_kernels: EmulatedKernels) -> None:
    for rows, inner, columns in ((0, 0, 0), (0, 3, 4), (3, 0, 4), (3, 4, 0), (3, 4, 5)):
        mask = pattern([columns] * rows, columns)
        check(emulated_kernels, pattern([0] * rows, inner), pattern([0] * inner, columns), mask)
        check(emulated_kernels, pattern([inner] * rows, inner), pattern([columns] * inner, columns), mask)


def test_masks_of_wrong_data(emulated_kernels: EmulatedKernels) -> None:
    """Nothing outside of the arrays is touched (mode asan), and every launch ends."""
    generator = np.random.default_rng(0)
    for rows, inner, columns, size in ((6, 5, 40, 60), (4, 30, 1200, 400)):
        for _ in range(4):
            crows = [torch.from_numpy(generator.integers(-size, 2 * size, n + 1)) for n in (rows, inner, rows)]
            cols = [torch.from_numpy(generator.integers(-2, n + 2, size, dtype=np.int32)) for n in (inner, columns)]
            a, b, mask = (crows[0], cols[0], inner), (crows[1], cols[1], columns), (crows[2], cols[1], columns)
            crow, col = masked(emulated_kernels, a, b, mask)
            assert crow[0] == 0
            assert (crow.diff() >= 0).all()
            assert ((col >= 0) & (col < columns)).all()


def found_in(kernels: EmulatedKernels, crow: Tensor, col: Tensor, columns: int) -> list[int]:
    answers = []
    for name in ("int32", "int64"):
        found = torch.full((3,), -7)
        dtype = getattr(torch, name)
        getattr(kernels, f"inspect_{name}")(crow.to(dtype), col.to(dtype), len(crow) - 1, columns, len(col), found)
        answers.append(found.tolist())
    assert answers[0] == answers[1]
    return answers[0]


def test_inspect(emulated_kernels: EmulatedKernels) -> None:
    crow, col, columns = pattern([300, 0, 7, 1, 0, 900, 2, *([1] * 600), 0], 1000)
    assert found_in(emulated_kernels, crow, col, columns) == [-1, -1, 0]
    empty = torch.zeros(0, dtype=torch.int64)
    cases = [
        (torch.zeros(1, dtype=torch.int64), empty, 0),
        (torch.zeros(9, dtype=torch.int64), empty, 3),
        (crow, col, 999),
    ]
    for place, value in ((0, 1), (3, 299), (3, 2**31 - 1), (len(crow) - 1, 5), (600, -1), (1, -9)):
        broken = crow.clone()
        broken[place] = value
        cases.append((broken, col, columns))
    for place, value in ((0, -1), (299, 1000), (305, 2**31 - 1), (1000, -5), (300, 0), (301, 0), (1207, 999)):
        wrong = col.clone()
        wrong[place] = value
        cases.append((crow, wrong, columns))
    twice = col.clone()
    twice[5] = twice[4]
    for given in (*cases, (crow, twice, columns), (crow, twice.flip(0), columns), (crow, col, 2**40), (crow, col, 0)):
        assert found_in(emulated_kernels, *given) == reference.inspect(given[0], given[1].long(), given[2]).tolist()
