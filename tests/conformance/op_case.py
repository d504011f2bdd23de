# SPDX-License-Identifier: Apache-2.0
"""What a room tells the conformance checks of an operator: calls that work, calls that must not, what is promised.

A room lists its operators as ``CASES: list[OpCase]`` in ``tests/<room>/samples.py``; :func:`all_cases` finds them.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Sample:
    """One legal call of a public function."""

    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def tensors(self) -> list[Tensor]:
        """The tensor arguments, those by position first."""
        return [x for x in (*self.arguments, *self.options.values()) if isinstance(x, Tensor)]

    def replaced(self, tensors: list[Any]) -> Sample:
        """The same call with other tensors."""
        rest = iter(tensors)

        def swap(x: Any) -> Any:
            return next(rest) if isinstance(x, Tensor) else x

        arguments = tuple(swap(x) for x in self.arguments)
        return Sample(self.name, arguments, {name: swap(x) for name, x in self.options.items()})

    def mapped(self, change: Callable[[Tensor], Any]) -> Sample:
        """The same call with every tensor changed."""
        return self.replaced([change(x) for x in self.tensors()])

    def call(self, function: Callable[..., Any]) -> tuple[Tensor, ...]:
        """The outputs of the call, always a tuple."""
        out = function(*self.arguments, **self.options)
        return tuple(out) if isinstance(out, tuple) else (out,)

    def requires_grad(self) -> bool:
        """Whether an argument asks for a gradient."""
        return any(x.requires_grad for x in self.tensors())


@dataclasses.dataclass(frozen=True)
class BadCall:
    """A call that must raise ``error`` with a text that matches ``text``, which names the argument."""

    name: str
    arguments: tuple[Any, ...]
    error: type[Exception]
    text: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class OpCase:
    """An operator and its public function."""

    op: str
    """Name in the namespace ``warphash``."""
    function: Callable[..., Any]
    """The public function."""
    reference: Callable[..., Any]
    """The definition in plain torch, called as the public function is."""
    samples: list[Sample]
    """At least six: plain, requires_grad where inputs are floating, not contiguous, empty, with and without options."""
    operator_arguments: Callable[[Sample], tuple[Any, ...]]
    """Arguments of ``torch.ops.warphash.<op>`` for a sample of the public function."""
    resized: tuple[Sample, Sample]
    """Two calls that differ in the sizes of their tensors alone, all of them in every free size."""
    large: Sample
    """A call big enough to be cut into parts for several threads; about a tenth of a second at most."""
    bad_calls: list[BadCall]
    sweep: Callable[[], Iterator[Sample]]
    """Many small calls around the widths and row counts where vector loops have their tails."""
    batches: list[Sample]
    """Calls of one item for vmap, one for each way in which an argument may be shared by rows."""
    data_dependent: bool = False
    """Sizes of outputs depend on data: vmap and meta tensors are refused."""
    differentiable: bool = False
    """The first output is differentiable in the tensors of ``gradient`` that require a gradient."""
    gradient: Sample | None = None
    tolerance: dict[torch.dtype, tuple[float, float]] = dataclasses.field(default_factory=dict)
    """(rtol, atol) of floating outputs against the reference; dtypes that are not named are bit-equal."""

    @property
    def batch(self) -> Sample:
        """A call of one item for vmap."""
        return self.batches[0]

    @property
    def operator(self) -> Any:
        """The overload in torch's registry."""
        return getattr(torch.ops.warphash, self.op).default

    def matches(self, out: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
        """Asserts that outputs are those of the reference within the tolerance, dtype and shape too."""
        assert len(out) == len(expected)
        for got, wanted in zip(out, expected, strict=True):
            rtol, atol = self.tolerance.get(got.dtype, (0.0, 0.0))
            torch.testing.assert_close(got.detach(), wanted.detach(), rtol=rtol, atol=atol, equal_nan=True)


def all_cases() -> list[OpCase]:
    """The cases of every room that has samples."""
    rooms = sorted(path.parent.name for path in Path(__file__).parents[1].glob("*/samples.py"))
    return [case for room in rooms for case in importlib.import_module(f"{room}.samples").CASES]


def strided(x: Tensor) -> Tensor:
    """The same values with the dimensions' strides the other way round."""
    return x.mT.contiguous().mT


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal dtype, shape and bits (NaN is equal to itself, both zeros differ)."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return torch.equal(raw_bytes(a), raw_bytes(b))


def raw_bytes(x: Tensor) -> Tensor:
    """The bytes of the elements in order."""
    flat = x.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8) if flat.numel() else flat.new_empty(0, dtype=torch.uint8)
