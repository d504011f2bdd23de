# SPDX-License-Identifier: Apache-2.0
"""What a child process runs: ``python -m hashgrid.bits digests``. It prints a hash of each problem's results, as JSON.

Every problem is worked by one thread and by several, also more than there are levels, and must have the same bits.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Iterator

import torch
import warphash as wh
from conformance.op_case import raw_bytes, same_bits
from torch import Tensor
from warphash.hashgrid import GridSpec

from .samples import DTYPES, INTERPOLATIONS, level_weights, points, rows, small, strided, wide, without_cell

_ops = torch.ops.warphash
THREADS = (2, 3, 9)
Problem = tuple[str, GridSpec, Tensor, torch.dtype]


def piece_points(dims: int) -> int:
    """Points that kernels take at a time."""
    return 1024 >> dims if dims <= 5 else 16


def pieces() -> Iterator[Problem]:
    """Counts around vectors and pieces of every dims; few points, and none."""
    for dims in range(1, 8):
        piece = piece_points(dims)
        for number, count in enumerate((0, 1, 15, 16, 17, piece - 1, piece, piece + 1, 2 * piece + 3, 255, 257)):
            interpolation = INTERPOLATIONS[number % 3]
            spec = small(dims, features=(2, 1, 4, 8, 3)[number % 5], interpolation=interpolation)
            x = 2 * points(count, dims, seed=number) - 0.5
            yield f"{dims} dims, {count} points", spec, x, torch.float32


def quanta() -> Iterator[Problem]:
    """Counts around chunks, and around the parts that sums over points are made in."""
    for number, count in enumerate((1023, 1024, 1025, 4097, 8193)):
        for levels in (1, 3):
            spec = small(2, levels=levels, features=(2, 3)[number % 2], interpolation=INTERPOLATIONS[number % 2])
            yield f"{count} points, {levels} levels", spec, points(count, 2), torch.float32


def blocks() -> Iterator[Problem]:
    """So many components that a chunk holds 1024 points and a block of the table's pass a few thousand."""
    for features in (8, 3):
        spec = GridSpec(1, levels=2100 // features, features=features, base_resolution=2, finest_resolution=99)
        yield f"{features} features", spec, points(4099, 1), torch.float32


def blocks_read_ahead() -> Iterator[Problem]:
    """More points than rows of a level, and fewer: rows are read in order before, or not."""
    for count in (300, 3000):
        spec = GridSpec(2, levels=3, features=2, log2_table_size=12, base_resolution=20, finest_resolution=90)
        yield f"{count} points of 4096 rows", spec, points(count, 2), torch.float32


def types() -> Iterator[Problem]:
    """Every dtype and row layout; points far outside of the cube, and without a cell."""
    for dtype in DTYPES:
        for features in (1, 2, 3, 4, 8):
            spec = small(3, features=features, interpolation="smoothstep" if features % 2 else "linear")
            yield f"{dtype}, {features} features", spec, points(77, 3, wide(dtype)), dtype
        far = 2.0 ** torch.linspace(0, 90, 90).view(30, 3).to(wide(dtype))
        yield f"{dtype}, far", small(3), torch.cat([far, -far, without_cell().to(far.dtype)]), dtype


def results(spec: GridSpec, x: Tensor, table: Tensor, weights: Tensor | None) -> tuple[Tensor, ...]:
    """All results of all operators."""
    generator = torch.Generator().manual_seed(5)
    gradient = torch.randn(len(x), spec.output_features, generator=generator).to(table.dtype)
    v = torch.randn(len(x), spec.dims, generator=generator).to(x.dtype)
    return (
        _ops.hashgrid_encode(x, table, weights, spec.text),
        *_ops.hashgrid_backward(gradient, x, table, weights, spec.text, True, True, True, False),
        *_ops.hashgrid_double_backward(v, gradient, x, table, weights, spec.text, True, True, True, True, True),
        _ops.hashgrid_variation(x, table, spec.text),
        _ops.hashgrid_variation_backward(torch.linspace(-1, 1, spec.levels).to(x), x, table, spec.text, False),
    )


def digests() -> dict[str, str]:
    """A hash of the results of each problem."""
    out = {"isa": wh.build_info()["isa"]}
    for number, (name, spec, x, dtype) in enumerate(
        itertools.chain(pieces(), quanta(), blocks(), blocks_read_ahead(), types())
    ):
        table = rows(spec, dtype)
        weights = level_weights(spec, wide(dtype)) if number % 2 else None
        torch.set_num_threads(1)
        alone = results(spec, x, table, weights)
        for threads in THREADS:
            torch.set_num_threads(threads)
            found = results(spec, strided(x), strided(table), weights)
            assert all(same_bits(a, b) for a, b in zip(found, alone, strict=True)), (name, threads)
        digest = hashlib.sha256()
        for result in alone:
            digest.update(raw_bytes(result).numpy().tobytes())
        out[name] = digest.hexdigest()
    return out


if __name__ == "__main__":
    print(json.dumps({"digests": digests}[sys.argv[1]]()))
