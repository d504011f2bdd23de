# SPDX-License-Identifier: Apache-2.0
"""Calls of the operators of lsh/buckets for the conformance checks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import warphash as wh
from conformance.op_case import BadCall, OpCase, Sample, strided
from torch import Tensor
from warphash.lsh import BucketTable
from warphash.lsh.buckets import reference

CODES = (torch.uint8, torch.int16, torch.int32, torch.int64)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
COUNTS = (0, 1, 2, 7, 64, 65, 300)


def codes(*shape: int, below: int = 10, dtype: torch.dtype = torch.int64, lowest: int = 0, seed: int = 0) -> Tensor:
    """Random codes."""
    return torch.randint(lowest, below, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def values(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Random values."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _bad_codes(name: str, place: int, *arguments: Any) -> list[BadCall]:
    good = arguments[place]

    def call(label: str, value: Any, error: type[Exception], text: str) -> BadCall:
        return BadCall(f"{name}: {label}", (*arguments[:place], value, *arguments[place + 1 :]), error, text)

    return [
        call("not an array", [1, 2], TypeError, f"^{name} must be a torch tensor.*got list"),
        call("floating", good.float(), TypeError, f"^{name} must be uint8.*got torch.float32"),
        call("bool", good > 0, TypeError, f"^{name} must be uint8.*got torch.bool"),
        call("sparse", good.to_sparse(), TypeError, f"^{name} must be a dense tensor.*sparse_coo"),
    ]


def _bad_buckets(*arguments: Any) -> list[BadCall]:
    return [
        BadCall("negative", (*arguments, -1), ValueError, "^num_buckets must be at least 0, got -1"),
        BadCall("too many", (*arguments, 2**41), ValueError, r"^num_buckets must be at most 2\^40"),
        BadCall("a float", (*arguments, 8.0), TypeError, "^num_buckets must be an int, got float"),
        BadCall("a flag", (*arguments, True), TypeError, "^num_buckets must be an int, got bool"),
    ]


# ---- Sorting --------------------------------------------------------------------------------------------------------
def _sweep_sort() -> Iterator[Sample]:
    for buckets in (1, 2, 3, 17, 255, 256, 2048, 2049, 5000):
        for count in COUNTS:
            dtype = CODES[(buckets + count) % 4]
            below = min(buckets, 256) if dtype == torch.uint8 else buckets
            named = codes(1 + count % 3, count, below=below, dtype=dtype, seed=count)
            yield Sample(f"{buckets} buckets, {count} items, {dtype}", (named, buckets))


SORT = OpCase(
    op="lsh_bucket_sort",
    function=wh.lsh.bucket_sort,
    reference=reference.bucket_sort,
    samples=[
        Sample("plain", (codes(3, 40), 10)),
        Sample("one table", (codes(40), 10)),
        Sample("4-D", (codes(2, 3, 4, 5), 10)),
        Sample("not contiguous", (strided(codes(5, 40)), 10)),
        Sample("expanded", (codes(1, 40).expand(3, 40), 10)),
        Sample("no items", (codes(3, 0), 10)),
        Sample("no tables", (codes(0, 40), 10)),
        Sample("nothing in no buckets", (codes(3, 0), 0)),
        Sample("all equal", (torch.full((2, 50), 7), 10)),
        Sample("empty buckets", (codes(3, 40) * 100, 3000)),
        *(Sample(str(dtype), (codes(3, 40, dtype=dtype), 10)) for dtype in CODES),
    ],
    operator_arguments=lambda sample: sample.arguments,
    resized=(Sample("first", (codes(3, 40), 10)), Sample("second", (codes(5, 90), 10))),
    large=Sample("large", (codes(3, 200_000, below=5000), 5000)),
    bad_calls=[
        *_bad_codes("codes", 0, codes(3, 40), 10),
        *_bad_buckets(codes(3, 40)),
        BadCall("rank 0", (codes(), 10), ValueError, r"^codes must be \[..., N\], got shape \(\)"),
        BadCall("too large a code", (codes(3, 40), 9), IndexError, r"^codes must be in \[0, 9\), got 9"),
        BadCall("negative code", (codes(3, 40) - 1, 10), IndexError, r"^codes must be in \[0, 10\), got -1"),
        BadCall("some in no buckets", (codes(1), 0), IndexError, r"^codes must be in \[0, 0\)"),
    ],
    sweep=_sweep_sort,
    batches=[Sample("item", (codes(40), 10)), Sample("tables", (codes(3, 40), 10))],
)


# ---- Look-ups -------------------------------------------------------------------------------------------------------
def query(order: Tensor, offsets: Tensor, query_codes: Tensor) -> tuple[Any, Any]:
    """The public function by the parts of its table; a look-up needs no inverse."""
    return wh.lsh.bucket_query(BucketTable(order, order, offsets), query_codes)


def table(tables: int, items: int, buckets: int) -> tuple[Tensor, Tensor]:
    """Order and offsets of random codes."""
    order, _, offsets = reference.bucket_sort(codes(tables, items, below=buckets, seed=items), buckets)
    return order, offsets


def _query(name: str, tables: int, items: int, buckets: int, queries: int, dtype: torch.dtype = torch.int64) -> Sample:
    asked = codes(tables, queries, below=buckets, seed=queries + 1, dtype=dtype)
    return Sample(name, (*table(tables, items, buckets), asked))


def _sweep_query() -> Iterator[Sample]:
    for tables in (1, 2, 3, 5, 8, 9):
        for items in COUNTS:
            buckets = 1 + items % 13
            yield _query(f"{tables} tables, {items} items, {buckets} buckets", tables, items, buckets, 1 + items % 17)


_ORDER, _OFFSETS = table(3, 40, 10)
_ASKED = codes(3, 7, seed=1)
_BROKEN = _OFFSETS.clone()
_BROKEN[:, 1:-1] = 60

QUERY = OpCase(
    op="lsh_bucket_query",
    function=query,
    reference=reference.bucket_query,
    samples=[
        _query("plain", 3, 40, 10, 7),
        _query("one table", 1, 40, 10, 7),
        _query("no queries", 3, 40, 10, 0),
        _query("no items", 3, 0, 10, 7),
        _query("many tables of few", 33, 5, 2, 9),
        Sample("not contiguous", (strided(_ORDER), strided(_OFFSETS), strided(_ASKED))),
        Sample("expanded", (_ORDER[:1].expand(3, -1), _OFFSETS[:1].expand(3, -1), _ASKED)),
        *(_query(str(dtype), 3, 40, 10, 7, dtype) for dtype in CODES),
    ],
    operator_arguments=lambda sample: (*sample.arguments[:2], sample.arguments[2].long()),
    resized=(_query("first", 3, 40, 10, 7), _query("second", 4, 90, 20, 30)),
    large=_query("large", 4, 40_000, 3000, 4000),
    bad_calls=[
        *_bad_codes("query_codes", 2, _ORDER, _OFFSETS, _ASKED),
        BadCall("tables", (_ORDER, _OFFSETS, _ASKED[:2]), ValueError, r"^query_codes must be \[T, Q\] with T = 3"),
        BadCall("rank", (_ORDER, _OFFSETS, _ASKED[0]), ValueError, r"^query_codes must be \[T, Q\] with T = 3"),
        BadCall("order dtype", (_ORDER.int(), _OFFSETS, _ASKED), TypeError, "^table.order must be int64"),
        BadCall("offsets dtype", (_ORDER, _OFFSETS.int(), _ASKED), TypeError, "^table.offsets must be int64"),
        BadCall("offsets shape", (_ORDER, _OFFSETS[:2], _ASKED), ValueError, r"^table must be of codes \[N\] or"),
        BadCall("no offsets", (_ORDER, _OFFSETS[:, :0], _ASKED), ValueError, "^table.offsets must have"),
        BadCall("code", (_ORDER, _OFFSETS, _ASKED + 9), IndexError, r"^query_codes must be in \[0, 10\), got"),
        BadCall("negative", (_ORDER, _OFFSETS, _ASKED - 10), IndexError, r"^query_codes must be in \[0, 10\), got -"),
        BadCall("broken offsets", (_ORDER, _BROKEN, _ASKED), ValueError, "^table has offsets that do not ascend"),
        BadCall("device", (_ORDER, _OFFSETS, _ASKED.to("meta")), ValueError, "^query_codes must be on the device of"),
    ],
    sweep=_sweep_query,
    batches=[_query("item", 3, 40, 10, 7)],
    data_dependent=True,
)


# ---- Sums -----------------------------------------------------------------------------------------------------------
def _sum_arguments(sample: Sample) -> tuple[Any, ...]:
    """As the operator takes them: one set of values a table, whatever the public function shares."""
    x, named, buckets = sample.arguments
    leading = torch.broadcast_shapes(x.shape[:-2], named.shape[:-1])
    batch = math.prod(leading)
    flat = x.expand(*leading, *x.shape[-2:]).reshape(batch, *x.shape[-2:])
    flat = flat.detach().requires_grad_(x.requires_grad)
    wide = named if named.dtype in (torch.int32, torch.int64) else named.int()
    return flat, wide.expand(*leading, named.shape[-1]).reshape(batch, 1, named.shape[-1]), buckets


def _sweep_sum() -> Iterator[Sample]:
    for width in (0, 1, 2, 7, 8, 9, 15, 16, 17, 33, 64):
        for count in COUNTS:
            x = values(2, 1, count, width, dtype=FLOATS[(width + count) % 4], seed=count)
            yield Sample(f"{count} rows of {width}", (x, codes(2, 3, count, below=5, lowest=-1, seed=width), 5))


_TOLERANCE = {
    torch.float16: (1e-3, 1e-3),
    torch.bfloat16: (8e-3, 8e-3),
    torch.float32: (1e-5, 1e-5),
    torch.float64: (1e-13, 1e-13),
}
_V, _C = values(2, 9, 6), codes(2, 9, below=5, lowest=-1)

SUM = OpCase(
    op="lsh_bucket_sum",
    function=wh.lsh.bucket_sum,
    reference=reference.bucket_sum,
    samples=[
        Sample("plain", (_V, _C, 5)),
        Sample("requires grad", (values(2, 9, 6).requires_grad_(), _C, 5)),
        Sample("one table", (_V[0], _C[0], 5)),
        Sample("many tables, requires grad", (values(2, 1, 9, 6).requires_grad_(), codes(2, 3, 9, below=5), 5)),
        Sample("tables without batch", (_V[0], codes(3, 4, 9, below=5), 5)),
        Sample("values without tables", (values(3, 2, 9, 6), _C, 5)),
        Sample("not contiguous", (strided(_V), strided(_C), 5)),
        Sample("expanded", (_V[:1].expand(2, 9, 6), _C[:1].expand(2, 9), 5)),
        Sample("no rows, requires grad", (values(2, 0, 6).requires_grad_(), codes(2, 0), 5)),
        Sample("no columns", (values(2, 9, 0), _C, 5)),
        Sample("nothing in no buckets", (values(2, 0, 6), codes(2, 0), 0)),
        Sample("all left out", (_V, torch.full((2, 9), -1), 5)),
        *(Sample(str(dtype), (_V.to(dtype), _C, 5)) for dtype in FLOATS),
        *(Sample(str(dtype), (_V, _C.clamp(min=0).to(dtype), 5)) for dtype in CODES),
    ],
    operator_arguments=_sum_arguments,
    resized=(
        Sample("first", (values(2, 9, 6), codes(2, 9, below=5), 5)),
        Sample("second", (values(3, 20, 11), codes(3, 20, below=5), 5)),
    ),
    large=Sample("large", (values(1, 5000, 32), codes(24, 5000, below=8), 8)),
    bad_calls=[
        *_bad_codes("codes", 1, _V, _C, 5),
        *_bad_buckets(_V, _C),
        BadCall("values are a list", ([1.0], _C, 5), TypeError, "^values must be a torch tensor.*got list"),
        BadCall("integers", (_V.int(), _C, 5), TypeError, "^values must be float16.*got torch.int32"),
        BadCall("rank", (_V[0, 0], _C, 5), ValueError, r"^values must be \[..., N, d\], got shape \(6,\)"),
        BadCall("length", (_V, _C[:, 1:], 5), ValueError, "^codes must name N = 9 rows of values"),
        BadCall("leading", (_V, codes(3, 9), 5), ValueError, "^codes must have leading dimensions that fit values"),
        BadCall("code", (_V, _C + 1, 4), IndexError, "^codes must be below 4, got"),
        BadCall("device", (_V, _C.to("meta"), 5), ValueError, "^codes must be on the device of values"),
        BadCall("sparse", (_V.to_sparse(), _C, 5), TypeError, "^values must be a dense tensor"),
    ],
    sweep=_sweep_sum,
    batches=[
        Sample("item", (values(9, 6), codes(9, below=5, lowest=-1), 5)),
        Sample("tables", (values(1, 9, 6), codes(3, 9, below=5, lowest=-1), 5)),
    ],
    differentiable=True,
    gradient=Sample("gradient", (values(2, 9, 3).requires_grad_(), _C, 5)),
    tolerance=_TOLERANCE,
)


# ---- Means over tables ----------------------------------------------------------------------------------------------
def _gather_arguments(sample: Sample) -> tuple[Any, ...]:
    rows, named = sample.arguments
    leading = torch.broadcast_shapes(rows.shape[:-3], named.shape[:-2])
    batch = math.prod(leading)
    flat = rows.expand(*leading, *rows.shape[-3:]).reshape(batch, *rows.shape[-3:])
    wide = named if named.dtype in (torch.int32, torch.int64) else named.int()
    return (
        flat.detach().requires_grad_(rows.requires_grad),
        wide.expand(*leading, *named.shape[-2:]).reshape(batch, *named.shape[-2:]),
    )


def _sweep_gather() -> Iterator[Sample]:
    for width in (0, 1, 2, 7, 8, 9, 15, 16, 17, 33, 64):
        for count in COUNTS:
            rows = values(2, 3, 5, width, dtype=FLOATS[(width + count) % 4], seed=count)
            yield Sample(f"{count} codes of {width}", (rows, codes(2, 3, count, below=5, lowest=-1, seed=width)))


_T, _N = values(2, 3, 5, 6), codes(2, 3, 9, below=5, lowest=-1)

GATHER = OpCase(
    op="lsh_bucket_gather_sum",
    function=wh.lsh.bucket_gather_mean,
    reference=reference.bucket_gather_mean,
    samples=[
        Sample("plain", (_T, _N)),
        Sample("requires grad", (values(2, 3, 5, 6).requires_grad_(), _N)),
        Sample("one", (_T[0], _N[0])),
        Sample("shared table, requires grad", (values(3, 5, 6).requires_grad_(), _N)),
        Sample("shared codes", (_T, _N[0])),
        Sample("not contiguous", (strided(_T), strided(_N))),
        Sample("expanded", (_T[:1].expand(2, 3, 5, 6), _N[:1].expand(2, 3, 9))),
        Sample("no codes, requires grad", (values(2, 3, 5, 6).requires_grad_(), codes(2, 3, 0))),
        Sample("no tables", (values(2, 0, 5, 6), codes(2, 0, 9))),
        Sample("no columns", (values(2, 3, 5, 0), _N)),
        Sample("all negative", (_T, torch.full((2, 3, 9), -1))),
        *(Sample(str(dtype), (_T.to(dtype), _N)) for dtype in FLOATS),
        *(Sample(str(dtype), (_T, _N.clamp(min=0).to(dtype))) for dtype in CODES),
    ],
    operator_arguments=_gather_arguments,
    resized=(
        Sample("first", (values(2, 3, 5, 6), codes(2, 3, 9, below=5))),
        Sample("second", (values(4, 2, 7, 11), codes(4, 2, 20, below=5))),
    ),
    large=Sample("large", (values(2, 24, 8, 32), codes(2, 24, 4000, below=8))),
    bad_calls=[
        *_bad_codes("codes", 1, _T, _N),
        BadCall("table is a list", ([1.0], _N), TypeError, "^table must be a torch tensor.*got list"),
        BadCall("integers", (_T.int(), _N), TypeError, "^table must be float16.*got torch.int32"),
        BadCall("rank", (_T[0, 0], _N), ValueError, r"^table must be \[..., H, K, d\], got shape \(5, 6\)"),
        BadCall("codes rank", (_T, codes(9)), ValueError, r"^codes must be \[..., H, C\], got shape \(9,\)"),
        BadCall("tables", (_T, _N[:, 1:]), ValueError, "^codes must be .* with H = 3 tables"),
        BadCall("leading", (_T, codes(3, 3, 9)), ValueError, "^codes must have leading dimensions that fit table"),
        BadCall("code", (_T, _N + 2), IndexError, "^codes must be below 5, got"),
        BadCall("device", (_T, _N.to("meta")), ValueError, "^codes must be on the device of table"),
        BadCall("sparse", (_T.to_sparse(), _N), TypeError, "^table must be a dense tensor"),
    ],
    sweep=_sweep_gather,
    batches=[
        Sample("item", (values(3, 5, 6), codes(3, 9, below=5, lowest=-1))),
        Sample("batch", (values(2, 3, 5, 6), codes(2, 3, 9, below=5, lowest=-1))),
    ],
    differentiable=True,
    gradient=Sample("gradient", (values(2, 3, 5, 2).requires_grad_(), _N)),
    tolerance=_TOLERANCE,
)

CASES: list[OpCase] = [SORT, QUERY, SUM, GATHER]
