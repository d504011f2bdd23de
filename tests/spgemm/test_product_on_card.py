# SPDX-License-Identifier: Apache-2.0
"""On a CUDA device: products, masked products and inspection against the CPU operators, bit for bit.

Sizes reach every kernel: lists of a warp and of a block, slices, parts of them, rows that several blocks do
(clusters, where the card has them), both sides of a mask.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import warphash  # noqa: F401  (registers the operators)
from torch import Tensor

from .test_emulated_product import RINGS, Pattern, pattern, values_for

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

# Lengths of rows of a, how many rows b has, their greatest length, columns.
SHAPES = {
    "short rows": ([3, 0, 9, 1, 40] * 500, 3000, 10, 100_000),
    "lists of a block": ([40, 90, 3] * 100, 5000, 60, 1_000_000),
    "slices": ([300, 900, 5] * 50, 4000, 300, 200_000),
    "parts of a slice": ([400] * 40, 1000, 3000, 60_000),
    "parts of a row": ([9000, 4, 20_000, 700], 30_000, 200, 500_000),
    "rounds of a row": ([3000, 5, 2500] * 3, 4000, 400, 2_000_000),
    "a narrow hub": ([8000, 1, 7000], 8000, 150, 700),
    "many slices": ([700] * 20, 2000, 500, 3_000_000),
}


def operands(name: str) -> tuple[Pattern, Pattern]:
    lengths, inner, longest, columns = SHAPES[name]
    rows = torch.randint(0, longest + 1, (inner,), generator=torch.Generator().manual_seed(1))
    # Drawing without replacement from all columns would take long: each row's are spread over them.
    start = torch.randint(0, columns, (inner,), generator=torch.Generator().manual_seed(2)).repeat_interleave(rows)
    crow = torch.cat([torch.zeros(1, dtype=torch.int64), rows.cumsum(0)])
    place = torch.arange(int(crow[-1])) - crow[:-1].repeat_interleave(rows)
    col = (start + place * (columns // (longest + 1))) % columns
    order = torch.argsort(torch.arange(inner).repeat_interleave(rows) * columns + col)
    return pattern(lengths, inner), (crow, col[order].int(), columns)


def same(name: str, *arguments: Any) -> Any:
    operator = getattr(torch.ops.warphash, name)
    expected = operator(*arguments)
    found = operator(*(x.cuda() if isinstance(x, Tensor) else x for x in arguments))
    one = isinstance(expected, Tensor)
    for a, b in zip((found,) if one else found, (expected,) if one else expected, strict=True):
        assert a.is_cuda
        torch.testing.assert_close(a.cpu(), b, rtol=0, atol=0, equal_nan=True)
    return expected


@pytest.mark.parametrize("index", [torch.int32, torch.int64])
@pytest.mark.parametrize("name", SHAPES)
def test_products(name: str, index: torch.dtype) -> None:
    a, b = operands(name)
    columns = b[2]
    left, right = (a[0].to(index), a[1].to(index)), (b[0].to(index), b[1].to(index))
    crow, col = same("spgemm_pattern", *left, *right, columns, None, None)
    same("spgemm_inspect", crow, col, columns)
    same("spgemm_inspect", crow, col, columns // 2)
    # Masks: all of a row's entries or columns; every 50th of them, to be searched in b.
    masks = [(crow, col)]
    rows = torch.repeat_interleave(torch.arange(len(crow) - 1), crow.long().diff())[::50]
    counts = torch.bincount(rows, minlength=len(crow) - 1).cumsum(0).to(index)
    masks.append((torch.cat([counts.new_zeros(1), counts]), col[::50]))
    for dtype, semiring in RINGS:
        given = (*left, values_for(len(a[1]), dtype), *right, values_for(len(b[1]), dtype, 1), columns, semiring)
        same("spgemm_matmul", *given, None, None)
        same("spgemm_matmul", *given, *masks[1])
        for mask in masks:
            same("spgemm_masked", *given, *mask)


def test_again() -> None:
    """The same bits every time."""
    a, b = operands("parts of a row")
    given = [*a[:2], values_for(len(a[1]), torch.float32), *b[:2], values_for(len(b[1]), torch.float32, 1)]
    given = [x.int() if x.dtype == torch.int64 else x for x in given]
    expected = torch.ops.warphash.spgemm_matmul(*given, b[2], 0, None, None)
    on_card = [x.cuda() for x in given]
    for _ in range(100):
        found = torch.ops.warphash.spgemm_matmul(*on_card, b[2], 0, None, None)
        for x, y in zip(found, expected, strict=True):
            torch.testing.assert_close(x.cpu(), y, rtol=0, atol=0, equal_nan=True)
