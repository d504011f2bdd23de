# SPDX-License-Identifier: Apache-2.0
"""The operators by name: registered derivatives, and broken patterns, past the checks of the public functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import warphash as wh
from torch import Tensor

from spgemm import samples

ops = torch.ops.warphash


@pytest.mark.parametrize("case", samples.CASES[:2], ids=lambda case: case.op)
def test_opcheck_with_gradients(case: samples.OpCase) -> None:
    for sample in case.samples:
        if sample.requires_grad():
            arguments = samples._ordered(sample.arguments)
            torch.library.opcheck(
                case.operator, arguments, test_utils=("test_schema", "test_autograd_registration", "test_faketensor")
            )


@pytest.mark.parametrize("case", samples.CASES, ids=lambda case: case.op)
def test_registered_derivatives_are_the_functions(case: samples.OpCase) -> None:
    """Of the operator by name, for those who call it so: first and second order."""
    assert case.gradient is not None
    grads = []
    for by_name in (False, True):
        a, b, *rest = case.gradient.arguments
        inputs = [x.detach().clone().requires_grad_() for x in (a, b)]
        if by_name:
            out = case.operator(*samples._ordered((*inputs, *rest)))
            values = out if isinstance(out, Tensor) else next(x for x in out if x.is_floating_point())
        else:
            out = case.function(*inputs, *rest)
            values = out if isinstance(out, Tensor) else out[0]
        first = torch.autograd.grad(values.sin().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum((g * g).sum() for g in first), inputs)
        grads.append([*first, *second])
    torch.testing.assert_close(*grads)


def _broken() -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    yield "zeros", torch.zeros_like
    for value in (-1, 7, 10**6, 2**31 - 1, -(2**31)):
        yield f"all {value}", lambda x, value=value: torch.full_like(x, value)
        yield f"{value} within", lambda x, value=value: x.index_fill(0, torch.arange(1, max(1, len(x) - 1)), value)
    yield "backwards", lambda x: x.flip(0)
    yield "rolled", lambda x: x.roll(1)
    yield "shorter", lambda x: x[:-1]
    yield "longer", lambda x: torch.cat([x, x])
    yield "none", lambda x: x[:0]


def _calls() -> list[tuple[str, tuple[object, ...]]]:
    found: list[tuple[str, tuple[object, ...]]] = []
    for case in samples.CASES:
        found += [(case.op, samples._ordered(sample.arguments)) for sample in case.samples if "float32" in sample.name]
    return found + [(op, arguments) for op, name, arguments in samples.calls() if "float32" in name]


@pytest.mark.parametrize("index", [torch.int32, torch.int64])
def test_patterns_that_are_none_never_touch_foreign_memory(index: torch.dtype) -> None:
    """An error or some values; run under a sanitizer by scripts/asan.sh."""
    refused = 0
    for op, arguments in _calls():
        given = [x.to(index) if isinstance(x, Tensor) and not x.is_floating_point() else x for x in arguments]
        getattr(ops, op)(*given)
        for place, argument in enumerate(given):
            if not isinstance(argument, Tensor):
                continue
            for name, change in _broken():
                if argument.is_floating_point() and name not in ("shorter", "longer", "none"):
                    continue
                try:
                    getattr(ops, op)(*given[:place], change(argument), *given[place + 1 :])
                except (RuntimeError, ValueError, IndexError):
                    refused += 1
    assert refused > 100


def test_columns_beyond_32_bits_are_refused() -> None:
    arguments = list(samples._ordered(samples.problem()))
    for columns in (-1, 2**31, 2**40):
        with pytest.raises(RuntimeError, match="columns must be in"):
            ops.spgemm_matmul(*arguments[:6], columns, 0, None, None)


ONE, ROW, COLUMN = torch.ones(1), torch.tensor([0, 1]), torch.tensor([0])
# A 1 x 2 matrix by a 2 x 2 one, an entry each; a further pattern where there is one.
BY_OPERATOR = {
    "spgemm_matmul": (ROW, COLUMN, ONE, torch.tensor([0, 1, 1]), COLUMN, ONE, 2, 0, ROW, COLUMN),
    "spgemm_pattern": (ROW, COLUMN, torch.tensor([0, 1, 1]), COLUMN, 2, ROW, COLUMN),
    "spgemm_masked": (ROW, COLUMN, ONE, torch.tensor([0, 1, 1]), COLUMN, ONE, 2, 0, ROW, COLUMN),
    "spgemm_masked_pattern": (ROW, COLUMN, torch.tensor([0, 1, 1]), COLUMN, 2, ROW, COLUMN),
    "spgemm_numeric": (ROW, COLUMN, ONE, torch.tensor([0, 1, 1]), COLUMN, ONE, ROW, COLUMN, 2, 0, False),
    "spgemm_gradients": (ONE, ROW, COLUMN, ONE, torch.tensor([0, 1, 1]), COLUMN, ONE, ROW, COLUMN, 2, True, True),
    "spgemm_winners": (ROW, COLUMN, ONE, torch.tensor([0, 1, 1]), COLUMN, ONE, ROW, COLUMN, 2, 2),
    "spgemm_topk": (ROW, COLUMN, ONE, torch.tensor([0, 1, 1]), COLUMN, ONE, 2, 1),
}


@pytest.mark.parametrize("bad", [2**31, 2**32, 2**32 + 1, 2**33, -5, -(2**31) - 1, -(2**32), 1 - 2**32, -(2**63)])
@pytest.mark.parametrize("op", BY_OPERATOR)
def test_wide_columns_never_become_others(op: str, bad: int) -> None:
    """Kernels have columns of 32 bits: what does not fit is refused, wherever it comes."""
    arguments = BY_OPERATOR[op]
    operator = getattr(ops, op)
    operator(*arguments)
    places = [i for i, x in enumerate(arguments) if x is COLUMN]
    assert len(places) in (2, 3)
    for place in places:
        with pytest.raises((IndexError, ValueError), match=r"columns must (be in|ascend)"):
            operator(*arguments[:place], torch.tensor([bad]), *arguments[place + 1 :])
    # At the end of many, where threads share the work.
    many = torch.zeros(100_001, dtype=torch.int64)
    many[-1] = 2**32
    with pytest.raises(IndexError, match=r"^a's columns must be in \[0, 1\), got 4294967296 at entry 100000"):
        ops.spgemm_pattern(torch.arange(100_002), many, torch.tensor([0, 0]), COLUMN[:0], 3, None, None)


@pytest.mark.memory
def test_memory_that_there_is_not() -> None:
    many = 3_000_000
    left = (torch.arange(many + 1), torch.zeros(many, dtype=torch.int64), torch.ones(many))
    right = (torch.tensor([0, many]), torch.arange(many), torch.ones(many))
    a = wh.spgemm.csr.build(*left, (many, 1))
    b = wh.spgemm.csr.build(*right, (1, many))
    text = r"^not enough memory: {} bytes wanted for a result of shape \[{}\]$"
    for call in (
        lambda: wh.spgemm.matmul(a, b),
        lambda: wh.spgemm.plan(a, b),
        lambda: ops.spgemm_matmul(*left, *right, many, 0, None, None),
        lambda: ops.spgemm_matmul(*left[:2], ONE.expand(many).clone().requires_grad_(), *right, many, 0, None, None),
    ):
        with pytest.raises(MemoryError, match=text.format(8 * many * many, many * many)):
            call()
    with pytest.raises(MemoryError, match=text.format(4 * many * 10**9, f"{many}, {10**9}")):
        wh.spgemm.topk(a, b, 10**9)
