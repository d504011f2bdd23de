# SPDX-License-Identifier: Apache-2.0
"""Sparse matrices for the tests of the public functions, and what SciPy or a dense formula says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import torch
import warphash as wh
from torch import Tensor

VALUES = wh.spgemm.csr.VALUES
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SEMIRINGS = wh.spgemm.csr.SEMIRINGS


def csr(crow: Any, col: Any, values: Any, shape: tuple[int, int], index: torch.dtype = torch.int64) -> Tensor:
    """A CSR tensor, without torch's checks and its warning."""
    parts = (torch.as_tensor(crow).to(index), torch.as_tensor(col).to(index), torch.as_tensor(values))
    return wh.spgemm.csr.build(*parts, shape)


def numbers(count: int, dtype: torch.dtype, generator: np.random.Generator) -> Tensor:
    """Small halves that sum without rounding in every dtype, zeros among them."""
    drawn = torch.from_numpy(generator.integers(-4, 5, count))
    return drawn > 0 if dtype == torch.bool else (drawn / 2 if dtype.is_floating_point else drawn).to(dtype)


def random_csr(
    rows: int,
    columns: int,
    density: float = 0.2,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    index: torch.dtype = torch.int32,
    messy: bool = False,
    real: bool = False,
) -> Tensor:
    """Canonical; messy: with columns in any order and some twice; real: of normal values."""
    generator = np.random.default_rng([rows, columns, seed])
    present = generator.random((rows, columns)) < density
    row, col = present.nonzero()
    if messy and len(row):
        again = generator.integers(0, len(row), len(row) // 2 + 1)
        row, col = np.concatenate([row, row[again]]), np.concatenate([col, col[again]])
        order = generator.permutation(len(row))
        order = order[np.argsort(row[order], kind="stable")]
        row, col = row[order], col[order]
    crow = np.concatenate([[0], np.bincount(row, minlength=rows).cumsum()])
    values = torch.from_numpy(generator.standard_normal(len(row))).to(dtype) if real else None
    return csr(crow, col, numbers(len(row), dtype, generator) if values is None else values, (rows, columns), index)


def with_values(x: Tensor, values: Tensor) -> Tensor:
    """The same pattern with other values."""
    return wh.spgemm.csr.build(x.crow_indices(), x.col_indices(), values, tuple(x.shape))


def to_scipy(x: Tensor) -> Any:
    """SciPy's matrix of the same memory; half types as float32."""
    values = x.detach().values()
    values = values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
    return scipy.sparse.csr_array(
        (values.numpy(), x.col_indices().numpy(), x.crow_indices().numpy()), shape=tuple(x.shape)
    )


def canonical(x: Tensor, semiring: str = "plus_times") -> Tensor:
    """Columns in order, entries of one place combined one after another."""
    number = SEMIRINGS.index(semiring)
    ref = wh.spgemm.reference
    entries: dict[tuple[int, int], Tensor] = {}
    rows = ref.rows_of(x.crow_indices()).tolist()
    values = ref.wide(x.detach().values())
    if semiring == "or_and":
        values = values != 0
    nothing = torch.tensor(ref.zero(number, values.dtype), dtype=values.dtype)
    for place, value in zip(zip(rows, x.col_indices().tolist(), strict=True), values, strict=True):
        entries[place] = ref.plus(number, entries.get(place, nothing), value)
    places = sorted(entries)
    out = torch.stack([entries[place] for place in places]) if places else values[:0]
    crow = np.concatenate([[0], np.bincount([row for row, _ in places], minlength=x.shape[0]).cumsum()])
    dtype = torch.bool if semiring == "or_and" else x.dtype
    index = x.crow_indices().dtype
    return csr(crow, [col for _, col in places], out.to(dtype), tuple(x.shape), index)


def parts(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row pointers, columns, values."""
    return x.crow_indices(), x.col_indices(), x.values()


def expected(a: Tensor, b: Tensor, semiring: str = "plus_times", mask: Any = None, complement: bool = False) -> Tensor:
    """The definition, of operands in any order and of any index dtypes."""
    number = SEMIRINGS.index(semiring)
    index = torch.promote_types(a.crow_indices().dtype, b.crow_indices().dtype)
    first, second = (parts(canonical(x, semiring)) for x in (a, b))
    operands = (
        *(x.to(index) for x in first[:2]),
        first[2],
        *(x.to(index) for x in second[:2]),
        second[2],
        b.shape[1],
        number,
    )
    masks = () if mask is None else tuple(x.to(index) for x in parts(canonical(mask))[:2])
    function = wh.spgemm.reference.matmul if mask is None or complement else wh.spgemm.reference.masked
    return wh.spgemm.csr.build(*function(*operands, *masks), (a.shape[0], b.shape[1]))


def same(got: Tensor, wanted: Tensor) -> bool:
    """Equal shape, index dtype, pattern and bits of values."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return False
    for x, y in zip(parts(got), parts(wanted), strict=True):
        if x.dtype != y.dtype or x.shape != y.shape:
            return False
        x, y = x.detach().contiguous(), y.detach().contiguous()
        if x.numel() and not torch.equal(x.view(torch.uint8), y.view(torch.uint8)):
            return False
    return True
