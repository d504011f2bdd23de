# SPDX-License-Identifier: Apache-2.0
"""Points, tables and gradients for the hash-grid benches."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from warphash.hashgrid import GridSpec

LEVELS = 16
PRIMES = (1, 2654435761, 805459861, 3674653429)


@dataclass(frozen=True)
class Shape:
    """A grid from 16 to 2048 vertices an axis on 16 levels, and how many points it is asked for."""

    dims: int = 3
    log2_rows: int = 19
    features: int = 2
    dtype: torch.dtype = torch.float32
    points: int = 1 << 18
    active: tuple[int, ...] = tuple(range(LEVELS))
    order: str = "random"  # or "morton": along a curve that keeps neighbours together

    @property
    def spec(self) -> GridSpec:
        return _spec(self.dims, self.log2_rows, self.features)

    @property
    def components(self) -> int:
        return LEVELS * self.features

    @property
    def row_bytes(self) -> int:
        return self.features * self.dtype.itemsize

    @property
    def corner_reads(self) -> float:
        """Rows that one pass over all points looks up."""
        return float(self.points) * 2**self.dims * len(self.active)

    def level_bytes(self, level: int) -> int:
        return self.spec.level_rows[level] * self.row_bytes

    @property
    def table_bytes(self) -> int:
        return sum(self.level_bytes(level) for level in self.active)


@lru_cache
def _spec(dims: int, log2_rows: int, features: int) -> GridSpec:
    from warphash.hashgrid import GridSpec

    return GridSpec(dims, levels=LEVELS, features=features, log2_table_size=log2_rows)


@dataclass(frozen=True)
class Encoding:
    """One problem: what is encoded, and for the derivatives what comes back."""

    shape: Shape
    spec: GridSpec
    x: torch.Tensor  # float32 [points, dims]
    table: torch.Tensor  # [rows, features]
    gradient: torch.Tensor  # [points, levels * features], of the encoding
    head: torch.Tensor  # [levels * features]: weights of the sum that plays the part of a distance
    level_weights: torch.Tensor | None  # [levels], ones and zeros; None: all ones

    @property
    def count(self) -> int:
        return self.x.shape[0]

    def part(self, points: int) -> Encoding:
        """The first points alone."""
        return replace(self, x=self.x[:points], gradient=self.gradient[:points])

    def level_tables(self) -> list[torch.Tensor]:
        """One view of the table a level."""
        return [self.table[begin:end] for begin, end in itertools.pairwise(self.spec.offsets)]


def large_pages(tensor: torch.Tensor) -> torch.Tensor:
    """The same tensor, still unwritten, in pages of 2 MiB where the system grants them: as `nn.HashGrid` does."""
    from warphash import _C

    if tensor.device.type == "cpu":
        _C.prefer_large_pages(tensor.data_ptr(), tensor.numel() * tensor.element_size())
    return tensor


def morton_order(x: NDArray[np.float32]) -> NDArray[np.int64]:
    """An order along the Z curve with ten bits an axis."""
    cells = (x * 1024).astype(np.uint64)
    dims = x.shape[1]
    code = np.zeros(len(x), np.uint64)
    for bit in range(10):
        for axis in range(dims):
            code |= (cells[:, axis] >> np.uint64(bit) & np.uint64(1)) << np.uint64(bit * dims + axis)
    return np.argsort(code, kind="stable")


@lru_cache(maxsize=1)
def _encoding(shape: Shape) -> Encoding:
    generator = torch.Generator().manual_seed(shape.dims)
    x = torch.rand(shape.points, shape.dims, generator=generator)
    if shape.order == "morton":
        x = x[torch.from_numpy(morton_order(x.numpy()))].contiguous()
    table = large_pages(torch.empty(shape.spec.rows, shape.features, dtype=shape.dtype))
    table.uniform_(-1, 1, generator=generator)
    gradient = torch.randn(shape.points, shape.components, generator=generator).to(shape.dtype)
    head = torch.randn(shape.components, generator=generator)
    weights = None
    if len(shape.active) < LEVELS:
        weights = torch.zeros(LEVELS)
        weights[list(shape.active)] = 1.0
    return Encoding(shape, shape.spec, x, table, gradient, head, weights)


def encoding(device: torch.device, shape: Shape) -> Encoding:
    made = _encoding(shape)
    if device.type == "cpu":
        return made
    moved = {name: getattr(made, name).to(device) for name in ("x", "table", "gradient", "head")}
    weights = None if made.level_weights is None else made.level_weights.to(device)
    return replace(made, **moved, level_weights=weights)
