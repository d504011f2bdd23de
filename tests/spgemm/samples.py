# SPDX-License-Identifier: Apache-2.0
"""Sparse products for the conformance checks: functions take pieces, since torch compiles no CSR tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from conformance.op_case import OpCase, Sample
from torch import Tensor
from warphash.spgemm import reference, registration
from warphash.spgemm.csr import MAX_TIMES, MIN_PLUS, OR_AND, PLUS_TIMES

from spgemm.matrices import FLOATS, VALUES, numbers, parts, random_csr


@dataclasses.dataclass(frozen=True)
class Held:
    """A part of a pattern that a check must leave as it is."""

    part: Tensor


def _opened(like: Tensor, *given: Any) -> tuple[Any, ...]:
    return tuple(x.part.to(like.device) if isinstance(x, Held) else x for x in given)


def _ordered(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """(values of a and b, patterns, others) as the operators take them."""
    a, b, a_crow, a_col, b_crow, b_col, *rest = _opened(arguments[0], *arguments)
    return (a_crow, a_col, a, b_crow, b_col, b, *rest)


def _without_gradient(sample: Sample) -> tuple[Any, ...]:
    """Torch's opcheck adds a float sum to one of integers where those come first: test_operators.py has the rest."""
    return tuple(x.detach() if isinstance(x, Tensor) else x for x in _ordered(sample.arguments))


def _values_first(function: Any) -> Any:
    def call(*arguments: Any) -> tuple[Tensor, ...]:
        crow, col, values = function(*_ordered(arguments))
        return values, crow, col

    return call


def _plain(function: Any) -> Any:
    return lambda *arguments: function(*_ordered(arguments))


# The compiler looks into functions: these it must know by name.
def product(*arguments: Any) -> tuple[Tensor, ...]:
    """``registration.product``, values first."""
    crow, col, values = registration.product(*_ordered(arguments))
    return values, crow, col


def masked(*arguments: Any) -> tuple[Tensor, ...]:
    """``registration.masked``, values first."""
    crow, col, values = registration.masked(*_ordered(arguments))
    return values, crow, col


def numeric(*arguments: Any) -> Tensor:
    """``registration.numeric``."""
    out: Tensor = registration.numeric(*_ordered(arguments))
    return out


def topk(*arguments: Any) -> tuple[Tensor, Tensor]:
    """``registration.topk``."""
    out: tuple[Tensor, Tensor] = registration.topk(*_ordered(arguments))
    return out


def problem(
    shape: tuple[int, int, int] = (13, 11, 17),
    density: float = 0.3,
    dtype: torch.dtype = torch.float32,
    index: torch.dtype = torch.int64,
    seed: int = 0,
    grad: bool = False,
) -> tuple[Any, ...]:
    """Values of a and b, their patterns, columns."""
    rows, inner, columns = shape
    a = random_csr(rows, inner, density, seed, dtype, index, real=dtype.is_floating_point)
    b = random_csr(inner, columns, density, seed + 1, dtype, index, real=dtype.is_floating_point)
    values = [x.values().clone().requires_grad_(grad) for x in (a, b)]
    return (*values, *parts(a)[:2], *parts(b)[:2], columns)


def held(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same with patterns that no check changes."""
    return (*arguments[:2], *(Held(x) if isinstance(x, Tensor) else x for x in arguments[2:]))


def _mask(arguments: tuple[Any, ...], density: float = 0.5) -> tuple[Tensor, Tensor]:
    rows, columns = len(arguments[2]) - 1, arguments[6]
    return parts(random_csr(rows, columns, density, 5, torch.bool, arguments[2].dtype))[:2]


def _spread(x: Tensor) -> Tensor:
    return torch.stack([x, x], 1)[:, 0]


def _strided(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_spread(x) if isinstance(x, Tensor) else x for x in arguments)


def _base() -> list[tuple[str, tuple[Any, ...], int]]:
    """(name, operands, semiring) of products."""
    found = [(f"plus_times {dtype}", problem(dtype=dtype), PLUS_TIMES) for dtype in VALUES]
    found += [(f"least {dtype}", problem(dtype=dtype), MIN_PLUS) for dtype in (torch.float32, torch.int32)]
    found += [(f"largest {dtype}", problem(dtype=dtype), MAX_TIMES) for dtype in (torch.float64, torch.int64)]
    found += [
        ("or_and", problem(dtype=torch.bool), OR_AND),
        ("int32 indices", problem(index=torch.int32), PLUS_TIMES),
        ("requires_grad", problem(grad=True), PLUS_TIMES),
        ("requires_grad, least", problem(dtype=torch.float64, grad=True), MIN_PLUS),
        ("not contiguous", _strided(problem()), PLUS_TIMES),
        ("no rows", problem((0, 11, 17)), PLUS_TIMES),
        ("no inner indices", problem((13, 0, 17)), PLUS_TIMES),
        ("no columns", problem((13, 11, 0)), PLUS_TIMES),
        ("no entries", problem(density=0.0), PLUS_TIMES),
        ("dense", problem(density=1.0), PLUS_TIMES),
    ]
    return found


def _pattern(arguments: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    _, _, a_crow, a_col, b_crow, b_col, columns = arguments
    return reference.pattern(a_crow, a_col, b_crow, b_col, columns)


SHAPES = ((1, 1, 1), (1, 40, 1), (40, 1, 70), (3, 5, 17), (5, 33, 65), (2, 9, 300), (17, 4, 129))


def _sweep() -> Iterator[tuple[str, tuple[Any, ...], int]]:
    for seed, shape in enumerate(SHAPES):
        for dtype in VALUES:
            for semiring in (PLUS_TIMES, MIN_PLUS, MAX_TIMES) if dtype != torch.bool else (OR_AND,):
                index = (torch.int32, torch.int64)[seed % 2]
                yield f"{shape}, {dtype}, {semiring}", problem(shape, 0.4, dtype, index, seed), semiring


LARGE = problem((2000, 1500, 3000), 0.01)
# An exported program has its number of columns.
FIRST, SECOND = problem((13, 11, 17), 0.4), problem((19, 23, 17), 0.3, seed=3)
ITEM = problem(seed=4)
GRADIENT = problem((6, 5, 7), 0.5, torch.float64, grad=True)
# Sums are the definition's bit for bit: no tolerance.


def _with_mask(arguments: tuple[Any, ...], semiring: int) -> tuple[Any, ...]:
    return (*arguments, semiring, *_mask(arguments))


def _on_pattern(arguments: tuple[Any, ...], semiring: int, covers: bool = True) -> tuple[Any, ...]:
    crow, col = _pattern(arguments) if covers else _mask(arguments)
    return (*arguments[:6], crow, col, arguments[6], semiring, covers)


def _product_samples() -> list[Sample]:
    found = [Sample(name, (*x, semiring, None, None)) for name, x, semiring in _base()]
    return [*found, Sample("without some", _with_mask(problem(), PLUS_TIMES))]


def _numeric_samples() -> list[Sample]:
    found = [Sample(name, _on_pattern(x, semiring)) for name, x, semiring in _base()]
    for semiring in (PLUS_TIMES, MIN_PLUS):
        found.append(Sample(f"on another pattern, {semiring}", _on_pattern(problem(), semiring, False)))
    return found


def _topk_samples() -> list[Sample]:
    found = [Sample(name, (*x, 3)) for name, x, semiring in _base() if semiring == PLUS_TIMES and x[0].dtype in FLOATS]
    return [*found, Sample("none", (*problem(), 0)), Sample("all and more", (*problem(), 20))]


CASES: list[OpCase] = [
    OpCase(
        op="spgemm_matmul",
        function=product,
        reference=_values_first(reference.matmul),
        samples=_product_samples(),
        operator_arguments=_without_gradient,
        resized=(Sample("first", (*FIRST, 0, None, None)), Sample("second", (*SECOND, 0, None, None))),
        large=Sample("large", held((*LARGE, 0, None, None))),
        bad_calls=[],
        sweep=lambda: (Sample(name, (*x, semiring, None, None)) for name, x, semiring in _sweep()),
        batches=[Sample("item", (*ITEM, 0, None, None))],
        data_dependent=True,
        differentiable=True,
        gradient=Sample("gradient", (*GRADIENT, 0, None, None)),
    ),
    OpCase(
        op="spgemm_masked",
        function=masked,
        reference=_values_first(reference.masked),
        samples=[Sample(name, _with_mask(x, semiring)) for name, x, semiring in _base()],
        operator_arguments=_without_gradient,
        resized=(Sample("first", _with_mask(FIRST, 0)), Sample("second", _with_mask(SECOND, 0))),
        large=Sample("large", held((*LARGE, 0, *_mask(LARGE, 0.05)))),
        bad_calls=[],
        sweep=lambda: (Sample(name, _with_mask(x, semiring)) for name, x, semiring in _sweep()),
        batches=[Sample("item", _with_mask(ITEM, 0))],
        data_dependent=True,
        differentiable=True,
        gradient=Sample("gradient", _with_mask(GRADIENT, 0)),
    ),
    OpCase(
        op="spgemm_numeric",
        function=numeric,
        reference=_plain(reference.numeric),
        samples=_numeric_samples(),
        operator_arguments=lambda sample: _ordered(sample.arguments),
        resized=(Sample("first", _on_pattern(FIRST, 0)), Sample("second", _on_pattern(SECOND, 0))),
        large=Sample("large", held(_on_pattern(LARGE, 0))),
        bad_calls=[],
        sweep=lambda: (Sample(name, _on_pattern(x, semiring)) for name, x, semiring in _sweep()),
        batches=[Sample("item", held(_on_pattern(ITEM, 0))), Sample("least", held(_on_pattern(ITEM, 2)))],
        differentiable=True,
        gradient=Sample("gradient", _on_pattern(GRADIENT, 0)),
    ),
    OpCase(
        op="spgemm_topk",
        function=topk,
        reference=_plain(reference.topk),
        samples=_topk_samples(),
        operator_arguments=lambda sample: _ordered(sample.arguments),
        resized=(Sample("first", (*FIRST, 3)), Sample("second", (*SECOND, 3))),
        large=Sample("large", held((*LARGE, 10))),
        bad_calls=[],
        sweep=lambda: (
            Sample(name, (*x, 5)) for name, x, semiring in _sweep() if semiring == PLUS_TIMES and x[0].dtype in FLOATS
        ),
        batches=[Sample("item", held((*ITEM, 3)))],
        differentiable=True,
        # As many as every row has, so that no padding of -inf is differentiated.
        gradient=Sample("gradient", (*problem((6, 5, 7), 1.0, torch.float64, grad=True), 3)),
    ),
]


def calls() -> list[tuple[str, str, tuple[Any, ...]]]:
    """(operator, name, arguments) of the operators without a public function of their own."""
    found: list[tuple[str, str, tuple[Any, ...]]] = []
    for name, x, semiring in _base():
        a_crow, a_col, a, b_crow, b_col, b, columns = _ordered(x)
        operands, patterns = (a_crow, a_col, a, b_crow, b_col, b), (a_crow, a_col, b_crow, b_col)
        crow, col = _pattern(x)
        excluded = (None, None) if semiring == PLUS_TIMES else _mask(x)
        found += [
            ("spgemm_inspect", name, (a_crow, a_col, len(b_crow) - 1)),
            ("spgemm_pattern", name, (*patterns, columns, *excluded)),
            ("spgemm_masked_pattern", name, (*patterns, columns, *_mask(x))),
        ]
        if semiring in (MIN_PLUS, MAX_TIMES):
            found.append(("spgemm_winners", name, (*operands, crow, col, columns, semiring)))
        if semiring == PLUS_TIMES and a.dtype in FLOATS:
            gradient = numbers(len(col), a.dtype, np.random.default_rng(7))
            found.append(("spgemm_gradients", name, (gradient, *operands, crow, col, columns, True, True)))
            found.append(("spgemm_gradients", f"{name}, of a", (gradient, *operands, crow, col, columns, True, False)))
    return found
