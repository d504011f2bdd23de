# SPDX-License-Identifier: Apache-2.0
"""The CUDA entry of the largest entries, on CPU tensors over emulated kernels, against the CPU operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import warphash  # noqa: F401  (registers the CPU operators)
from cuda_emulation.emulated import MODE
from cuda_emulation.operators import load_operators

from .test_emulated_numeric import PROBLEMS, problem
from .test_emulated_numeric_operators import FLOATS, same, values_of, with_values
from .test_emulated_topk import KERNELS

pytestmark = pytest.mark.skipif(MODE != "plain", reason="the kernels are checked in the other modes by their own tests")


@pytest.fixture(scope="module")
def emulated() -> Any:
    return load_operators([*KERNELS, "csrc/spgemm/narrowed.cu"], "tests/spgemm/emulated_topk_operators.cpp")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_topk(emulated: Any, name: str, dtype: torch.dtype) -> None:
    a, b, _ = problem(name)
    generator = np.random.default_rng(0)
    for index in (torch.int32, torch.int64):
        operands = [with_values(x, values_of(generator, x, dtype), index) for x in (a, b)]
        for k in (0, 1, 9, 70):
            same(emulated, "spgemm_topk", *operands[0], *operands[1], b.columns, k)


def test_last_line_of_checks(emulated: Any) -> None:
    a, b, _ = problem("small")
    left, right = (with_values(x, torch.ones(len(x.col)), torch.int64) for x in (a, b))
    whole = [(*operand[:2], operand[2].int()) for operand in (left, right)]
    for call in (
        lambda: emulated.spgemm_topk(*left, *right, b.columns, -1),
        lambda: emulated.spgemm_topk(*left, *right, -1, 3),
        lambda: emulated.spgemm_topk(*whole[0], *whole[1], b.columns, 3),
        lambda: emulated.spgemm_topk(*left, *whole[1], b.columns, 3),
        lambda: emulated.spgemm_topk(*left[:2], left[2][1:], *right, b.columns, 3),
    ):
        with pytest.raises(RuntimeError, match="must"):
            call()
