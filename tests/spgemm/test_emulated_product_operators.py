# SPDX-License-Identifier: Apache-2.0
"""The CUDA entries of products, masked products and inspection, over emulated kernels: bits of the CPU operators."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import warphash  # noqa: F401  (registers the CPU operators)
from cuda_emulation.emulated import MODE
from cuda_emulation.operators import load_operators
from torch import Tensor

from . import test_emulated_product_masked
from .test_emulated_numeric_operators import same
from .test_emulated_product import KERNELS, RINGS, SHAPES, Pattern, operands, pattern, values_for

pytestmark = pytest.mark.skipif(MODE != "plain", reason="the kernels are checked in the other modes by their own tests")

ALL_KERNELS = [*KERNELS, *test_emulated_product_masked.KERNELS[:3], "csrc/spgemm/narrowed.cu"]


@pytest.fixture(scope="module")
def emulated() -> Any:
    return load_operators(ALL_KERNELS, "tests/spgemm/emulated_product_operators.cpp")


def indices(given: Pattern, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return given[0].to(dtype), given[1].to(dtype)


@pytest.mark.parametrize("index", [torch.int32, torch.int64])
@pytest.mark.parametrize("name", SHAPES)
def test_products(emulated: Any, name: str, index: torch.dtype) -> None:
    a, b = operands(name)
    left, right, columns = indices(a, index), indices(b, index), b[2]
    mask = indices(pattern([min(columns, 3 + 40 * i) for i in range(len(a[0]) - 1)], columns, 2), index)
    same(emulated, "spgemm_pattern", *left, *right, columns, None, None)
    same(emulated, "spgemm_pattern", *left, *right, columns, *mask)
    same(emulated, "spgemm_masked_pattern", *left, *right, columns, *mask)
    for dtype, semiring in RINGS:
        given = (*left, values_for(len(a[1]), dtype), *right, values_for(len(b[1]), dtype, 1), columns, semiring)
        same(emulated, "spgemm_matmul", *given, None, None)
        same(emulated, "spgemm_matmul", *given, *mask)
        same(emulated, "spgemm_masked", *given, *mask)


@pytest.mark.parametrize("index", [torch.int32, torch.int64])
def test_empty_and_strided(emulated: Any, index: torch.dtype) -> None:
    for rows, inner, columns in ((0, 0, 0), (0, 3, 4), (3, 0, 4), (3, 4, 0), (3, 4, 5)):
        a, b = indices(pattern([0] * rows, inner), index), indices(pattern([0] * inner, columns), index)
        nothing = torch.zeros(0)
        same(emulated, "spgemm_matmul", *a, nothing, *b, nothing, columns, 0, None, None)
        same(emulated, "spgemm_pattern", *a, *b, columns, None, None)
        same(emulated, "spgemm_masked", *a, nothing, *b, nothing, columns, 0, *a[:1], a[1])
    a, b = (operand[:2] for operand in operands("small"))
    values = values_for(2 * len(a[1]), torch.float32)[::2]
    crow, col = (torch.stack([x.to(index), x.to(index)], 1)[:, 1] for x in a)
    right = tuple(x.to(index) for x in b)
    same(emulated, "spgemm_matmul", crow, col, values, *right, torch.ones(len(b[1])), 30, 0, None, None)


def test_inspection(emulated: Any) -> None:
    crow, col, columns = pattern([300, 0, 7, 40], 400)
    for index in (torch.int32, torch.int64):
        for pointers, places in ((crow, col), (crow.flip(0), col), (crow, col.flip(0)), (crow[:-1], col)):
            for count in (columns, 200, 0, 2**40):
                same(emulated, "spgemm_inspect", pointers.to(index), places.to(index), count)


def test_last_line_of_checks(emulated: Any) -> None:
    a, b = (operand[:2] for operand in operands("small"))
    left, right = (a[0], a[1].long()), (b[0], b[1].long())
    ones = torch.ones(len(a[1])), torch.ones(len(b[1]))
    for call in (
        lambda: emulated.spgemm_pattern(a[0], a[1], *right, 30, None, None),
        lambda: emulated.spgemm_pattern(*left, *right, -1, None, None),
        lambda: emulated.spgemm_pattern(*left, *right, 30, a[0], None),
        lambda: emulated.spgemm_pattern(*left, *right, 30, *right),
        lambda: emulated.spgemm_masked_pattern(*left, *right, 30, *right),
        lambda: emulated.spgemm_matmul(*left, ones[0].double(), *right, ones[1], 30, 0, None, None),
        lambda: emulated.spgemm_matmul(*left, ones[0][1:], *right, ones[1], 30, 0, None, None),
        lambda: emulated.spgemm_matmul(*left, ones[0], *right, ones[1], 30, 4, None, None),
        lambda: emulated.spgemm_inspect(left[0].double(), left[1], 30),
        lambda: emulated.spgemm_inspect(left[0][:0], left[1], 30),
    ):
        with pytest.raises(RuntimeError, match="must"):
            call()
    with pytest.raises(RuntimeError, match="or_and takes bool"):
        emulated.spgemm_matmul(*left, ones[0], *right, ones[1], 30, 1, None, None)
