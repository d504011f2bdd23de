# SPDX-License-Identifier: Apache-2.0
"""Calls of the emulated launchers and of the CPU operators with the same tensors, and how the two compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import warphash  # noqa: F401  (registers the CPU operators)
from cuda_emulation.emulated import EmulatedKernels
from torch import Tensor
from warphash.hashgrid import GridSpec

from .samples import wide

ROOM = "csrc/hashgrid"
FILES = ("encode", "backward", "double_backward", "scatter", "fixed_point", "variation")
KERNELS = [*(f"{ROOM}/{name}.cu" for name in FILES), f"{ROOM}/hashgrid_grid.cpp"]
TYPES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
FIRST = ("of_x", "of_table", "of_weights")
SECOND = ("of_gradient", *FIRST)


@dataclasses.dataclass
class Call:
    """Tensors of a call, in the dtypes that go with the table's."""

    spec: GridSpec
    x: Tensor
    table: Tensor
    gradient: Tensor
    v: Tensor
    weights: Tensor | None = None

    @classmethod
    def random(cls, spec: GridSpec, count: int, dtype: torch.dtype = torch.float32, *, weighted: bool = True) -> Call:
        """Points in and around the unit cube; weights of which the second is 0."""
        generator = torch.Generator().manual_seed(count)
        real = wide(dtype)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        x = torch.rand(count, spec.dims, generator=generator, dtype=torch.float64)
        x[1::7] = 3 * normal(len(x[1::7]), spec.dims)
        weights = normal(spec.levels)
        weights[1::4] = 0
        return cls(
            spec,
            x.to(real),
            normal(spec.rows, spec.features).to(dtype),
            normal(count, spec.output_features).to(dtype),
            normal(count, spec.dims).to(real),
            weights.to(real) if weighted else None,
        )

    def spoiled(self) -> Call:
        """With points that have no cell, and far ones."""
        x, largest = self.x.clone(), torch.finfo(self.x.dtype).max
        if len(x) >= 33:
            x[3, 0], x[9, -1], x[10, 0], x[11, -1], x[32, 0] = torch.nan, torch.inf, -torch.inf, largest, -largest
            x[12, 0], x[13, -1], x[14, 0], x[15, -1] = 3e9, -3e9, -7e11, 1e30
        return dataclasses.replace(self, x=x)


def sizes(call: Call) -> tuple[Any, ...]:
    """The arguments that every launcher begins with."""
    text = np.frombuffer(call.spec.text.encode() + b"\0", np.int8)
    return text, TYPES[call.table.dtype], call.x, call.table, call.weights, len(call.x), call.spec.features


def _shape(call: Call, name: str) -> tuple[tuple[int, ...], torch.dtype]:
    real = call.x.dtype
    return {
        "of_gradient": (tuple(call.gradient.shape), call.gradient.dtype),
        "of_x": (tuple(call.x.shape), real),
        "of_table": (tuple(call.table.shape), real),
        "of_weights": ((call.spec.levels,), real),
    }[name]


def _outputs(call: Call, names: Sequence[str], wanted: Sequence[str]) -> list[Tensor | None]:
    def fresh(name: str) -> Tensor | None:
        shape, dtype = _shape(call, name)
        return torch.full(shape, 77, dtype=dtype) if name in wanted else None

    return [fresh(name) for name in names]


def encode(kernels: EmulatedKernels, call: Call) -> Tensor:
    """By the emulated kernels."""
    out = torch.full_like(call.gradient, 77)
    kernels.encode(*sizes(call), out)
    return out


def derive(
    kernels: EmulatedKernels,
    call: Call,
    order: int,
    wanted: Sequence[str],
    *,
    deterministic: bool = False,
    multiprocessors: int = 2,
) -> dict[str, Tensor]:
    """First or second derivatives by the emulated kernels: those that are wanted."""
    names = FIRST if order == 1 else SECOND
    outputs = _outputs(call, names, wanted)
    inputs = (call.gradient,) if order == 1 else (call.v, call.gradient)
    launcher = kernels.backward if order == 1 else kernels.double_backward
    launcher(*sizes(call), *inputs, *outputs, deterministic, multiprocessors)
    return {name: output for name, output in zip(names, outputs, strict=True) if output is not None}


def encode_on_cpu(call: Call) -> Tensor:
    """By the CPU operator."""
    return torch.ops.warphash.hashgrid_encode(call.x, call.table, call.weights, call.spec.text)


def derive_on_cpu(call: Call, order: int, wanted: Sequence[str]) -> dict[str, Tensor]:
    """By the CPU operators."""
    names = FIRST if order == 1 else SECOND
    flags = [name in wanted for name in names]
    given = (call.gradient, call.x, call.table, call.weights, call.spec.text, *flags, True)
    if order == 1:
        outputs = torch.ops.warphash.hashgrid_backward(*given)
    else:
        outputs = torch.ops.warphash.hashgrid_double_backward(call.v, *given)
    return {name: output for name, output in zip(names, outputs, strict=True) if name in wanted}


def assert_same_bits(found: Tensor, expected: Tensor) -> None:
    """Equal bits, but for those of a NaN."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[found.element_size()]
    assert torch.equal(found.isnan(), expected.isnan())
    bits = [tensor.nan_to_num(0, torch.inf, -torch.inf).view(integer) for tensor in (found, expected)]
    assert torch.equal(*bits)


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], slack: float = 0) -> None:
    """Rows of points bit for bit; sums over points but for their rounding, or ``slack``."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name in ("of_gradient", "of_x"):
            assert_same_bits(found[name], value)
            continue
        finite = value[value.isfinite()]
        scale = float(finite.abs().max()) if len(finite) else 0.0
        tolerance = 1e-12 if value.dtype == torch.float64 else 3e-6
        torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance * scale + slack, equal_nan=True)
