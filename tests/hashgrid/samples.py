# SPDX-License-Identifier: Apache-2.0
"""Calls of the hash encoding for the conformance checks, and problems that this room's tests share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
import warphash as wh
from conformance.op_case import BadCall, OpCase, Sample, strided
from torch import Tensor
from warphash.hashgrid import GridSpec, reference

KINDS = ("hash", "dense", "tiled")
INTERPOLATIONS = ("linear", "smoothstep", "nearest")
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
# Around a vector's lanes, and a piece of points of many dims.
COUNTS = (1, 7, 15, 16, 17, 33)


def wide(dtype: torch.dtype) -> torch.dtype:
    """The dtype of points, weights and sums of a table."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def small(dims: int = 3, **changes: Any) -> GridSpec:
    """A spec of few rows with levels both below and above the size of its table."""
    finest = {1: 60, 2: 17, 3: 9, 4: 6}.get(dims, 4)
    options = {"levels": 4, "log2_table_size": 6, "base_resolution": 2, "finest_resolution": finest}
    return GridSpec(dims, **{**options, **changes})


def points(count: int, dims: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Random points in the unit cube."""
    return torch.rand(count, dims, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def rows(spec: GridSpec, dtype: torch.dtype = torch.float32, seed: int = 1) -> Tensor:
    """A random table."""
    values = torch.randn(spec.rows, spec.features, generator=torch.Generator().manual_seed(seed))
    return values.to(dtype)


def level_weights(spec: GridSpec, dtype: torch.dtype = torch.float32) -> Tensor:
    """Weights between 0 and 1, of which the second is 0 and the third 1."""
    weights = torch.linspace(0.3, 0.9, spec.levels, dtype=dtype)
    weights[1:2] = 0
    weights[2:3] = 1
    return weights


def flat(sample: Sample) -> tuple[Any, ...]:
    """As the public function hands a call to the operator."""
    x, table, spec = sample.arguments
    weights = sample.options.get("level_weights")
    if isinstance(weights, list):
        weights = torch.tensor(weights, dtype=wide(table.dtype))
    elif weights is not None and weights.dtype != wide(table.dtype):
        weights = weights.detach().to(wide(table.dtype)).requires_grad_(weights.requires_grad)
    together = x.detach().reshape(-1, spec.dims).requires_grad_(x.requires_grad)
    return together, table, weights, spec.text


def _call(name: str, spec: GridSpec, dtype: torch.dtype = torch.float32, count: int = 9, **options: Any) -> Sample:
    return Sample(name, (points(count, spec.dims, wide(dtype)), rows(spec, dtype), spec), options)


def outside() -> Tensor:
    """Points on the faces of the unit cube and far outside of it."""
    x = points(9, 3)
    x[0] = 0
    x[1] = 1
    x[2, 1] = -0.3
    x[3] = torch.tensor([-7.5, 1.2, 3e9])
    x[4, 2] = -3e9
    x[5, 0] = 1e30
    x[6] = -0.0
    return x


def without_cell() -> Tensor:
    """Points of which some have no cell: a coordinate is NaN, infinite or too large."""
    x = points(20, 3)
    x[1, 1] = torch.nan
    x[3] = torch.inf
    x[4, 2] = -torch.inf
    x[16, 0] = torch.finfo(torch.float32).max
    x[17] = torch.nan
    return x


def _samples() -> list[Sample]:
    spec = small()
    x, table = points(9, 3), rows(spec)
    return [
        Sample("plain", (x, table, spec)),
        Sample("requires grad", (points(9, 3).requires_grad_(), rows(spec).requires_grad_(), spec)),
        Sample(
            "all require grad",
            (points(9, 3).requires_grad_(), rows(spec).requires_grad_(), spec),
            {"level_weights": level_weights(spec).requires_grad_()},
        ),
        Sample("table requires grad", (x, rows(spec).requires_grad_(), spec)),
        Sample("list of weights", (x, table, spec), {"level_weights": [1, 0.0, 0.5, 0.25]}),
        Sample("weights of another dtype", (x, table, spec), {"level_weights": level_weights(spec).double()}),
        Sample("no active level", (x, table, spec), {"level_weights": torch.zeros(4)}),
        Sample("not contiguous", (strided(x), strided(table), spec)),
        Sample("expanded", (x[:1].expand(9, 3), table[:1].expand(spec.rows, 2), spec)),
        Sample("no points", (points(0, 3).requires_grad_(), rows(spec).requires_grad_(), spec)),
        Sample("one point without dimensions", (x[0], table, spec)),
        Sample("many dimensions", (points(12, 3).view(2, 3, 1, 2, 3).requires_grad_(), table, spec)),
        Sample("far points", (outside(), table, spec)),
        Sample(
            "far points and weights", (outside().requires_grad_(), table, spec), {"level_weights": level_weights(spec)}
        ),
        _call("nearest", small(interpolation="nearest")),
        _call("smoothstep", small(interpolation="smoothstep")),
        _call("dense", small(2, kind="dense")),
        _call("tiled", small(kind="tiled")),
        _call("axes", small(2, base_resolution=(2, 3), finest_resolution=(9, 31))),
        _call("rounded as tiny-cuda-nn", small(tcnn=True, finest_resolution=None, per_level_scale=1.5)),
        _call("one dimension", small(1, features=1)),
        _call("five dimensions", small(5, features=4, interpolation="smoothstep")),
        _call("seven dimensions", small(7, features=8)),
        _call("three features", small(features=3)),
        _call("sixteen features", small(features=16)),
        _call("float64", small(), torch.float64),
        _call("float16", small(features=3), torch.float16),
        _call("bfloat16", small(features=1), torch.bfloat16),
    ]


# ---- Tails of vectors -----------------------------------------------------------------------------------------------
def _turn(options: tuple[Any, ...], number: int) -> Any:
    return options[number % len(options)]


def _sweep() -> Iterator[Sample]:
    """Every dims, features and count; the rest takes turns, with lengths that share no factor. Then what opcheck, which
    takes no NaN for another, cannot have among the samples.
    """
    for number, (dims, features, count) in enumerate(itertools.product(range(1, 8), (1, 2, 3, 4, 5, 8, 16), COUNTS)):
        kind = "hash" if dims > 4 else _turn(("hash", "hash", "tiled", "dense", "hash"), number)
        # Three interpolations in turn would meet always the same counts: their number is a multiple of three.
        interpolation = _turn(("linear", "smoothstep", "linear", "nearest", "smoothstep", "linear", "linear"), number)
        spec = small(dims, features=features, kind=kind, interpolation=interpolation)
        dtype = _turn((*DTYPES, *DTYPES[2:], *DTYPES[:3], *DTYPES[:2]), number)
        weights = {"level_weights": level_weights(spec, wide(dtype))} if number % 13 < 5 else {}
        x = points(count, dims, wide(dtype), number)
        if number % 17 < 6:
            x = 9 * x - 4  # outside of the unit cube too
        yield Sample(
            f"{dims} dims, {features} features, {count} points, {kind}, {interpolation}, {dtype}, {len(weights)}",
            (x, rows(spec, dtype, number), spec),
            weights,
        )
    for dtype in (torch.float32, torch.float16):
        spec = small()
        for weights in ({}, {"level_weights": level_weights(spec)}):
            yield Sample(
                f"points without a cell, {dtype}, {len(weights)}", (without_cell(), rows(spec, dtype), spec), weights
            )


def _sweep_variation() -> Iterator[Sample]:
    return (x for number, x in enumerate(_sweep()) if number % 3 == 0)


# ---- Calls that must not work ---------------------------------------------------------------------------------------
def _bad_calls() -> list[BadCall]:
    spec, plain = small(), small(2)
    x, table = points(3, 3), rows(small())
    weights = torch.ones(4)

    def bad(name: str, error: type[Exception], text: str, *arguments: Any, **options: Any) -> BadCall:
        return BadCall(name, arguments, error, text, options)

    def bad_weights(name: str, error: type[Exception], text: str, given: Any) -> BadCall:
        return BadCall(name, (x, table, spec), error, text, {"level_weights": given})

    return [
        bad("x is a list", TypeError, "^x must be a torch tensor.*got list", [[0.1, 0.2, 0.3]], table, spec),
        bad("no x", TypeError, "^x must be a torch tensor.*got NoneType", None, table, spec),
        bad("integer x", TypeError, "^x must be torch.float32 for .*got torch.int64", x.long(), table, spec),
        bad("wide x", TypeError, "^x must be torch.float32 for .*got torch.float64", x.double(), table, spec),
        bad("half x", TypeError, "^x must be torch.float32 for .*got torch.float16", x.half(), table.half(), spec),
        bad("narrow x", TypeError, "^x must be torch.float64 for .*got torch.float32", x, table.double(), spec),
        bad("complex x", TypeError, "^x must be torch.float32 for .*got torch.complex64", x.cfloat(), table, spec),
        bad("x of rank 0", ValueError, r"^x must be \[\.\.\., dims\] with 3 dims.*\(\)", x[0, 0], table, spec),
        bad("x of other dims", ValueError, r"^x must be .*3 dims.*\(3, 2\)", x[:, :2], table, spec),
        bad("sparse x", TypeError, "^x must be a dense tensor.*sparse_coo", x.to_sparse(), table, spec),
        bad("x elsewhere", ValueError, "^table must be on the device of x, meta, got cpu", x.to("meta"), table, spec),
        bad("table is a number", TypeError, "^table must be a torch tensor.*got float", x, 1.0, spec),
        bad("integer table", TypeError, "^table must be float32.*got torch.int32", x, table.int(), spec),
        bad("complex table", TypeError, "^table must be float32.*got torch.complex64", x, table.cfloat(), spec),
        bad("8-bit table", TypeError, "^table must be .*float8", x, table.to(torch.float8_e4m3fn), spec),
        bad("sparse table", TypeError, "^table must be a dense tensor.*sparse_coo", x, table.to_sparse(), spec),
        bad("flat table", ValueError, r"^table must be \[rows, features\].*got \(", x, table.flatten(), spec),
        bad("short table", ValueError, rf"^table must be .*\({spec.rows}, 2\).*got", x, table[:-1], spec),
        bad("wide table", ValueError, r"^table must be .*2\) for this spec", x, torch.cat([table, table], 1), spec),
        bad("table of another spec", ValueError, "^table must be", points(3, 2), table, plain),
        bad("spec is a text", TypeError, "^spec must be a GridSpec, got str", x, table, spec.text),
        bad("no spec", TypeError, "^spec must be a GridSpec, got NoneType", x, table, None),
        bad_weights("weights are a number", TypeError, "^level_weights must be a torch tensor.*got float", 0.5),
        bad_weights("too few weights", ValueError, r"^level_weights must be \[levels\].*\(3,\)", [1.0, 1.0, 1.0]),
        bad_weights("weights of rank 2", ValueError, r"^level_weights must be .*\(1, 4\)", weights[None]),
        bad_weights("integer weights", TypeError, "^level_weights must be floating.*int64", weights.long()),
        bad_weights("complex weights", TypeError, "^level_weights must be floating.*complex64", weights.cfloat()),
        bad_weights("a text among weights", TypeError, r"^level_weights\[1\] must be a real number, got str", [1, "2"]),
        bad_weights("a flag among weights", TypeError, r"^level_weights\[0\] must be a real number", [True, 1, 1, 1]),
        bad_weights("sparse weights", TypeError, "^level_weights must be a dense tensor", weights.to_sparse()),
        bad_weights("weights elsewhere", ValueError, "^level_weights must be on the device", weights.to("meta")),
    ]


def _problem(name: str, spec: GridSpec, count: int, weights: Tensor | None, dtype: torch.dtype) -> Sample:
    return Sample(name, (points(count, spec.dims, dtype), rows(spec, dtype), spec), {"level_weights": weights})


def _batches() -> list[Sample]:
    spec = small(2, levels=2, log2_table_size=4)
    return [
        _problem("item", spec, 5, level_weights(spec), torch.float32),
        _problem("no weights", spec, 5, None, torch.float32),
    ]


def _resized() -> tuple[Sample, Sample]:
    spec = small()
    weights = level_weights(spec)
    return (
        _problem("first", spec, 5, weights, torch.float32),
        _problem("second", spec, 23, weights, torch.float32),
    )


def _gradient() -> Sample:
    spec = small(2, levels=2, features=3, log2_table_size=4, finest_resolution=4, interpolation="smoothstep")
    weights = torch.tensor([0.5, 1.0])
    return _problem("gradient", spec, 4, weights, torch.float32).mapped(lambda x: x.requires_grad_())


_LARGE = GridSpec(3, levels=8, log2_table_size=14)

ENCODE = OpCase(
    op="hashgrid_encode",
    function=wh.hashgrid.encode,
    reference=reference.encode,
    samples=_samples(),
    operator_arguments=flat,
    resized=_resized(),
    large=_problem("large", _LARGE, 60_000, level_weights(_LARGE), torch.float32),
    bad_calls=_bad_calls(),
    sweep=_sweep,
    batches=_batches(),
    differentiable=True,
    gradient=_gradient(),
    tolerance={
        torch.float32: (1e-5, 2e-6),
        torch.float64: (1e-13, 1e-14),
        torch.float16: (2e-3, 1e-4),
        torch.bfloat16: (1.6e-2, 1e-3),
    },
)


# ---- Total variation ------------------------------------------------------------------------------------------------
_OF_ENCODING_ALONE = (
    "requires grad", "no active level", "one point without dimensions", "far points", "nearest", "smoothstep", "axes",
    "rounded as tiny-cuda-nn", "five dimensions", "seven dimensions", "sixteen features",
)  # fmt: skip


def variation_operands(sample: Sample) -> tuple[Any, ...]:
    """The same for the variation, whose operator knows no weights."""
    x, table, _, text = flat(sample)
    return x, table, text


def _gradient_of_variation() -> Sample:
    sample = _gradient()
    x, *rest = sample.tensors()
    return sample.replaced([x.detach(), *rest])


VARIATION = OpCase(
    op="hashgrid_variation",
    function=wh.hashgrid.total_variation,
    reference=reference.total_variation,
    samples=[x for x in _samples() if x.name not in _OF_ENCODING_ALONE],
    operator_arguments=variation_operands,
    resized=_resized(),
    large=_problem("large", _LARGE, 100_000, level_weights(_LARGE), torch.float32),
    bad_calls=_bad_calls(),
    sweep=_sweep_variation,
    batches=_batches(),
    differentiable=True,
    gradient=_gradient_of_variation(),
    tolerance={torch.float32: (1e-5, 1e-6), torch.float64: (1e-13, 1e-14)},
)

CASES = [ENCODE, VARIATION]
