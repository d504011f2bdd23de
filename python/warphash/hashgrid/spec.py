# SPDX-License-Identifier: Apache-2.0
"""What a multiresolution grid is: how many levels of which resolution, and where each level's rows lie in the table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils import _pytree

from .. import _checks

KINDS = ("hash", "dense", "tiled")
INTERPOLATIONS = ("nearest", "linear", "smoothstep")
MOST_DIMS = 7
MOST_ROWS = 2**31  # of a table: a row within a level is a 32-bit number everywhere
MOST_FEATURES = 2**16  # of an encoded point
MOST_VERTICES = 2**31 - 1  # of an axis: a position is a 32-bit integer
SNAP = 1e-9  # a scale this close (relatively) to a whole number is that number

Axes = int | tuple[int, ...]


class GridSpec:
    """Geometry of a multiresolution hash encoding; immutable, comparable, hashable, picklable.

    Level ``l`` has scale ``s = base * growth**l - 1`` and ``ceil(s) + 1`` vertices along an axis; ``growth`` is such
    that the last level reaches ``finest_resolution``. Scales are computed in float64 and snapped to a whole number
    where they are within ``1e-9 * max(s, 1)`` of it, once, for every device. A level has as many rows as vertices,
    rounded up to a multiple of 8, but at most ``2**log2_table_size`` for ``kind="hash"`` (such levels are hashed) and
    at most ``base**dims`` for ``kind="tiled"`` (such levels repeat); ``kind="dense"`` has them all.

    Args:
        dims: number of coordinates, 1 to 7.
        levels: number of resolutions, at least 1.
        features: of a row of the table, at least 1; 1, 2, 4 and 8 are the fast ones. Levels times features: at most
            65536.
        log2_table_size: 0 to 31; of ``kind="hash"`` alone.
        base_resolution: vertices of level 0 along an axis, one number or one an axis.
        finest_resolution: vertices of the last level, one number or one an axis; 2048 unless ``per_level_scale`` is
            given.
        per_level_scale: the growth from level to level instead, at least 1; one number or one an axis.
        kind: "hash", "dense" or "tiled".
        interpolation: "linear", "smoothstep" (whose first derivative is continuous), or "nearest" (no derivative in x).
        tcnn: scales rounded as tiny-cuda-nn rounds them, in float32 and without snapping, for its trained tables.

    Raises:
        TypeError, ValueError: an argument is of the wrong kind or out of range; the table would have more than 2**31
            rows.

    Source: Müller et al., Instant Neural Graphics Primitives, 2022 (https://arxiv.org/abs/2201.05989).
    """

    dims: int
    levels: int
    features: int
    log2_table_size: int
    base_resolution: Axes
    finest_resolution: Axes | None
    per_level_scale: float | tuple[float, ...]
    kind: str
    interpolation: str
    tcnn: bool
    scales: tuple[tuple[float, ...], ...]
    """Of each level and axis: a position on the grid is ``scale * x + 0.5``."""
    resolutions: tuple[Axes, ...]
    """Vertices along an axis of each level; a tuple where axes differ."""
    level_rows: tuple[int, ...]
    offsets: tuple[int, ...]
    """First row of each level, and the number of all rows."""
    rows: int
    text: str
    """What the operators read: kind, interpolation, dims; for each level its scales and rows."""

    def __init__(
        self,
        dims: int,
        *,
        levels: int = 16,
        features: int = 2,
        log2_table_size: int = 19,
        base_resolution: int | Sequence[int] = 16,
        finest_resolution: int | Sequence[int] | None = None,
        per_level_scale: float | Sequence[float] | None = None,
        kind: str = "hash",
        interpolation: str = "linear",
        tcnn: bool = False,
    ) -> None:
        dims = _within("dims", dims, 1, MOST_DIMS)
        levels = _checks.count("levels", levels, 1)
        features = _checks.count("features", features, 1)
        if levels * features > MOST_FEATURES:
            raise ValueError(
                f"features must be at most {MOST_FEATURES} on all levels together, got {features} on {levels} levels"
            )
        base = _by_axis("base_resolution", base_resolution, dims, _vertices)
        if per_level_scale is None:
            wanted = 2048 if finest_resolution is None else finest_resolution
            finest = _by_axis("finest_resolution", wanted, dims, _vertices)
            for first, last in zip(base, finest, strict=True):
                if last < first:
                    raise ValueError(f"finest_resolution must be at least base_resolution, {first}, got {last}")
            ratio = [math.log(last) - math.log(first) for first, last in zip(base, finest, strict=True)]
            growth = tuple(math.exp(r / (levels - 1)) if levels > 1 else 1.0 for r in ratio)
        elif finest_resolution is not None:
            raise ValueError("per_level_scale must not be given together with finest_resolution")
        else:
            growth = _by_axis("per_level_scale", per_level_scale, dims, _growth)
        tcnn = _checks.flag("tcnn", tcnn)
        values: dict[str, Any] = {
            "dims": dims,
            "levels": levels,
            "features": features,
            "log2_table_size": _within("log2_table_size", log2_table_size, 0, 31),
            "base_resolution": _axes(base),
            "finest_resolution": None if per_level_scale is not None else _axes(finest),
            "per_level_scale": growth[0] if len(set(growth)) == 1 else growth,
            "kind": _one_of("kind", kind, KINDS),
            "interpolation": _one_of("interpolation", interpolation, INTERPOLATIONS),
            "tcnn": tcnn,
        }
        values["scales"] = tuple(
            tuple(_scale(b, g, level, tcnn) for b, g in zip(base, growth, strict=True)) for level in range(levels)
        )
        self.__dict__.update(values)
        self.__dict__.update(self._layout(base))

    def _layout(self, base: tuple[int, ...]) -> dict[str, Any]:
        """Resolutions and rows, from the scales."""
        resolutions, rows = [], []
        for level, scales in enumerate(self.scales):
            resolution = tuple(math.ceil(scale) + 1 for scale in scales)
            if max(resolution) > MOST_VERTICES:
                raise ValueError(
                    f"per_level_scale must keep each level below {MOST_VERTICES} vertices an axis, got "
                    f"{max(resolution)} at level {level}"
                )
            vertices = math.prod(resolution)
            if self.kind == "dense" and vertices > MOST_ROWS:
                raise ValueError(f"kind 'dense' must have at most {MOST_ROWS} rows, got {vertices} at level {level}")
            own = (min(vertices, MOST_VERTICES) + 7) // 8 * 8
            if self.kind == "hash":
                own = min(own, 2**self.log2_table_size)
            elif self.kind == "tiled":
                own = min(own, math.prod(base))
            resolutions.append(_axes(resolution))
            rows.append(own)
        offsets = tuple(itertools.accumulate(rows, initial=0))
        if offsets[-1] > MOST_ROWS:
            raise ValueError(
                f"levels must have at most {MOST_ROWS} rows together, got {offsets[-1]}: lower log2_table_size or "
                "levels"
            )
        lines = (f"{' '.join(map(repr, scales))} {own}" for scales, own in zip(self.scales, rows, strict=True))
        return {
            "resolutions": tuple(resolutions),
            "level_rows": tuple(rows),
            "offsets": offsets,
            "rows": offsets[-1],
            "text": f"{self.kind} {self.interpolation} {self.dims};" + ";".join(lines),
        }

    @property
    def output_features(self) -> int:
        """Width of an encoded point, ``levels * features``."""
        return self.levels * self.features

    def is_hashed(self, level: int) -> bool:
        """Whether the vertices of a level share rows by the hash."""
        resolution = self.resolutions[level]
        vertices = resolution**self.dims if isinstance(resolution, int) else math.prod(resolution)
        return self.kind == "hash" and self.level_rows[level] < vertices

    def _arguments(self) -> dict[str, Any]:
        """What builds the spec again; the growth stands where no finest resolution was given."""
        names = ["levels", "features", "log2_table_size", "base_resolution"]
        names.append("per_level_scale" if self.finest_resolution is None else "finest_resolution")
        named = {name: getattr(self, name) for name in (*names, "kind", "interpolation")}
        return {**named, "tcnn": True} if self.tcnn else named

    def __repr__(self) -> str:
        """An expression that builds the spec again."""
        return f"GridSpec({self.dims}, {', '.join(f'{name}={value!r}' for name, value in self._arguments().items())})"

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"GridSpec is immutable: make a new one for another {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"GridSpec is immutable: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        """Equal arguments."""
        if not isinstance(other, GridSpec):
            return NotImplemented
        return self.dims == other.dims and self._arguments() == other._arguments()

    def __hash__(self) -> int:
        """Of the arguments."""
        return hash((self.dims, *self._arguments().items()))

    def __reduce__(self) -> Any:
        """Built again from its arguments."""
        return _build, (self.dims, self._arguments())


def _build(dims: int, arguments: dict[str, Any]) -> GridSpec:
    return GridSpec(dims, **arguments)


# torch.compile and torch.export then take a spec as a constant of the graph, compared by value.
_pytree.register_constant(GridSpec)


def _scale(base: int, growth: float, level: int, tcnn: bool) -> float:
    if tcnn:  # exp2f(level * log2f(growth)) * base - 1 in float32
        with np.errstate(over="ignore", invalid="ignore"):
            power = np.exp2(np.float32(level) * np.log2(np.float32(growth)), dtype=np.float32)
            scale = float(power * np.float32(base) - np.float32(1))
    else:
        try:
            scale = base * growth**level - 1
        except OverflowError:
            scale = math.inf
    if not scale < 2.0**62:
        raise ValueError(f"per_level_scale must keep resolutions within {MOST_VERTICES}, got {growth} at level {level}")
    if tcnn:
        return scale
    whole = float(round(scale))
    return whole if abs(scale - whole) <= SNAP * max(scale, 1.0) else scale


def _axes(values: tuple[int, ...]) -> Axes:
    """One number where all axes agree."""
    return values[0] if len(set(values)) == 1 else values


def _by_axis(name: str, value: Any, dims: int, check: Any) -> tuple[Any, ...]:
    if isinstance(value, tuple | list):
        if len(value) != dims:
            raise ValueError(f"{name} must be one number or one for each of {dims} axes, got {len(value)}")
        return tuple(check(name, one) for one in value)
    return (check(name, value),) * dims


def _vertices(name: str, value: Any) -> int:
    return _within(name, value, 1, MOST_VERTICES)


def _growth(name: str, value: Any) -> float:
    growth = _checks.real(name, value)
    if growth < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return growth


def _within(name: str, value: Any, lowest: int, highest: int) -> int:
    whole = _checks.count(name, value, lowest)
    if whole > highest:
        raise ValueError(f"{name} must be at most {highest}, got {whole}")
    return whole


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {type(value).__name__}")
    if value not in allowed:
        raise ValueError(f"{name} must be {', '.join(map(repr, allowed[:-1]))} or {allowed[-1]!r}, got {value!r}")
    return value
