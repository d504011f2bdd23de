# SPDX-License-Identifier: Apache-2.0
"""Calls of the Hamming operators for the conformance checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import warphash as wh
from conformance.op_case import BadCall, OpCase, Sample, strided
from torch import Tensor
from warphash.hamming import reference

REAL = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32,
    torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64,
)  # fmt: skip
WIDTHS = (*range(1, 71), 128, 136, 192)
ROWS = (1, 7, 8, 9, 31, 32, 33)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def codes(rows: int, bytes_: int, seed: int = 0) -> Tensor:
    """Random codes."""
    return torch.randint(0, 256, (rows, bytes_), dtype=torch.uint8, generator=_generator(seed))


def values(*shape: int, seed: int = 0) -> Tensor:
    """Random float32 values."""
    return torch.randn(*shape, generator=_generator(seed))


def mask(*shape: int, seed: int = 0) -> Tensor:
    """A mask that admits about half."""
    return torch.rand(*shape, generator=_generator(seed)) < 0.5


def _values_of(dtype: torch.dtype) -> Tensor:
    x = torch.randint(-3, 4, (4, 19), generator=_generator(2))
    return (x.abs() if not dtype.is_signed else x).to(dtype)


def _in_order(sample: Sample) -> tuple[Any, ...]:
    """Positional arguments, then options in their order."""
    return (*sample.arguments, *sample.options.values())


# ---- Searches -------------------------------------------------------------------------------------------------------
def _pair_samples(*rest: Any, options: Callable[..., dict[str, Any]]) -> list[Sample]:
    """options(mask) makes the keyword arguments of a sample."""
    q, d = codes(5, 9, 1), codes(70, 9, 2)
    return [
        Sample("plain", (q, d, *rest), options(None)),
        Sample("one byte", (q[:, :1].contiguous(), d[:, :1].contiguous(), *rest), options(None)),
        Sample("not contiguous", (strided(q), d[::2, :], *rest), options(None)),
        Sample("expanded", (q[:1].expand(5, 9), d[:1].expand(70, 9), *rest), options(None)),
        Sample("no queries", (q[:0], d, *rest), options(None)),
        Sample("no database", (q, d[:0], *rest), options(None)),
        Sample("no bytes", (q[:, :0], d[:, :0], *rest), options(None)),
    ]


def _masked_samples(*rest: Any) -> list[Sample]:
    q, d = codes(5, 16, 1), codes(70, 16, 2)
    return [
        *_pair_samples(*rest, options=lambda m: {"mask": m}),
        Sample("shared mask", (q, d, *rest), {"mask": mask(70)}),
        Sample("mask per query", (q, d, *rest), {"mask": mask(5, 70)}),
        Sample("mask not contiguous", (q, d, *rest), {"mask": strided(mask(5, 70))}),
        Sample("nothing admitted", (q, d, *rest), {"mask": torch.zeros(70, dtype=torch.bool)}),
    ]


# One query is served by rows as they lie, some by tiles, many by matrix units: queries and rows of the database.
_COUNTS = [(1, rows) for rows in ROWS] + [(3, rows) for rows in ROWS] + [(50, 8), (50, 33)]


def _sweep_pairs(*rest: Any, options: dict[str, Any]) -> Callable[[], Iterator[Sample]]:
    def sweep() -> Iterator[Sample]:
        for bytes_ in WIDTHS:
            for queries, rows in _COUNTS:
                name = f"{bytes_} bytes, {queries} queries, {rows} rows"
                yield Sample(name, (codes(queries, bytes_, 1), codes(rows, bytes_, rows), *rest), options)

    return sweep


_OPEN = {"mask": None}
_SEARCHES: list[tuple[str, tuple[Any, ...]]] = [
    ("topk", (4,)), ("jaccard_topk", (4,)), ("range_search", (30,)), ("histogram", ()),
]  # fmt: skip


def _bad_pairs(first: str, second: str, *rest: Any) -> list[BadCall]:
    q, d = codes(3, 4), codes(9, 4)
    return [
        BadCall("not an array", ([[1, 2, 3, 4]], d, *rest), TypeError, f"^{first} must be a torch tensor.*got list"),
        BadCall("None", (q, None, *rest), TypeError, f"^{second} must be a torch tensor.*got NoneType"),
        BadCall("dtype", (q.int(), d, *rest), TypeError, f"^{first} must be .*uint8, got torch.int32"),
        BadCall(
            "dtype of the second", (q, d.float(), *rest), TypeError, f"^{second} must be .*uint8, got torch.float32"
        ),
        BadCall("bool codes", (q, d.bool(), *rest), TypeError, f"^{second} must be .*uint8, got torch.bool"),
        BadCall("rank 1", (q[0], d, *rest), ValueError, rf"^{first} must be 2-D .*\(4,\)"),
        BadCall("rank 3", (q, d[None], *rest), ValueError, rf"^{second} must be 2-D .*\(1, 9, 4\)"),
        BadCall("rank 0", (q, d[0, 0], *rest), ValueError, rf"^{second} must be 2-D .*\(\)"),
        BadCall("widths", (q, d[:, :3], *rest), ValueError, f"^{second} must have codes of 4 bytes.*got 3"),
        BadCall(
            "devices",
            (q, d.to("meta"), *rest),
            ValueError,
            f"^{second} must be on the device of {first}, cpu, got meta",
        ),
        BadCall("sparse", (q.to_sparse(), d, *rest), TypeError, f"^{first} must be a dense tensor.*sparse_coo"),
    ]


def _bad_masks(*rest: Any) -> list[BadCall]:
    q, d = codes(3, 4), codes(9, 4)
    return [
        BadCall("mask dtype", (q, d, *rest), TypeError, "^mask must be bool, got torch.uint8", {"mask": d[:, 0]}),
        BadCall("mask length", (q, d, *rest), ValueError, r"^mask must be .*\(8,\)", {"mask": mask(8)}),
        BadCall("mask rows", (q, d, *rest), ValueError, r"^mask must be .*\(2, 9\)", {"mask": mask(2, 9)}),
        BadCall("mask of one row", (q, d, *rest), ValueError, r"^mask must be .*\(1, 9\)", {"mask": mask(1, 9)}),
        BadCall("mask rank", (q, d, *rest), ValueError, r"^mask must be .*\(\)", {"mask": torch.tensor(True)}),
        BadCall("mask device", (q, d, *rest), ValueError, "^mask must be on the device", {"mask": mask(9).to("meta")}),
        BadCall("mask kind", (q, d, *rest), TypeError, "^mask must be a torch tensor.*got bool", {"mask": True}),
    ]


def _bad_count(name: str, queries: Tensor) -> list[BadCall]:
    d = codes(9, 4)
    return [
        BadCall(f"negative {name}", (queries, d, -1), ValueError, f"^{name} must be at least 0, got -1"),
        BadCall(f"float {name}", (queries, d, 2.0), TypeError, f"^{name} must be an int, got float"),
        BadCall(f"bool {name}", (queries, d, True), TypeError, f"^{name} must be an int, got bool"),
        BadCall(f"text {name}", (queries, d, "2"), TypeError, f"^{name} must be an int, got str"),
        BadCall(f"tensor {name}", (queries, d, torch.tensor(2)), TypeError, f"^{name} must be an int, got Tensor"),
        BadCall(f"no {name}", (queries, d, None), TypeError, f"^{name} must be an int, got NoneType"),
    ]


def _bad_k(queries: Tensor) -> list[BadCall]:
    d = codes(9, 4)
    return [
        *_bad_count("k", queries),
        BadCall("k of no memory", (queries, d, 2**62), ValueError, f"^k must be at most .*got {2**62}"),
        BadCall("k beyond int64", (queries, d, 2**70), ValueError, f"^k must be at most .*got {2**70}"),
    ]


_Q = codes(3, 4)
_BAD = {
    "topk": [*_bad_pairs("queries", "database", 4), *_bad_masks(4), *_bad_k(_Q)],
    "jaccard_topk": [*_bad_pairs("queries", "database", 4), *_bad_masks(4), *_bad_k(_Q)],
    "range_search": [*_bad_pairs("queries", "database", 4), *_bad_masks(4), *_bad_count("radius", _Q)],
    "histogram": [*_bad_pairs("queries", "database"), *_bad_masks()],
}


def _search_case(name: str, rest: tuple[Any, ...]) -> OpCase:
    large_rest = (70,) if name == "range_search" else rest
    return OpCase(
        op=f"hamming_{name}",
        function=getattr(wh.hamming, name),
        reference=getattr(reference, name),
        samples=_masked_samples(*rest),
        operator_arguments=_in_order,
        resized=(
            Sample("first", (codes(5, 8), codes(40, 8), *rest), {"mask": mask(5, 40)}),
            Sample("second", (codes(7, 12), codes(90, 12), *rest), {"mask": mask(7, 90)}),
        ),
        large=Sample("large", (codes(50, 24, 1), codes(60_000, 24, 2), *large_rest), {"mask": mask(60_000)}),
        bad_calls=_BAD[name],
        sweep=_sweep_pairs(*rest, options=_OPEN),
        batches=[
            Sample("item", (codes(5, 9, 1), codes(40, 9, 2), *rest), {"mask": mask(40)}),
            Sample("mask per query", (codes(5, 9, 1), codes(40, 9, 2), *rest), {"mask": mask(5, 40)}),
            Sample("no mask", (codes(5, 9, 1), codes(40, 9, 2), *rest), {"mask": None}),
        ],
        data_dependent=name == "range_search",
    )


_CDIST = OpCase(
    op="hamming_cdist",
    function=wh.hamming.cdist,
    reference=reference.cdist,
    samples=_pair_samples(options=lambda m: {}),
    operator_arguments=_in_order,
    resized=(Sample("first", (codes(5, 8), codes(40, 8))), Sample("second", (codes(7, 12), codes(90, 12)))),
    large=Sample("large", (codes(300, 24, 1), codes(2000, 24, 2))),
    bad_calls=_bad_pairs("a", "b"),
    sweep=_sweep_pairs(options={}),
    batches=[Sample("item", (codes(5, 9, 1), codes(40, 9, 2)))],
)


# ---- Asymmetric search ----------------------------------------------------------------------------------------------
def _padded(sample: Sample) -> tuple[Any, ...]:
    """As the public function hands queries to the operator."""
    queries, database, k = sample.arguments
    wide = torch.nn.functional.pad(queries.detach().float(), (0, 8 * database.shape[1] - queries.shape[1]))
    return wide.requires_grad_(queries.requires_grad), database, k


def _sweep_scores() -> Iterator[Sample]:
    for bytes_ in WIDTHS:
        for queries, rows in _COUNTS:
            weights = values(queries, 8 * bytes_ - rows % 8, seed=bytes_)
            yield Sample(f"{bytes_} bytes, {queries} queries, {rows} rows", (weights, codes(rows, bytes_, rows), 4))


def _bad_scores() -> list[BadCall]:
    q, d = values(3, 32), codes(9, 4)
    bad = q.clone()
    bad[1, 2] = torch.nan
    return [
        BadCall("not an array", ("q", d, 2), TypeError, "^queries must be a torch tensor.*got str"),
        BadCall("integer queries", (q.int(), d, 2), TypeError, "^queries must be floating point, got torch.int32"),
        BadCall(
            "complex queries", (q.cfloat(), d, 2), TypeError, "^queries must be floating point, got torch.complex64"
        ),
        BadCall("sparse queries", (q.to_sparse(), d, 2), TypeError, "^queries must be a dense tensor.*sparse_coo"),
        BadCall("database dtype", (q, d.int(), 2), TypeError, "^database must be .*uint8, got torch.int32"),
        BadCall("rank", (q[0], d, 2), ValueError, r"^queries must be 2-D .*\(32,\)"),
        BadCall("database rank", (q, d[0], 2), ValueError, r"^database must be 2-D .*\(4,\)"),
        BadCall("widths", (q[:, :24], d, 2), ValueError, "^database must have codes of 3 bytes for 24 bits, got 4"),
        BadCall(
            "devices", (q, d.to("meta"), 2), ValueError, "^database must be on the device of queries, cpu, got meta"
        ),
        BadCall("NaN", (bad, d, 2), ValueError, "^queries must be finite"),
        BadCall("infinity", (bad.nan_to_num(-torch.inf), d, 2), ValueError, "^queries must be finite"),
        *_bad_k(q),
    ]


_SCORES = OpCase(
    op="hamming_asymmetric_topk",
    function=wh.hamming.asymmetric_topk,
    reference=reference.asymmetric_topk,
    samples=[
        Sample("plain", (values(5, 72), codes(70, 9), 4)),
        Sample("requires grad", (values(5, 72).requires_grad_(), codes(70, 9), 4)),
        Sample("short rows, requires grad", (values(5, 24).requires_grad_(), codes(3, 3), 6)),
        Sample("spare bits", (values(5, 67), codes(70, 9), 4)),
        Sample("not contiguous", (strided(values(5, 72)), strided(codes(70, 9)), 4)),
        Sample("expanded", (values(1, 72).expand(5, 72), codes(1, 9).expand(70, 9), 4)),
        Sample("no queries", (values(0, 72).requires_grad_(), codes(70, 9), 4)),
        Sample("no database", (values(5, 72).requires_grad_(), codes(0, 9), 4)),
        Sample("no bits", (values(5, 0), codes(70, 0), 4)),
        Sample("k = 0", (values(5, 72).requires_grad_(), codes(70, 9), 0)),
        Sample("float16", (values(5, 72).half(), codes(70, 9), 4)),
        Sample("bfloat16", (values(5, 72).bfloat16(), codes(70, 9), 4)),
        Sample("float64", (values(5, 72).double(), codes(70, 9), 4)),
    ],
    operator_arguments=_padded,
    resized=(
        Sample("first", (values(5, 64), codes(40, 8), 4)),
        Sample("second", (values(7, 96), codes(90, 12), 4)),
    ),
    large=Sample("large", (values(50, 190), codes(40_000, 24), 10)),
    bad_calls=_bad_scores(),
    sweep=_sweep_scores,
    batches=[Sample("item", (values(5, 70), codes(40, 9), 3))],
    differentiable=True,
    gradient=Sample("gradient", (values(4, 45).requires_grad_(), codes(20, 6), 7)),
)


# ---- Packing --------------------------------------------------------------------------------------------------------
def _sweep_values() -> Iterator[Sample]:
    for bits in WIDTHS:
        for rows in ROWS:
            for dtype in (torch.float32, torch.float16, torch.bool, torch.uint8, torch.float64):
                x = values(rows, bits, seed=bits) if dtype.is_floating_point else codes(rows, bits, bits)
                threshold = 0.5 if dtype == torch.bool else 1.0
                yield Sample(f"{bits} bits, {rows} rows, {dtype}", (x.to(dtype), threshold))


def _sweep_bits() -> Iterator[Sample]:
    for bytes_ in WIDTHS:
        for rows in ROWS:
            yield Sample(f"{bytes_} bytes, {rows} rows", (codes(rows, bytes_, bytes_), 8 * bytes_ - rows % 8))


_PACK = OpCase(
    op="hamming_pack",
    function=wh.hamming.pack,
    reference=reference.pack,
    samples=[
        Sample("plain", (values(9, 21), 0.0)),
        Sample("threshold", (values(9, 21), 0.3)),
        Sample("requires grad", (values(9, 21).requires_grad_(), 0.0)),
        Sample("1-D", (values(21), 0.0)),
        Sample("4-D", (values(2, 3, 4, 21), 0.0)),
        Sample("not contiguous", (strided(values(9, 21)), 0.0)),
        Sample("expanded", (values(1, 21).expand(9, 21), 0.0)),
        Sample("no rows", (values(0, 21).requires_grad_(), 0.0)),
        Sample("no bits", (values(9, 0), 0.0)),
        *(Sample(str(dtype), (_values_of(dtype), 1.0)) for dtype in REAL),
    ],
    operator_arguments=_in_order,
    resized=(Sample("first", (values(5, 21), 0.0)), Sample("second", (values(8, 64), 0.0))),
    large=Sample("large", (values(20_000, 77), 0.25)),
    bad_calls=[
        BadCall("not an array", (1.0,), TypeError, "^x must be a torch tensor.*got float"),
        BadCall(
            "complex", (values(3, 4).cfloat(),), TypeError, "^x must have a real dtype or bool, got torch.complex64"
        ),
        BadCall("rank 0", (torch.tensor(1.0),), ValueError, "^x must be .*0-dimensional"),
        BadCall("sparse", (values(3, 4).to_sparse(),), TypeError, "^x must be a dense tensor.*sparse_coo"),
        BadCall("NaN threshold", (values(3, 4), float("nan")), ValueError, "^threshold must not be NaN"),
        BadCall("text threshold", (values(3, 4), "0"), TypeError, "^threshold must be a real number, got str"),
        BadCall("bool threshold", (values(3, 4), True), TypeError, "^threshold must be a real number, got bool"),
        BadCall("complex threshold", (values(3, 4), 1j), TypeError, "^threshold must be a real number, got complex"),
        BadCall("no threshold", (values(3, 4), None), TypeError, "^threshold must be a real number, got NoneType"),
        BadCall(
            "many thresholds", (values(3, 4), values(4)), TypeError, "^threshold must be a real number, got Tensor"
        ),
        BadCall("bool above 1", (values(3, 4) > 0, 1.5), ValueError, r"^threshold must be in \[0, 1\].*got 1.5"),
        BadCall("bool below 0", (values(3, 4) > 0, -0.5), ValueError, r"^threshold must be in \[0, 1\].*got -0.5"),
    ],
    sweep=_sweep_values,
    batches=[Sample("item", (values(4, 21), 0.25))],
)

_UNPACK = OpCase(
    op="hamming_unpack",
    function=wh.hamming.unpack,
    reference=reference.unpack,
    samples=[
        Sample("plain", (codes(9, 5), 40)),
        Sample("spare bits", (codes(9, 5), 33)),
        Sample("1-D", (codes(1, 5)[0], 37)),
        Sample("4-D", (codes(24, 5).reshape(2, 3, 4, 5), 37)),
        Sample("not contiguous", (strided(codes(9, 5)), 37)),
        Sample("expanded", (codes(1, 5).expand(9, 5), 37)),
        Sample("no rows", (codes(0, 5), 37)),
        Sample("no bytes", (codes(9, 0), 0)),
        Sample("no bits", (codes(9, 5), 0)),
    ],
    operator_arguments=_in_order,
    resized=(Sample("first", (codes(5, 5), 37)), Sample("second", (codes(8, 12), 37))),
    large=Sample("large", (codes(20_000, 9), 70)),
    bad_calls=[
        BadCall("not an array", (b"1", 8), TypeError, "^codes must be a torch tensor.*got bytes"),
        BadCall("dtype", (codes(3, 2).int(), 8), TypeError, "^codes must be uint8, got torch.int32"),
        BadCall("rank 0", (codes(3, 2)[0, 0], 8), ValueError, "^codes must be .*0-dimensional"),
        BadCall("sparse", (codes(3, 2).to_sparse(), 8), TypeError, "^codes must be a dense tensor.*sparse_coo"),
        BadCall("too many bits", (codes(3, 2), 17), ValueError, "^bits must be at most 16 .*got 17"),
        BadCall("bits beyond int64", (codes(3, 2), 2**70), ValueError, f"^bits must be at most 16 .*got {2**70}"),
        BadCall("negative bits", (codes(3, 2), -1), ValueError, "^bits must be at least 0, got -1"),
        BadCall("float bits", (codes(3, 2), 8.0), TypeError, "^bits must be an int, got float"),
        BadCall("bool bits", (codes(3, 2), True), TypeError, "^bits must be an int, got bool"),
    ],
    sweep=_sweep_bits,
    batches=[Sample("item", (codes(4, 5), 37))],
)

CASES = [_PACK, _UNPACK, _CDIST, *(_search_case(*search) for search in _SEARCHES), _SCORES]
