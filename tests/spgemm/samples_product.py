# SPDX-License-Identifier: Apache-2.0
"""Pairs of matrices, each of which drives the product onto another of its ways, and the product by its definition."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

DTYPES = ("float16", "bfloat16", "float32", "float64", "int32", "int64", "bool")


class Matrix(NamedTuple):
    """CSR, canonical; bfloat16 values are uint16 bits."""

    crow: np.ndarray
    col: np.ndarray
    values: np.ndarray
    columns: int

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.crow) - 1


def from_rows(rows: list[np.ndarray], columns: int, seed: int = 0) -> Matrix:
    """A matrix of float32 with these columns in its rows."""
    crow = np.cumsum([0, *(len(row) for row in rows)])
    col = np.concatenate([np.empty(0, np.int64), *rows]).astype(np.int32)
    values = np.random.default_rng(seed).standard_normal(len(col)).astype(np.float32)
    return Matrix(crow, col, values, columns)


def scattered(rows: int, columns: int, entries: int, seed: int) -> Matrix:
    """About `entries` columns in each row, anywhere."""
    generator = np.random.default_rng(seed)
    return from_rows([np.unique(generator.integers(0, columns, entries)) for _ in range(rows)], columns, seed)


def banded(rows: int, columns: int, width: int) -> Matrix:
    """A run of columns in each row, about the diagonal."""
    starts = np.linspace(0, columns - width, rows).astype(np.int64)
    return from_rows([np.arange(start, start + width) for start in starts], columns)


def hubs(size: int, seed: int) -> Matrix:
    """Few rows and columns have most of the entries."""
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(size):
        draws = size if i % 97 == 0 else 3 + size // (i + 1)
        rows.append(np.unique((size * generator.random(draws) ** 3).astype(np.int64)))
    return from_rows(rows, size, seed)


def cases() -> dict[str, tuple[Matrix, Matrix]]:
    """Pairs by name."""
    empty = np.empty(0, np.int64)
    hub, band = hubs(700, 1), banded(2000, 2000, 9)
    return {
        "no rows": (from_rows([], 5), scattered(5, 7, 3, 0)),
        "no inner": (from_rows([empty] * 4, 0), from_rows([], 7)),
        "no columns": (scattered(4, 5, 3, 0), from_rows([empty] * 5, 0)),
        "no entries": (scattered(4, 5, 3, 0), from_rows([empty] * 5, 9)),
        "one entry": (from_rows([np.array([0])], 1), from_rows([np.array([0])], 1)),
        "empty rows": (
            from_rows([np.array([0, 2]), empty, np.array([1]), np.array([1, 2])], 3),
            from_rows([np.array([0, 3]), empty, np.array([3, 63, 64, 127, 128])], 129),
        ),
        "one row of B each": (
            from_rows([np.array([i * 7 % 300]) for i in range(300)], 300),
            scattered(300, 5000, 90, 2),
        ),
        "small": (scattered(40, 50, 6, 3), scattered(50, 60, 8, 4)),
        "hubs": (hub, hub),
        "hub row of A": (from_rows([np.arange(900), np.array([5])], 900), scattered(900, 3000, 40, 5)),
        "runs": (band, band),
        "runs that are far apart": (
            scattered(400, 300, 40, 6),
            from_rows(
                [np.unique((np.arange(0, 3000, 97)[:, None] + np.arange(i % 5 + 2)).ravel()) for i in range(300)], 3200
            ),
        ),
        # Neighbouring rows of b in the same words of 16 columns, in groups of 1 … 6, which a asks for in runs of 1 … 7.
        "rows that are alike": (
            from_rows([np.arange(i % 7 + 1) + 3 * i % 890 for i in range(2500)], 900),
            from_rows(
                [
                    np.unique((np.arange(r // (r % 6 + 1) % 50, 1500, 90)[:, None] + np.arange(i % 3 + 3)).ravel())
                    for i, r in enumerate(np.arange(900) // 6 * 6)
                ],
                1600,
            ),
        ),
        "dense": (scattered(120, 100, 60, 7), scattered(100, 150, 110, 8)),
        # Sorted in registers or memory: up to 16, 32, … products, then more than 256, with equal columns and without.
        "short rows": (
            from_rows([np.unique(np.random.default_rng(i).integers(0, 500, i % 40 + 1)) for i in range(400)], 500),
            from_rows([np.unique(np.random.default_rng(i).integers(0, 9999, 6) * 199) for i in range(500)], 1 << 21),
        ),
        "hypersparse": (scattered(20, 800, 500, 9), scattered(800, 2**31 - 1, 3, 10)),
        # Windows one after the other: 131 072 columns of four bytes are one.
        "windows": (scattered(3, 60, 30, 11), scattered(60, 400_000, 3000, 12)),
        "windows of runs": (
            scattered(3, 12, 9, 13),
            from_rows([np.arange(1000 * i, 150_000 + 5000 * i, 1 + i % 2) for i in range(12)], 300_000),
        ),
    }


def as_dtype(matrix: Matrix, dtype: str, seed: int = 0) -> Matrix:
    """The same pattern with values of a dtype: special ones and extremes among them."""
    generator = np.random.default_rng(seed)
    count = len(matrix.col)
    if dtype == "bool":
        return matrix._replace(values=generator.random(count) < 0.7)
    if dtype.startswith("int"):
        info = np.iinfo(dtype)
        some = generator.integers(-9, 10, count)
        some[::17] = generator.integers(info.min, info.max, len(some[::17]))
        return matrix._replace(values=some.astype(dtype))
    floats = generator.standard_normal(count)
    floats[::1001], floats[1::1501], floats[2::1701] = np.inf, np.nan, -np.inf
    floats[3::13], floats[4::29] = 0.0, -0.0
    if dtype == "bfloat16":
        return matrix._replace(values=torch.from_numpy(floats).to(torch.bfloat16).view(torch.uint16).numpy())
    return matrix._replace(values=floats.astype(dtype))


def _widened(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.uint16:
        return torch.from_numpy(values).view(torch.bfloat16).float().numpy()
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _narrowed(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype == np.uint16:
        return torch.from_numpy(values).to(torch.bfloat16).view(torch.uint16).numpy()
    return values.astype(dtype)


def by_definition(
    a: Matrix, b: Matrix, semiring: int, exclude: Matrix | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(crow, col, values): products in the order of A's columns, added one after the other."""
    lengths = np.diff(b.crow)[a.col]
    left = np.repeat(np.arange(len(a.col)), lengths)
    right = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + b.crow[a.col[left]]
    row = np.repeat(np.arange(a.rows), np.diff(a.crow))[left]
    keys, place = np.unique(row * b.columns + b.col[right], return_inverse=True)
    x, y = _widened(a.values)[left], _widened(b.values)[right]
    with np.errstate(all="ignore"):
        products = x & y if semiring == 1 else x + y if semiring == 2 else x * y
        low, high = (False, True)
        if products.dtype.kind == "f":
            low, high = -np.inf, np.inf
        elif products.dtype.kind == "i":
            low, high = np.iinfo(products.dtype).min, np.iinfo(products.dtype).max
        add, zero = ((np.add, 0), (np.logical_or, False), (np.minimum, high), (np.maximum, low))[semiring]
        values = np.full(len(keys), zero, products.dtype)
        add.at(values, place, products)
        if exclude is not None:
            excluded = np.repeat(np.arange(exclude.rows), np.diff(exclude.crow)) * b.columns + exclude.col
            kept = ~np.isin(keys, excluded)
            keys, values = keys[kept], values[kept]
        counts = np.bincount(keys // max(b.columns, 1), minlength=a.rows)
        return np.cumsum([0, *counts]), keys % max(b.columns, 1), _narrowed(values, a.values.dtype)


def some_of(a: Matrix, b: Matrix, seed: int = 0) -> Matrix:
    """A pattern to exclude: half of the product's entries and as many others."""
    crow, col, _ = by_definition(a, b, 0)
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(a.rows):
        own = col[crow[i] : crow[i + 1]]
        others = generator.integers(0, max(b.columns, 1), len(own) // 2) if b.columns else own
        rows.append(np.unique(np.concatenate([own[generator.random(len(own)) < 0.5], others])))
    return from_rows(rows, b.columns)
