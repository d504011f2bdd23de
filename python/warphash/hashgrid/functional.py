# SPDX-License-Identifier: Apache-2.0
"""The public functions of the hash encoding: checks of arguments, then one operator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import _checks
from .._dtypes import compute_dtype
from ..interop import as_tensor, like
from .registration import encoded
from .registration_variation import variation
from .spec import GridSpec

TABLE_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def checked_spec(spec: Any) -> GridSpec:
    """``spec``, if it is one."""
    if not isinstance(spec, GridSpec):
        raise TypeError(f"spec must be a GridSpec, got {type(spec).__name__}")
    return spec


def checked_table(table: Any, spec: GridSpec) -> Tensor:
    """A table ``[rows, features]`` of the spec from any kind of array."""
    rows = _checks.dense("table", as_tensor(table, "table"))
    if rows.dtype not in TABLE_DTYPES:
        raise TypeError(f"table must be float32, float64, float16 or bfloat16, got {rows.dtype}")
    if rows.dim() != 2 or rows.shape[0] != spec.rows or rows.shape[1] != spec.features:
        wanted = (spec.rows, spec.features)
        raise ValueError(f"table must be [rows, features], {wanted} for this spec, got {tuple(rows.shape)}")
    _checks.device_served("table", rows)
    return rows


def _points(x: Any, table: Tensor, spec: GridSpec) -> Tensor:
    points = _checks.dense("x", as_tensor(x, "x"))
    wide = compute_dtype(table.dtype)
    if points.dtype != wide:
        raise TypeError(f"x must be {wide} for a table of {table.dtype}, got {points.dtype}")
    if points.dim() == 0 or points.shape[-1] != spec.dims:
        raise ValueError(f"x must be [..., dims] with {spec.dims} dims as spec has, got shape {tuple(points.shape)}")
    _checks.same_device("x", points, "table", table)
    return points


def _weights(level_weights: Any, table: Tensor, spec: GridSpec) -> Tensor | None:
    if level_weights is None:
        return None
    wide = compute_dtype(table.dtype)
    if isinstance(level_weights, list | tuple):
        for i, weight in enumerate(level_weights):
            if isinstance(weight, Tensor) and weight.requires_grad:
                raise TypeError(
                    f"level_weights[{i}] must be a number, got a tensor that requires a gradient: stack them"
                )
        numbers = [_checks.number(f"level_weights[{i}]", weight) for i, weight in enumerate(level_weights)]
        weights = torch.tensor(numbers, dtype=wide, device=table.device)
    else:
        weights = _checks.dense("level_weights", as_tensor(level_weights, "level_weights"))
        if not weights.dtype.is_floating_point:
            raise TypeError(f"level_weights must be floating point, got {weights.dtype}")
        _checks.same_device("table", table, "level_weights", weights)
    if tuple(weights.shape) != (spec.levels,):
        raise ValueError(f"level_weights must be [levels], ({spec.levels},) here, got shape {tuple(weights.shape)}")
    return weights.to(wide)


def _flat(points: Tensor) -> Tensor:
    """``[N, dims]``, by sizes that are known where N is 0 too."""
    return points[None] if points.dim() == 1 else points.flatten(0, -2)


def encode(x: Any, table: Any, spec: GridSpec, *, level_weights: Any = None) -> Any:
    """Multiresolution hash encoding of points.

    On each level the point's cell is found, the rows of its 2^dims corners are looked up in the table and interpolated:
    ``y[l] = level_weights[l] * sum over corners of weight * table[row]``.

    Args:
        x: ``[..., dims]``, meant to lie in [0, 1]; float64 for a float64 table, else float32. Outside of [0, 1] rows
            wrap as the formula says. A row with a coordinate that is NaN, infinite, or so large that a position
            overflows gives NaN on every level that is not skipped, and adds nothing to the gradients of table and
            weights.
        table: ``[spec.rows, spec.features]``, float32, float64, float16 or bfloat16. Half types are summed in float32,
            and their gradients too before they are rounded.
        spec: the geometry.
        level_weights: ``[levels]``, tensor or sequence, for coarse-to-fine training. A level of weight 0 is skipped: it
            costs nothing, gives exact zeros and takes no part in any gradient but that of its own weight.

    Returns:
        ``[..., levels * features]`` in the table's dtype, level after level. Differentiable twice in x, table and
        level_weights; "nearest" has derivative 0 in x. At the faces of cells, where the linear interpolation has a
        kink, the derivative is that of the upper cell.

    Raises:
        TypeError: a dtype or a kind does not fit.
        ValueError: a shape or a device does not fit.

    Complexity: O(N levels (2^dims features + dims)); workspace on the CPU a staged chunk of points a thread (1 to 16
    MiB, twice that for derivatives), and for the table's gradient the turned gradient of a block of points (at most 32
    MiB), both of 1024 points where that is more; nothing of N x levels x dims.

    Source: Müller et al., Instant Neural Graphics Primitives, 2022; second derivatives as in NeuS2 (Wang et al., 2023).
    """
    grid = checked_spec(spec)
    rows = checked_table(table, grid)
    points = _points(x, rows, grid)
    weights = _weights(level_weights, rows, grid)
    flat = _flat(points)
    return like(x, encoded(flat, rows, weights, grid.text).reshape(*points.shape[:-1], grid.output_features))


def total_variation(x: Any, table: Any, spec: GridSpec, *, level_weights: Any = None) -> Any:
    """Total variation of the table around points: a regulariser that makes neighbouring vertices agree.

    For each point, level and axis the row of the cell's lower vertex is compared with that of its neighbour above:
    ``sum over levels of level_weights[l] * mean over points of sum over axes and features of (E[c + e] - E[c])^2``.
    Sampling points instead of running over all vertices is what makes it possible for hashed levels.

    Args:
        x: ``[..., dims]``, where to look, such as the points of the batch or uniform samples; dtype as for
            :func:`encode`. Points that :func:`encode` answers with NaN count as zero.
        table: ``[spec.rows, spec.features]``.
        spec: the geometry; its interpolation plays no part.
        level_weights: ``[levels]``, tensor or sequence; None: all 1.

    Returns:
        A scalar, float64 for a float64 table, else float32. Differentiable twice in table and level_weights; constant
        in x within cells.

    Raises:
        TypeError, ValueError: as :func:`encode`.

    Complexity: O(N levels dims features); no workspace beyond pieces of points.

    Source: total-variation loss on hash grids as in torch-ngp and nerf2mesh (Tang et al., 2023).
    """
    grid = checked_spec(spec)
    rows = checked_table(table, grid)
    points = _points(x, rows, grid)
    weights = _weights(level_weights, rows, grid)
    flat = _flat(points)
    mean = variation(flat, rows, grid.text) / max(flat.shape[0], 1)
    return like(x, mean.sum() if weights is None else (mean * weights).sum())


def level_view(table: Tensor, spec: GridSpec, level: int) -> Tensor:
    """The rows of one level: a view of the table, for regularisers, learning rates or inspection of single levels.

    Args:
        table: ``[spec.rows, ...]``, the table, its gradient, or anything with a row for each of its rows.
        spec: the geometry.
        level: 0 to ``levels - 1``.

    Returns:
        ``[spec.level_rows[level], ...]``, sharing the table's memory.

    Raises:
        TypeError, ValueError, IndexError: not a tensor; of the wrong rows; no such level.
    """
    grid = checked_spec(spec)
    if not isinstance(table, Tensor):
        raise TypeError(f"table must be a torch tensor, of which a view is taken, got {type(table).__name__}")
    if table.dim() < 1 or table.shape[0] != grid.rows:
        raise ValueError(f"table must have {grid.rows} rows for this spec, got shape {tuple(table.shape)}")
    number = _checks.count("level", level, -(2**63))
    if not 0 <= number < grid.levels:
        raise IndexError(f"level must be within 0 and {grid.levels - 1}, got {number}")
    return table[grid.offsets[number] : grid.offsets[number + 1]]
