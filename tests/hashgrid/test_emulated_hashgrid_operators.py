# SPDX-License-Identifier: Apache-2.0
"""The CUDA entries of the operators, on CPU tensors over emulated kernels, against the CPU operators."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from cuda_emulation.emulated import MODE
from cuda_emulation.operators import load_operators
from torch import Tensor

from .emulated_calls import FIRST, KERNELS, SECOND, Call, assert_same, assert_same_bits
from .samples import DTYPES, small, strided

pytestmark = pytest.mark.skipif(MODE != "plain", reason="the kernels are checked in the other modes by their own tests")


@pytest.fixture(scope="module")
def emulated() -> Any:
    return load_operators(KERNELS, "tests/hashgrid/emulated_operators.cpp")


def arguments(call: Call, order: int) -> tuple[Any, ...]:
    given = (call.gradient, call.x, call.table, call.weights, call.spec.text)
    return given if order == 1 else (call.v, *given)


def same(emulated: Any, call: Call) -> None:
    """All three operators, with and without each of their outputs."""
    given = (call.x, call.table, call.weights, call.spec.text)
    assert_same_bits(emulated.hashgrid_encode(*given), torch.ops.warphash.hashgrid_encode(*given))
    for order, names in ((1, FIRST), (2, SECOND)):
        name = "hashgrid_backward" if order == 1 else "hashgrid_double_backward"
        for flags in itertools.product((False, True), repeat=len(names)):
            given = (*arguments(call, order), *flags)
            expected = dict(zip(names, getattr(torch.ops.warphash, name)(*given, True), strict=True))
            for deterministic in (False, True):
                found = dict(zip(names, getattr(emulated, name)(*given, deterministic), strict=True))
                assert [(t.dtype, t.shape) for t in found.values()] == [(t.dtype, t.shape) for t in expected.values()]
                assert_same(found, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 40])
def test_counts_and_types(emulated: Any, count: int, dtype: torch.dtype) -> None:
    for weighted in (False, True):
        same(emulated, Call.random(small(2), count, dtype, weighted=weighted).spoiled())


@pytest.mark.parametrize("dims", [1, 3, 4, 6])
def test_dims(emulated: Any, dims: int) -> None:
    same(emulated, Call.random(small(dims, interpolation="smoothstep", features=3), 33))


def test_strided_and_offset_inputs(emulated: Any) -> None:
    def later(tensor: Tensor) -> Tensor:
        return torch.cat([tensor[:1], tensor])[1:]

    call = Call.random(small(features=1), 33)
    names = ("x", "table", "gradient", "v")
    for change in (strided, later):
        same(emulated, dataclasses.replace(call, **{name: change(getattr(call, name)) for name in names}))
    expanded = {name: getattr(call, name)[:1].expand_as(getattr(call, name)) for name in ("x", "gradient", "v")}
    same(emulated, dataclasses.replace(call, **expanded))


@pytest.mark.parametrize("count", [0, 1, 40])
def test_total_variation(emulated: Any, count: int) -> None:
    call = Call.random(small(), count).spoiled()
    for deterministic in (False, True):
        found, expected = (
            {
                "by_level": operators.hashgrid_variation(call.x, call.table, call.spec.text),
                "of_table": operators.hashgrid_variation_backward(
                    call.weights, call.x, call.table, call.spec.text, deterministic
                ),
            }
            for operators in (emulated, torch.ops.warphash)
        )
        assert_same(found, expected)


def test_last_line_of_checks(emulated: Any) -> None:
    call = Call.random(small(), 9)
    wrong = [
        {"x": call.x[0]},
        {"x": call.x[:, :2]},
        {"x": call.x.double()},
        {"table": call.table[1:]},
        {"table": call.table.int()},
        {"table": call.table.flatten()},
        {"weights": call.weights[:2] if call.weights is not None else None},
        {"weights": torch.ones(call.spec.levels, dtype=torch.float64)},
        {"gradient": call.gradient[:, 1:]},
        {"gradient": call.gradient[1:]},
        {"gradient": call.gradient.half()},
        {"v": call.v[1:]},
        {"v": call.v.double()},
    ]
    for change in wrong:
        bad = dataclasses.replace(call, **change)
        if not change.keys() & {"gradient", "v"}:
            with pytest.raises(RuntimeError, match="must be"):
                emulated.hashgrid_encode(bad.x, bad.table, bad.weights, bad.spec.text)
        if "v" not in change:
            with pytest.raises(RuntimeError, match="must be"):
                emulated.hashgrid_backward(*arguments(bad, 1), True, True, True, False)
        with pytest.raises(RuntimeError, match=r"must (be|have)"):
            emulated.hashgrid_double_backward(*arguments(bad, 2), True, True, True, True, False)
    with pytest.raises(RuntimeError, match="grid: unknown kind"):
        emulated.hashgrid_encode(call.x, call.table, None, "sparse linear 3;1.0 1.0 1.0 8")
