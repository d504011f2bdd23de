# SPDX-License-Identifier: Apache-2.0
"""On a CUDA device: known patterns, gradients, winners and largest entries against the CPU operators, bit for bit.

Sizes reach every kernel: rows of a warp and parts of long ones, dense and searched pieces, dense and hashed slices.
"""

from __future__ import annotations

import pytest
import torch
import warphash  # noqa: F401  (registers the operators)

from .test_emulated_product import RINGS, values_for
from .test_product_on_card import SHAPES, operands, same

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("index", [torch.int32, torch.int64])
@pytest.mark.parametrize("name", SHAPES)
def test_known_patterns(name: str, index: torch.dtype) -> None:
    a, b = operands(name)
    columns = b[2]
    left, right = (a[0].to(index), a[1].to(index)), (b[0].to(index), b[1].to(index))
    pattern = torch.ops.warphash.spgemm_pattern(*left, *right, columns, None, None)
    for dtype, semiring in RINGS:
        given = (*left, values_for(len(a[1]), dtype), *right, values_for(len(b[1]), dtype, 1), *pattern, columns)
        for covers in (False, True):
            same("spgemm_numeric", *given, semiring, covers)
        if semiring > 1:
            same("spgemm_winners", *given, semiring)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", SHAPES)
def test_gradients_and_largest(name: str, dtype: torch.dtype) -> None:
    a, b = operands(name)
    columns = b[2]
    left, right = (a[0].int(), a[1].int()), (b[0].int(), b[1].int())
    crow, col = torch.ops.warphash.spgemm_pattern(*left, *right, columns, None, None)
    given = (*left, torch.randn(len(a[1])).to(dtype), *right, torch.randn(len(b[1])).to(dtype))
    same("spgemm_gradients", torch.randn(len(col)).to(dtype), *given, crow, col, columns, True, True)
    for k in (1, 100, 2000, 5000):
        same("spgemm_topk", *given, columns, k)


def test_again() -> None:
    """The same bits every time."""
    a, b = operands("parts of a row")
    given = [*a[:2], values_for(len(a[1]), torch.float32), *b[:2], values_for(len(b[1]), torch.float32, 1)]
    given = [x.int() if x.dtype == torch.int64 else x for x in given]
    crow, col = torch.ops.warphash.spgemm_pattern(given[0], given[1], given[3], given[4], b[2], None, None)
    for _ in range(20):
        same("spgemm_numeric", *given, crow, col, b[2], 0, True)
        same("spgemm_topk", *given, b[2], 300)
