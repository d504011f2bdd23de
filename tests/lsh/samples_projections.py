# SPDX-License-Identifier: Apache-2.0
"""Calls of the operators of lsh/projections for the conformance checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import warphash as wh
from conformance.op_case import BadCall, OpCase, Sample, strided
from torch import Tensor
from warphash.lsh.projections import reference
from warphash.lsh.projections.parameters import rotation_signs, rotation_size

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
DIMS = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 100, 129)
ROWS = (1, 2, 3, 5, 6, 7, 9, 13, 25)


def vectors(*shape: int, seed: int = 0) -> Tensor:
    """Random float32 vectors."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def awkward(x: Tensor) -> Tensor:
    """The same with NaN, infinities and a row of negative zeros."""
    out = x.clone()
    out[0] = -0.0
    out[1, 3], out[2, 1], out[3, 0], out[3, 2] = torch.nan, torch.inf, torch.inf, -torch.inf
    return out


def _vector_samples(*rest: Any, dim: int, options: dict[str, Any]) -> list[Sample]:
    """What every operator is shown of x; rest: its other arguments for vectors of `dim`."""
    x = vectors(9, dim)
    return [
        Sample("plain", (x, *rest), options),
        Sample("requires grad", (x.clone().requires_grad_(), *rest), options),
        Sample("1-D", (x[0], *rest), options),
        Sample("4-D", (vectors(2, 3, 4, dim), *rest), options),
        Sample("not contiguous", (strided(x), *rest), options),
        Sample("expanded", (x[:1].expand(9, dim), *rest), options),
        Sample("no rows", (x[:0].clone().requires_grad_(), *rest), options),
        Sample("NaN, infinity and zeros", (awkward(x), *rest), options),
        *(Sample(str(dtype), (x.to(dtype), *rest), options) for dtype in FLOATS),
    ]


def _bad_vectors(*rest: Any, dim: int, options: dict[str, Any]) -> list[BadCall]:
    x = vectors(3, dim)
    return [
        BadCall("not an array", ([1.0] * dim, *rest), TypeError, "^x must be a torch tensor.*got list", options),
        BadCall("integers", (x.int(), *rest), TypeError, "^x must be float16.*got torch.int32", options),
        BadCall("complex", (x.cfloat(), *rest), TypeError, "^x must be float16.*got torch.complex64", options),
        BadCall("rank 0", (x[0, 0], *rest), ValueError, "^x must be .*0-dimensional", options),
        BadCall("sparse", (x.to_sparse(), *rest), TypeError, "^x must be a dense tensor.*sparse_coo", options),
    ]


def _bad_weights(name: str, good: Tensor, place: int, *arguments: Any) -> list[BadCall]:
    """arguments: those of a good call, of which number `place` is replaced."""

    def call(label: str, value: Any, error: type[Exception], text: str) -> BadCall:
        return BadCall(f"{name}: {label}", (*arguments[:place], value, *arguments[place + 1 :]), error, text)

    first = good.shape[0]
    return [
        call("not an array", 1.0, TypeError, f"^{name} must be a torch tensor.*got float"),
        call("half", good.half(), TypeError, f"^{name} must be float32 beside x of torch.float32, got torch.float16"),
        call("double", good.double(), TypeError, f"^{name} must be float32 beside .*got torch.float64"),
        call("rank", good[None], ValueError, rf"^{name} must be \[.*got shape \(1, "),
        call("rows", good[1:], ValueError, f"^{name} must have {first} .*got {first - 1}"),
        call("device", good.to("meta"), ValueError, f"^{name} must be on the device of x, cpu, got meta"),
        call("sparse", good.to_sparse(), TypeError, f"^{name} must be a dense tensor"),
    ]


def _bad_seeds(function_options: dict[str, Any], *arguments: Any) -> list[BadCall]:
    def call(seed: Any, error: type[Exception], text: str) -> BadCall:
        return BadCall(f"seed {seed}", arguments, error, text, {**function_options, "seed": seed})

    return [
        call(-1, ValueError, "^seed must be at least 0, got -1"),
        call(2**63, ValueError, r"^seed must be below 2\^63"),
        call(1.0, TypeError, "^seed must be an int, got float"),
        call(None, TypeError, "^seed must be an int, got NoneType"),
    ]


# ---- SimHash --------------------------------------------------------------------------------------------------------
def _small_integers(*shape: int) -> Tensor:
    return torch.randint(-8, 9, shape, generator=torch.Generator().manual_seed(4)).float()


def _simhash_arguments(sample: Sample) -> tuple[Any, ...]:
    x, planes = sample.arguments
    return x, planes, sample.options.get("precision") == "fast"


def _sweep_simhash() -> Iterator[Sample]:
    for dim in DIMS:
        for bits in range(71):
            rows = ROWS[(dim + bits) % len(ROWS)]
            x = vectors(rows, dim, seed=bits).to(FLOATS[bits % 4])
            yield Sample(f"{dim} dimensions, {bits} bits, {rows} rows", (x, wh.lsh.random_planes(dim, bits, seed=dim)))
    for dim in (300, 577, 1200):  # sums that rest in memory between chunks
        for bits in (7, 64, 130):
            x = vectors(31, dim, seed=bits)
            yield Sample(f"{dim} dimensions, {bits} bits", (x, wh.lsh.random_planes(dim, bits, seed=dim)))


_PLANES = wh.lsh.random_planes(21, 13, seed=1)
_ROUGH = wh.lsh.random_planes(21, 13, seed=1, kind="rademacher")
_X = vectors(3, 21)
_SIMHASH = OpCase(
    op="lsh_simhash",
    function=wh.lsh.simhash,
    reference=reference.simhash,
    samples=[
        *_vector_samples(_PLANES, dim=21, options={}),
        Sample("float64 planes", (vectors(9, 21).double(), _PLANES.double() * 1.1)),
        Sample("planes require grad", (vectors(9, 21), _PLANES.clone().requires_grad_())),
        Sample("planes not contiguous", (vectors(9, 21), strided(_PLANES))),
        Sample("no dimensions", (vectors(9, 0), _PLANES[:0])),
        Sample("no planes", (vectors(9, 21), _PLANES[:, :0])),
        Sample("fast", (_small_integers(9, 21), _ROUGH), {"precision": "fast"}),
        Sample("fast, float64", (vectors(9, 21).double(), _PLANES), {"precision": "fast"}),
        Sample("fast, bfloat16", (_small_integers(9, 20).bfloat16(), _ROUGH[:20]), {"precision": "fast"}),
    ],
    operator_arguments=_simhash_arguments,
    resized=(
        Sample("first", (vectors(5, 21), _PLANES)),
        Sample("second", (vectors(8, 40), wh.lsh.random_planes(40, 64, seed=1))),
    ),
    large=Sample("large", (vectors(6000, 100), wh.lsh.random_planes(100, 70, seed=2))),
    bad_calls=[
        *_bad_vectors(_PLANES, dim=21, options={}),
        *_bad_weights("planes", _PLANES, 1, _X, _PLANES),
        BadCall("precision", (_X, _PLANES), ValueError, "^precision must be 'exact' or 'fast', got 'bf16'",
                {"precision": "bf16"}),
        BadCall("precision's kind", (_X, _PLANES), ValueError, "^precision must be .*got 1", {"precision": 1}),
    ],
    sweep=_sweep_simhash,
    batches=[Sample("item", (vectors(4, 21), _PLANES))],
)  # fmt: skip


def _code_arguments(sample: Sample) -> tuple[Any, ...]:
    x, planes = sample.arguments
    return x, planes.flatten(1), planes.shape[2], sample.options.get("order") == "gray"


def _sweep_codes() -> Iterator[Sample]:
    for dim in DIMS:
        for bits in range(1, 31):
            hashes, rows = bits % 5 + (bits < 9), ROWS[(dim + bits) % len(ROWS)]
            x = vectors(rows, dim, seed=bits).to(FLOATS[bits % 4])
            planes = wh.lsh.random_planes(dim, hashes * bits, seed=dim).unflatten(1, (hashes, bits))
            order = "gray" if bits % 2 else "binary"
            yield Sample(f"{dim} dimensions, {hashes} hashes of {bits} bits", (x, planes), {"order": order})


def _hashes(dim: int, hashes: int, bits: int) -> Tensor:
    return wh.lsh.random_planes(dim, hashes * bits, seed=1).unflatten(1, (hashes, bits))


_CODES = OpCase(
    op="lsh_simhash_codes",
    function=wh.lsh.simhash_codes,
    reference=reference.simhash_codes,
    samples=[
        *_vector_samples(_hashes(21, 3, 7), dim=21, options={}),
        Sample("gray", (vectors(40, 21), _hashes(21, 3, 7)), {"order": "gray"}),
        Sample("30 bits, gray", (vectors(40, 21), _hashes(21, 2, 30)), {"order": "gray"}),
        Sample("planes not contiguous", (vectors(9, 21), _hashes(21, 7, 3).mT)),
        Sample("no dimensions", (vectors(9, 0), _hashes(0, 3, 7))),
        Sample("no hashes", (vectors(9, 21), _hashes(21, 3, 7)[:, :0])),
    ],
    operator_arguments=_code_arguments,
    resized=(
        Sample("first", (vectors(5, 22), _hashes(22, 3, 7))),
        Sample("second", (vectors(8, 40), _hashes(40, 5, 7))),
    ),
    large=Sample("large", (vectors(20_000, 64), _hashes(64, 2, 7)), {"order": "gray"}),
    bad_calls=[
        *_bad_vectors(_hashes(21, 3, 7), dim=21, options={}),
        *_bad_weights("planes", _hashes(21, 3, 7), 1, _X, _hashes(21, 3, 7)),
        BadCall("no bits", (_X, _hashes(21, 3, 7)[..., :0]), ValueError, "^planes must have 1 to 30 bits.*got 0"),
        BadCall("31 bits", (_X, _hashes(21, 1, 31)), ValueError, "^planes must have 1 to 30 bits.*got 31"),
        BadCall("order", (_X, _hashes(21, 3, 7)), ValueError, "^order must be 'binary' or 'gray', got 'grey'",
                {"order": "grey"}),
    ],
    sweep=_sweep_codes,
    batches=[Sample("item", (vectors(4, 21), _hashes(21, 3, 7)))],
)  # fmt: skip


# ---- Rotations ------------------------------------------------------------------------------------------------------
def _signs(x: Tensor, rotations: int, seed: int, size: int) -> Tensor:
    return rotation_signs(rotations, size, seed, x.device)


def _hd3_arguments(sample: Sample) -> tuple[Any, ...]:
    x, bits = sample.arguments
    size = rotation_size(x.shape[-1])
    return x, _signs(x, -(-bits // size), sample.options["seed"], size), bits


def _sweep_hd3() -> Iterator[Sample]:
    for dim in (*DIMS, 200, 256, 300, 513, 1025, 5000):
        for i, bits in enumerate((0, 1, 7, 8, 13, 64, 65, 300)):
            rows = ROWS[(dim + bits) % len(ROWS)] if dim < 1000 else 2
            x = vectors(rows, dim, seed=bits).to(FLOATS[(dim + i) % 4])
            yield Sample(f"{dim} dimensions, {bits} bits, {rows} rows", (x, bits), {"seed": dim})


_SEED = {"seed": 5}
_HD3 = OpCase(
    op="lsh_hd3",
    function=wh.lsh.hd3_simhash,
    reference=reference.hd3_simhash,
    samples=[
        *_vector_samples(45, dim=21, options=_SEED),
        Sample("whole rotations", (vectors(9, 32), 64), _SEED),
        Sample("no bits", (vectors(9, 21), 0), _SEED),
        Sample("no dimensions", (vectors(9, 0), 12), _SEED),
        Sample("in memory", (vectors(3, 700), 1500), _SEED),
    ],
    operator_arguments=_hd3_arguments,
    resized=(Sample("first", (vectors(5, 21), 45), _SEED), Sample("second", (vectors(8, 30), 45), _SEED)),
    large=Sample("large", (vectors(8000, 100), 128), _SEED),
    bad_calls=[
        *_bad_vectors(45, dim=21, options=_SEED),
        *_bad_seeds({}, _X, 45),
        BadCall("negative bits", (_X, -1), ValueError, "^bits must be at least 0, got -1", _SEED),
        BadCall("float bits", (_X, 8.0), TypeError, "^bits must be an int, got float", _SEED),
        BadCall("bool bits", (_X, True), TypeError, "^bits must be an int, got bool", _SEED),
    ],
    sweep=_sweep_hd3,
    batches=[Sample("item", (vectors(4, 21), 45), _SEED)],
)


def _cross_arguments(sample: Sample) -> tuple[Any, ...]:
    (x,) = sample.arguments
    return x, _signs(x, sample.options["tables"], sample.options["seed"], rotation_size(x.shape[-1]))


def _sweep_cross() -> Iterator[Sample]:
    for dim in (*DIMS, 200, 256, 300, 513, 1025, 5000):
        for tables in (0, 1, 3):
            rows = ROWS[(dim + tables) % len(ROWS)] if dim < 1000 else 2
            x = vectors(rows, dim, seed=tables).to(FLOATS[(dim + tables) % 4])
            yield Sample(f"{dim} dimensions, {tables} tables, {rows} rows", (x,), {"tables": tables, "seed": dim})


_TABLES = {"tables": 3, "seed": 5}
_CROSS = OpCase(
    op="lsh_cross_polytope",
    function=wh.lsh.cross_polytope,
    reference=reference.cross_polytope,
    samples=[
        *_vector_samples(dim=21, options=_TABLES),
        Sample("ties", (_small_integers(9, 16),), _TABLES),
        Sample("no tables", (vectors(9, 21),), {"tables": 0, "seed": 5}),
        Sample("no dimensions", (vectors(9, 0),), _TABLES),
        Sample("in memory", (vectors(3, 700),), _TABLES),
    ],
    operator_arguments=_cross_arguments,
    resized=(Sample("first", (vectors(5, 21),), _TABLES), Sample("second", (vectors(8, 30),), _TABLES)),
    large=Sample("large", (vectors(5000, 100),), {"tables": 2, "seed": 5}),
    bad_calls=[
        *_bad_vectors(dim=21, options=_TABLES),
        *_bad_seeds({"tables": 3}, _X),
        BadCall("negative tables", (_X,), ValueError, "^tables must be at least 0", {"tables": -1, "seed": 5}),
        BadCall("float tables", (_X,), TypeError, "^tables must be an int, got float", {"tables": 1.0, "seed": 5}),
    ],
    sweep=_sweep_cross,
    batches=[Sample("item", (vectors(4, 21),), _TABLES)],
)


# ---- p-stable -------------------------------------------------------------------------------------------------------
def _directions(dim: int, hashes: int) -> tuple[Tensor, Tensor]:
    return wh.lsh.random_directions(dim, hashes, seed=1), wh.lsh.random_offsets(hashes, 0.7, seed=2)


def _sweep_pstable() -> Iterator[Sample]:
    for dim in DIMS:
        for hashes in range(0, 71, 3):
            rows = ROWS[(dim + hashes) % len(ROWS)]
            x = vectors(rows, dim, seed=hashes).to(FLOATS[hashes % 4])
            yield Sample(f"{dim} dimensions, {hashes} hashes, {rows} rows", (x, *_directions(dim, hashes), 0.7))
    for dim in (300, 577, 1200):
        x = vectors(31, dim).to(FLOATS[dim % 4])
        yield Sample(f"{dim} dimensions", (x, *_directions(dim, 37), 0.7))


def _bad_width(value: Any, error: type[Exception], text: str) -> BadCall:
    return BadCall(f"width {value}", (_X, *_directions(21, 13), value), error, text)


_WAYS = _directions(21, 13)
_PSTABLE = OpCase(
    op="lsh_pstable",
    function=wh.lsh.pstable,
    reference=reference.pstable,
    samples=[
        *_vector_samples(*_WAYS, 0.7, dim=21, options={}),
        Sample("beyond int32", (1e12 * awkward(vectors(9, 21)), *_WAYS, 0.001)),
        Sample("beyond int32, float64", (1e12 * awkward(vectors(9, 21)).double(), *_WAYS, 0.001)),
        Sample("float64 directions", (vectors(9, 21).double(), _WAYS[0].double() / 3, _WAYS[1].double() / 3, 0.7)),
        Sample("not contiguous", (vectors(9, 21), strided(_WAYS[0]), _WAYS[1].repeat(2)[::2], 0.7)),
        Sample("no dimensions", (vectors(9, 0), _WAYS[0][:0], _WAYS[1], 0.7)),
        Sample("no hashes", (vectors(9, 21), _WAYS[0][:, :0], _WAYS[1][:0], 0.7)),
    ],
    operator_arguments=lambda sample: sample.arguments,
    resized=(
        Sample("first", (vectors(5, 21), *_WAYS, 0.7)),
        Sample("second", (vectors(8, 40), *_directions(40, 64), 0.7)),
    ),
    large=Sample("large", (vectors(6000, 100), *_directions(100, 70), 0.7)),
    bad_calls=[
        *_bad_vectors(*_WAYS, 0.7, dim=21, options={}),
        *_bad_weights("directions", _WAYS[0], 1, _X, *_WAYS, 0.7),
        *_bad_weights("offsets", _WAYS[1], 2, _X, *_WAYS, 0.7),
        _bad_width(0.0, ValueError, "^width must be above 0 and finite, got 0.0"),
        _bad_width(-1.0, ValueError, "^width must be above 0 and finite, got -1.0"),
        _bad_width(torch.inf, ValueError, "^width must be above 0 and finite, got inf"),
        _bad_width(torch.nan, ValueError, "^width must be above 0 and finite, got nan"),
        _bad_width(1e39, ValueError, r"^width must be above 0 and finite, got 1e\+39"),
        _bad_width(1e-50, ValueError, "^width must be above 0 in float32, got 1e-50"),
        _bad_width("1", TypeError, "^width must be a real number, got str"),
        _bad_width(None, TypeError, "^width must be a real number, got NoneType"),
    ],
    sweep=_sweep_pstable,
    batches=[Sample("item", (vectors(4, 21), *_WAYS, 0.7))],
)

CASES: list[OpCase] = [_SIMHASH, _CODES, _HD3, _CROSS, _PSTABLE]
