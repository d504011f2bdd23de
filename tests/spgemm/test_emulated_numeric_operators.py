# SPDX-License-Identifier: Apache-2.0
"""The CUDA entries of numeric, gradients and winners, over emulated kernels: bits of the CPU operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import warphash  # noqa: F401  (registers the CPU operators)
from cuda_emulation.emulated import MODE
from cuda_emulation.operators import load_operators

from .test_emulated_numeric import KERNELS, PROBLEMS, Csr, as_tensor, csr_of, other_pattern, problem, sparse, values_for

pytestmark = pytest.mark.skipif(MODE != "plain", reason="the kernels are checked in the other modes by their own tests")

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.fixture(scope="module")
def emulated() -> Any:
    return load_operators(KERNELS, "tests/spgemm/emulated_numeric_operators.cpp")


def same(emulated: Any, name: str, *arguments: Any) -> None:
    found, expected = getattr(emulated, name)(*arguments), getattr(torch.ops.warphash, name)(*arguments)
    pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
    for a, b in pairs:
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def values_of(generator: np.random.Generator, operand: Csr, dtype: torch.dtype) -> torch.Tensor:
    kinds = {torch.bool: "uint8", torch.int32: "int32", torch.int64: "int64"}
    return as_tensor(values_for(generator, len(operand.col), kinds.get(dtype, "float64"))).to(dtype)


def with_values(operand: Csr, values: torch.Tensor, index: torch.dtype) -> tuple[torch.Tensor, ...]:
    return (*(tensor.to(index) for tensor in operand.tensors()), values)


@pytest.mark.parametrize("index", [torch.int32, torch.int64])
@pytest.mark.parametrize("name", PROBLEMS)
def test_values_and_winners(emulated: Any, name: str, index: torch.dtype) -> None:
    a, b, product = problem(name)
    generator = np.random.default_rng(0)
    for dtype in (torch.bool, torch.int32, torch.int64, *FLOATS):
        left = with_values(a, values_of(generator, a, dtype), index)
        right = with_values(b, values_of(generator, b, dtype), index)
        for pattern in (product, other_pattern(product)):
            where = tuple(tensor.to(index) for tensor in pattern.tensors())
            for semiring in (0, 1) if dtype == torch.bool else (0, 2, 3):
                for covers in (False, True) if pattern is product else (False,):
                    same(emulated, "spgemm_numeric", *left, *right, *where, b.columns, semiring, covers)
                if semiring > 1:
                    same(emulated, "spgemm_winners", *left, *right, *where, b.columns, semiring)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_gradients(emulated: Any, name: str, dtype: torch.dtype) -> None:
    a, b, product = problem(name)
    for pattern in (product, other_pattern(product)):
        of_a, of_b, gradient = (torch.randn(len(operand.col)).to(dtype) for operand in (a, b, pattern))
        for index in (torch.int32, torch.int64):
            operands = (*with_values(a, of_a, index), *with_values(b, of_b, index))
            where = tuple(tensor.to(index) for tensor in pattern.tensors())
            for wanted in ((True, True), (True, False), (False, True), (False, False)):
                same(emulated, "spgemm_gradients", gradient, *operands, *where, b.columns, *wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_gradients_of_many_products(emulated: Any, dtype: torch.dtype) -> None:
    """From 2^18 products on, sums of b's gradient are made in blocks of rows, whose bits show where they end."""
    generator = np.random.default_rng(6)
    a, b = csr_of(sparse(generator, 70, 60, 0.9)), csr_of(sparse(generator, 60, 90, 0.9))
    pattern = csr_of(np.ones((70, 90)))
    of_a, of_b, gradient = (torch.randn(len(operand.col)).to(dtype) for operand in (a, b, pattern))
    operands = (*with_values(a, of_a, torch.int32), *with_values(b, of_b, torch.int32))
    where = tuple(tensor.to(torch.int32) for tensor in pattern.tensors())
    same(emulated, "spgemm_gradients", gradient, *operands, *where, b.columns, True, True)


def test_last_line_of_checks(emulated: Any) -> None:
    a, b, pattern = problem("small")
    left, right = (with_values(x, torch.ones(len(x.col)), torch.int64) for x in (a, b))
    where, columns = pattern.tensors(), b.columns
    gradient = torch.ones(len(pattern.col))
    short, doubles = (*left[:2], left[2][:-1]), (*left[:2], left[2].double())
    for call in (
        lambda: emulated.spgemm_numeric(*left, *right, *where, columns, 4, False),
        lambda: emulated.spgemm_numeric(*left, *right, *where, columns, 1, False),
        lambda: emulated.spgemm_numeric(*left, *right, *where, -1, 0, False),
        lambda: emulated.spgemm_numeric(*short, *right, *where, columns, 0, False),
        lambda: emulated.spgemm_numeric(*doubles, *right, *where, columns, 0, False),
        lambda: emulated.spgemm_numeric(*left, *right, where[0][:-1], where[1], columns, 0, False),
        lambda: emulated.spgemm_numeric(*left, *right, *(x.int() for x in where), columns, 0, False),
        lambda: emulated.spgemm_winners(*left, *right, *where, columns, 0),
        lambda: emulated.spgemm_gradients(gradient.double(), *left, *right, *where, columns, True, True),
        lambda: emulated.spgemm_gradients(gradient[1:], *left, *right, *where, columns, True, True),
    ):
        with pytest.raises(RuntimeError, match=r"must|takes"):
            call()


@pytest.mark.parametrize("bad", [2**31, 2**32, 2**32 + 1, -(2**32), -5])
def test_wide_columns_never_become_others(emulated: Any, bad: int) -> None:
    """Nothing is refused, since nothing is waited for: such entries have no products."""
    row, good, wrong, one = torch.tensor([0, 1]), torch.tensor([0]), torch.tensor([bad]), torch.ones(1)
    second = torch.tensor([0, 1, 1])
    assert emulated.spgemm_numeric(row, good, one, second, good, one, row, good, 2, 0, False).tolist() == [1]
    for a, b, pattern in ((wrong, good, good), (good, wrong, good), (good, good, wrong)):
        operands = (row, a, one, second, b, one, row, pattern, 2)
        assert emulated.spgemm_numeric(*operands, 0, False).tolist() == [0]
        assert [x.tolist() for x in emulated.spgemm_gradients(one, *operands, True, True)] == [[0], [0]]
        assert [x.tolist() for x in emulated.spgemm_winners(*operands, 2)] == [[-1], [-1]]
