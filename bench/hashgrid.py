# SPDX-License-Identifier: Apache-2.0
"""The hash-grid room: its workloads, what each call must do at the least, who takes part, and the targets.

What bounds a call is reading single rows of the table, or adding to them. A kernel goes level by level, so that a read
costs what it costs in a table of that level's size: limits of all levels add up. Each corner counts as a read of its
own, although two corners often lie in one line of memory and points share lines: a share above 100% is possible.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from bench.harness.limits import memory_limit
from bench.harness.workload import (
    FULL,
    NAMED,
    QUICK,
    Chain,
    Contestant,
    Faster,
    Need,
    NoSlower,
    OfLimit,
    Rate,
    Room,
    Target,
    Workload,
)
from bench.hashgrid_inputs import Encoding, Shape, encoding
from bench.hashgrid_ours import (
    closeness,
    level,
    our_double_backward,
    ours,
    solve_backward,
    solve_both_backward,
    solve_double_backward,
    solve_eikonal,
    solve_encode,
    solve_train,
    solve_train_with_x,
)
from bench.hashgrid_peers import BACKWARD_PEERS, DOUBLE_BACKWARD_PEERS, EIKONAL_PEERS, encode_peers, train_peers

LARGE = Shape()
SMALL = Shape(log2_rows=14)
GATHERS, UPDATES, BOTH = "rows gathered", "rows updated", "rows gathered and updated"

# Of the rows of derivatives in x; see closeness.
MOST = 0.98

# ---- what a call cannot do without -----------------------------------------------------------------------


def _rows_need(shape: Shape, kind: str) -> list[Need]:
    """A read, or an addition, of a row for each point and corner, by sizes of levels."""
    width = shape.row_bytes if kind == "row_gather" else 4 * shape.features
    amounts: dict[str, float] = defaultdict(float)
    for number in shape.active:
        size = shape.spec.level_rows[number] * width
        amounts[memory_limit(kind, size)] += shape.corner_reads / len(shape.active)
    return [Need({name: amount}) for name, amount in amounts.items()]


def _needs(shape: Shape, *, gathers: bool, updates: bool, read: float, written: float) -> tuple[Need | Chain, ...]:
    rows = [
        *(_rows_need(shape, "row_gather") if gathers else ()),
        *(_rows_need(shape, "row_update") if updates else ()),
    ]
    name = BOTH if gathers and updates else GATHERS if gathers else UPDATES
    return (
        Chain(name, rows),
        Need({memory_limit("read", read): read}),
        Need({memory_limit("write", written): written}),
    )


# ---- the workloads ---------------------------------------------------------------------------------------


def _title(what: str, shape: Shape, extra: str = "") -> str:
    parts = [what, f"{shape.dims}D T=2^{shape.log2_rows}"]
    if shape.features != LARGE.features:
        parts.append(f"F={shape.features}")
    if shape.points != LARGE.points:
        parts.append(f"N={shape.points // 1024}K")
    if shape.dtype != torch.float32:
        parts.append(str(shape.dtype).removeprefix("torch."))
    return " ".join([*parts, extra] if extra else parts)


def _workload(
    what: str,
    shape: Shape,
    solve: Callable[[Encoding], Any],
    check: Callable[[Any, Any, Any], str | None],
    contestants: Sequence[Contestant],
    *,
    group: str,
    mode: str,
    gathers: bool,
    updates: bool,
    extra: str = "",
    name: str = "",
    targets: Sequence[Target] = (),
    drawn: bool = False,
    devices: tuple[str, ...] = ("cpu", "cuda"),
    mine: Contestant | None = None,
) -> Workload:
    points = float(shape.points)
    x, rows = points * shape.dims * 4, points * shape.components * shape.dtype.itemsize
    table = min(float(shape.table_bytes), shape.corner_reads * shape.row_bytes)
    # The rows of results or of what comes back for them; a table that is read, one that is written.
    read = x + (rows if updates else 0) + (table if gathers else 0)
    written = (rows if gathers else 0) + (shape.spec.rows * shape.features * 4.0 if updates else 0)
    passes = gathers + updates
    return Workload(
        name=name or _title(what, shape, extra),
        group=group,
        make=partial(encoding, shape=shape),
        contestants=(mine or ours(solve), *contestants),
        needs=_needs(shape, gathers=gathers, updates=updates, read=read, written=written),
        items=points,
        operations=passes * shape.corner_reads if drawn else 0.0,
        traffic=read + written,
        solve=solve,
        check=check,
        targets=targets,
        mode=mode,
        devices=devices,
        facts={
            "points": shape.points,
            "dims": shape.dims,
            "features": shape.features,
            "rows": shape.spec.rows,
            "table_bytes": shape.table_bytes,
            "levels": len(shape.active),
            "column": f"T = 2^{shape.log2_rows}",
            "hollow": updates,
        },
    )


def _encode(
    shape: Shape,
    mode: str = FULL,
    *,
    extra: str = "",
    name: str = "",
    targets: Sequence[Target] = (),
    levels: bool = False,
    compiled: bool = False,
    drawn: bool = False,
    tolerance: float = 4e-3,
    devices: tuple[str, ...] = ("cpu", "cuda"),
) -> Workload:
    own = (level("avx2"), level("scalar", modes=(FULL, NAMED))) if levels else ()
    # On a GPU compiling takes longer than all the room's other quick workloads: one has it there, the last.
    peers = encode_peers(
        (QUICK, FULL, NAMED) if compiled else (FULL, NAMED), ("cpu",) if compiled and "cpu" in devices else devices
    )
    return _workload(
        "encode",
        shape,
        solve_encode,
        closeness(tolerance),
        (*own, *peers),
        group="encode" if shape.dtype == torch.float32 else "encode, tables of half types",
        mode=mode,
        gathers=True,
        updates=False,
        extra=extra,
        name=name,
        targets=targets,
        drawn=drawn,
        devices=devices,
    )


def _cuda_workloads() -> list[Workload]:
    """As many points as a GPU wants, with the rates that the model of an H200 lets one ask for."""
    shape = replace(LARGE, points=1 << 20)
    gpu = partial(_workload, shape=shape, mode=QUICK, devices=("cuda",), updates=True)
    encode = partial(_encode, mode=QUICK, devices=("cuda",))
    return [
        encode(shape, targets=(Rate(1.1e9),)),
        encode(replace(shape, dtype=torch.float16), tolerance=2e-2, targets=(Rate(1.3e9),)),
        gpu(
            "backward to table",
            solve=solve_backward,
            check=closeness(4e-3),
            contestants=BACKWARD_PEERS,
            group="backward to the table alone",
            gathers=False,
            targets=(Rate(0.6e9),),
        ),
        gpu(
            "encode and backward to x and table",
            solve=solve_train_with_x,
            check=closeness(4e-3, MOST),
            contestants=train_peers(True),
            group="encode, then backward",
            gathers=True,
            targets=(Rate(0.35e9),),
        ),
        gpu(
            "double backward",
            solve=solve_double_backward,
            check=closeness(2e-2, MOST),
            contestants=DOUBLE_BACKWARD_PEERS,
            group="backward of dL/dx alone: to points, table and what comes from above",
            gathers=True,
            targets=(Rate(0.25e9),),
            mine=our_double_backward(),
        ),
    ]


def _encode_workloads() -> list[Workload]:
    all_levels = _title("encode", LARGE)
    every_fourth, coarse = (3, 7, 11, 15), (0, 1, 2, 3)
    near_avx512 = Faster("warphash", 0.6, ours="warphash (avx2)")
    found = [
        _encode(
            LARGE,
            QUICK,
            levels=True,
            drawn=True,
            targets=(Faster("Numba", 2.3), Faster("torch eager", 12), near_avx512, OfLimit(0.7, limit=GATHERS)),
        ),
        _encode(
            SMALL,
            QUICK,
            levels=True,
            drawn=True,
            compiled=True,
            targets=(Faster("Numba", 3.5), Faster("torch.compile", 4.5), near_avx512, OfLimit(0.7, limit=GATHERS)),
        ),
        _encode(replace(LARGE, order="morton"), QUICK, extra="Morton order"),
        _encode(
            replace(LARGE, active=every_fourth),
            QUICK,
            extra="4 of 16 levels",
            targets=(NoSlower(all_levels, 0.35),),
        ),
        _encode(replace(LARGE, active=coarse), extra="coarse 4 of 16 levels", targets=(NoSlower(all_levels, 0.35),)),
        _encode(Shape(dims=2, log2_rows=15), QUICK),
        _encode(Shape(dims=4)),
        _encode(replace(LARGE, features=4)),
        _encode(replace(LARGE, features=8)),
        _encode(replace(LARGE, points=1 << 12)),
    ]
    for dtype, targets in (
        (torch.float16, (NoSlower(all_levels, 1 / 1.3),)),
        (torch.bfloat16, ()),
    ):
        found.append(_encode(replace(LARGE, dtype=dtype), QUICK, tolerance=2e-2, targets=targets))
    return found


def _derivative_workloads() -> list[Workload]:
    found = []
    for shape in (LARGE, SMALL):
        second = QUICK if shape is LARGE else FULL
        found.append(
            _workload(
                "backward to table",
                shape,
                solve_backward,
                closeness(4e-3),
                BACKWARD_PEERS,
                group="backward to the table alone",
                mode=QUICK,
                gathers=False,
                updates=True,
                targets=(Faster("Numba", 2.5), Faster("torch eager", 40), OfLimit(0.7, limit=UPDATES)),
                drawn=True,
            )
        )
        found.append(
            _workload(
                "backward to x and table",
                shape,
                solve_both_backward,
                closeness(4e-3, MOST),
                (level("avx2", derivatives=True),),
                group="backward to points and table, past autograd",
                mode=FULL,
                gathers=True,
                updates=True,
            )
        )
        for with_x in (False, True):
            found.append(
                _workload(
                    "encode and backward to " + ("x and table" if with_x else "table"),
                    shape,
                    solve_train_with_x if with_x else solve_train,
                    closeness(4e-3, MOST if with_x else 1.0),
                    train_peers(with_x),
                    group="encode, then backward",
                    mode=second,
                    gathers=True,
                    updates=True,
                )
            )
        found.append(
            _workload(
                "eikonal step",
                shape,
                solve_eikonal,
                closeness(2e-2, MOST),
                EIKONAL_PEERS,
                group="eikonal step: gradients of a loss of dL/dx to points, table and what comes from above",
                mode=second,
                gathers=True,
                updates=True,
                targets=(NoSlower(_title("encode and backward to x and table", shape), 2.5),),
            )
        )
    return found


ROOM = Room(
    name="hashgrid",
    item="points",
    operation="rows read or added to",
    workloads=(
        *_cuda_workloads(),
        *_encode_workloads(),
        *_derivative_workloads(),
        _encode(replace(LARGE, points=1 << 20), QUICK, extra="beside torch.compile", compiled=True, devices=("cuda",)),
        _encode(Shape(log2_rows=10, points=1 << 10), NAMED, name="tiny encode", levels=True, drawn=True),
    ),
    ceilings={
        memory_limit("row_gather", SMALL.level_bytes(15)): 1.0,
        memory_limit("row_gather", LARGE.level_bytes(15)): 1.0,
        memory_limit("row_update", LARGE.level_bytes(15)): 1.0,
    },
    hollow="hollow: backward to the table",
)
