# SPDX-License-Identifier: Apache-2.0
"""The definition of the encoding in plain torch, differentiable by autograd to any order: the oracle of all tests.

Slow on purpose: every corner of every level is gathered by itself. Call it in float64 for a reference of other dtypes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from .spec import GridSpec

PRIMES = (1, 2654435761, 805459861, 3674653429, 2097192037, 1434869437, 2165219737)
_WORD = 0xFFFFFFFF


def vertex_rows(vertices: Tensor, spec: GridSpec, level: int) -> Tensor:
    """Rows within a level of integer vertices int64 ``[..., dims]``, by 32-bit arithmetic: int64 ``[...]``."""
    resolution = spec.resolutions[level]
    axes = (resolution,) * spec.dims if isinstance(resolution, int) else resolution
    row = torch.zeros_like(vertices[..., 0])
    stride = 1
    for axis in range(spec.dims):
        coordinate = vertices[..., axis] & _WORD
        if spec.is_hashed(level):
            row = row ^ (coordinate * PRIMES[axis] & _WORD)
        else:
            row = row + coordinate * stride & _WORD
            stride = stride * axes[axis] & _WORD
    return row % spec.level_rows[level]


def largest_coordinate(spec: GridSpec, dtype: torch.dtype) -> float:
    """Beyond this a position on the finest level would overflow; a row with such a coordinate is NaN."""
    finest = max(max(scales) for scales in spec.scales)
    return torch.finfo(dtype).max / (2.0 * (finest + 1.0))


def positions(x: Tensor, spec: GridSpec, level: int) -> tuple[Tensor, Tensor]:
    """Cells (whole numbers as floats) and the place within them, for x whose rows are all finite."""
    scale = torch.tensor(spec.scales[level], dtype=x.dtype, device=x.device)
    # In float64 first, so that a float32 is rounded once, as by a fused multiply-add.
    position = (x.double() * scale.double() + 0.5).to(x.dtype)
    cell = position.detach().floor()
    return cell, position - cell


def _weight(place: Tensor, interpolation: str) -> Tensor:
    """Share of the upper vertex."""
    if interpolation == "nearest":
        return torch.zeros_like(place)
    return place if interpolation == "linear" else place * place * (3 - 2 * place)


def encode(
    x: Tensor, table: Tensor, spec: GridSpec, *, level_weights: Tensor | Sequence[float] | None = None
) -> Tensor:
    """As :func:`warphash.hashgrid.encode`."""
    wide = torch.float64 if table.dtype == torch.float64 else torch.float32
    points = x.reshape(-1, spec.dims).to(wide)
    rows_of_table = table.to(wide)
    weights = None if level_weights is None else torch.as_tensor(level_weights, dtype=wide, device=x.device)
    usable = (points.detach().abs() <= largest_coordinate(spec, wide)).all(1, keepdim=True)
    safe = torch.where(usable, points, torch.zeros_like(points))
    out = []
    for level in range(spec.levels):
        cell, place = positions(safe, spec, level)
        vertex = torch.fmod(cell, 2.0**32).to(torch.int64)
        upper = _weight(place, spec.interpolation)
        total = torch.zeros(len(points), spec.features, dtype=wide, device=x.device)
        for corner in itertools.product((0, 1), repeat=spec.dims):
            if spec.interpolation == "nearest" and any(corner):
                continue
            bits = torch.tensor(corner, device=x.device)
            weight = torch.where(bits.bool(), upper, 1 - upper).prod(1, keepdim=True)
            total = total + weight * rows_of_table[spec.offsets[level] + vertex_rows(vertex + bits, spec, level)]
        skipped = weights is not None and float(weights.detach()[level]) == 0
        total = total if weights is None else total * weights[level]
        out.append(total if skipped else torch.where(usable, total, torch.nan))
    encoded = torch.cat(out, 1).to(table.dtype)
    return encoded.reshape(*x.shape[:-1], spec.output_features)


def total_variation(
    x: Tensor, table: Tensor, spec: GridSpec, *, level_weights: Tensor | Sequence[float] | None = None
) -> Tensor:
    """As :func:`warphash.hashgrid.total_variation`."""
    wide = torch.float64 if table.dtype == torch.float64 else torch.float32
    points = x.reshape(-1, spec.dims).to(wide)
    weights = torch.ones(spec.levels) if level_weights is None else torch.as_tensor(level_weights)
    usable = (points.detach().abs() <= largest_coordinate(spec, wide)).all(1)
    points = points[usable]
    total = torch.zeros((), dtype=wide, device=x.device)
    for level in range(spec.levels):
        vertex = torch.fmod(positions(points, spec, level)[0], 2.0**32).to(torch.int64)
        low = table[spec.offsets[level] + vertex_rows(vertex, spec, level)].to(wide)
        for axis in range(spec.dims):
            step = torch.zeros(spec.dims, dtype=torch.int64, device=x.device)
            step[axis] = 1
            high = table[spec.offsets[level] + vertex_rows(vertex + step, spec, level)].to(wide)
            total = total + weights[level].to(total) * (high - low).square().sum()
    return total / max(len(usable), 1)
