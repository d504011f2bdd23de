# SPDX-License-Identifier: Apache-2.0
"""The CUDA entries of projections, on CPU tensors over emulated kernels, against the CPU operators, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import warphash  # noqa: F401  (registers the CPU operators)
from cuda_emulation.emulated import MODE
from cuda_emulation.operators import load_operators
from torch import Tensor

from .test_emulated_projections import DTYPES, KERNELS, NAMES, planes, signs, vectors

pytestmark = pytest.mark.skipif(MODE != "plain", reason="the kernels are checked in the other modes by their own tests")


@pytest.fixture(scope="module")
def emulated() -> Any:
    return load_operators(KERNELS, "tests/lsh/emulated_projections_operators.cpp")


def same(emulated: Any, name: str, *arguments: Any) -> None:
    found, expected = getattr(emulated, name)(*arguments), getattr(torch.ops.warphash, name)(*arguments)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert torch.equal(found, expected)


def all_same(emulated: Any, x: Tensor) -> None:
    dim = x.shape[-1]
    wide = (torch.float32, torch.float64) if x.dtype == torch.float64 else (torch.float32,)
    for dtype in wide:
        for bits in (0, 7, 70):
            same(emulated, "lsh_simhash", x, planes(dim, bits, dtype), False)
        for bits in (1, 9, 30):
            for gray in (False, True):
                same(emulated, "lsh_simhash_codes", x, planes(dim, 2 * bits, dtype), bits, gray)
        same(emulated, "lsh_pstable", x, planes(dim, 10, dtype), planes(1, 10)[0], 0.3)
    same(emulated, "lsh_simhash", x.double(), planes(dim, 20), True)  # never by tensor cores
    signs_of_planes = planes(dim, 70).sign()
    same(emulated, "lsh_simhash", x.nan_to_num(0, 1, -1).round().clamp(-9, 9), signs_of_planes, True)
    negative = signs(2, dim)
    size = 8 * negative.shape[-1]
    for bits in (size + 1, 2 * size):
        same(emulated, "lsh_hd3", x, negative, bits)
    same(emulated, "lsh_hd3", x, negative[:0], 0)
    same(emulated, "lsh_cross_polytope", x, negative)
    same(emulated, "lsh_cross_polytope", x, negative[:0])


@pytest.mark.parametrize("dtype", DTYPES, ids=NAMES)
@pytest.mark.parametrize(("rows", "dim"), [(0, 5), (5, 0), (9, 40), (3, 1100)])
def test_operators(emulated: Any, rows: int, dim: int, dtype: torch.dtype) -> None:
    all_same(emulated, vectors(rows, dim, dtype))


def test_shapes_and_strides(emulated: Any) -> None:
    x = vectors(12, 20, torch.float32)
    all_same(emulated, x[5])
    all_same(emulated, x.view(2, 3, 2, 20))
    all_same(emulated, x[::2, 1:17])
    all_same(emulated, x.t()[:9])
    all_same(emulated, x[:1].expand(6, 20))
    same(emulated, "lsh_simhash", x, planes(30, 20).t(), False)


def test_last_line_of_checks(emulated: Any) -> None:
    x, normals, negative = vectors(3, 20, torch.float32), planes(20, 6), signs(2, 20)
    for call in (
        lambda: emulated.lsh_simhash(x.int(), normals, False),
        lambda: emulated.lsh_simhash(x[0, 0], normals, False),
        lambda: emulated.lsh_simhash(x, normals[1:], True),
        lambda: emulated.lsh_simhash(x, normals.double(), False),
        lambda: emulated.lsh_simhash(x, normals[0], False),
        lambda: emulated.lsh_simhash_codes(x, normals, 4, False),
        lambda: emulated.lsh_simhash_codes(x, planes(20, 62), 31, False),
        lambda: emulated.lsh_pstable(x, normals, normals[0, 1:], 1.0),
        lambda: emulated.lsh_pstable(x, normals, normals[0], 0.0),
        lambda: emulated.lsh_hd3(x, negative[:, :, 1:], 40),
        lambda: emulated.lsh_hd3(x, negative, 65),
        lambda: emulated.lsh_hd3(x, negative.int(), 40),
        lambda: emulated.lsh_cross_polytope(x, negative[:, 1:]),
    ):
        with pytest.raises(RuntimeError, match="must"):
            call()
