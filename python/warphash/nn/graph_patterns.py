# SPDX-License-Identifier: Apache-2.0
"""Small sparse_csr tensors and their unions, which layers on graphs are put together from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import _checks, spgemm
from ..spgemm.csr import build, csr, csr_of, indices_of, inspected, rows_of, values_of


def square(name: str, adjacency: Any) -> None:
    """Refuses what is not a sparse_csr matrix of as many rows as columns, its indices in range."""
    x = csr(name, adjacency)
    if x.shape[0] != x.shape[1]:
        raise ValueError(f"{name} must be square [N, N], got shape {tuple(x.shape)}")
    _checks.with_data(name, x)
    inspected(name, *indices_of(x), x.shape[1])


def ones(like: Tensor, dtype: torch.dtype) -> Tensor:
    """The entries of a matrix as they stand, all of them 1."""
    crow, col = like.crow_indices(), like.col_indices()
    values = torch.ones(len(col), dtype=dtype, device=col.device)
    return build(crow, col, values, (like.shape[0], like.shape[1]))


def diagonal(like: Tensor, dtype: torch.dtype, value: float = 1) -> Tensor:
    """``value`` times the identity, of the shape and index dtype of a square matrix."""
    count, index = like.shape[0], like.crow_indices().dtype
    steps = torch.arange(count + 1, dtype=index, device=like.device)
    values = torch.full((count,), value, dtype=dtype, device=like.device)
    return build(steps, steps[:-1], values, (count, count))


def selection(chosen: Tensor, like: Tensor) -> Tensor:
    """Bool [R, N]: row i's one entry stands in column ``chosen[i]``."""
    index = like.crow_indices().dtype
    steps = torch.arange(len(chosen) + 1, dtype=index, device=like.device)
    ones = torch.ones(len(chosen), dtype=torch.bool, device=like.device)
    return build(steps, chosen.to(index), ones, (len(chosen), like.shape[1]))


def merged(first: Tensor, second: Tensor) -> Tensor:
    """The union of two bool patterns of one shape, by one more product: (I I) times the one above the other."""
    rows, entries, device = first.shape[0], first._nnz(), first.device
    index = torch.promote_types(first.crow_indices().dtype, second.crow_indices().dtype)
    if entries + second._nnz() >= 2**31:
        index = torch.int64
    steps = torch.arange(rows, dtype=index, device=device)
    pointers = 2 * torch.arange(rows + 1, dtype=index, device=device)
    true = torch.ones(max(2 * rows, entries + second._nnz()), dtype=torch.bool, device=device)
    both = build(pointers, torch.stack([steps, steps + rows], 1).flatten(), true[: 2 * rows], (rows, 2 * rows))
    crow = torch.cat([first.crow_indices().to(index), second.crow_indices()[1:].to(index) + entries])
    col = torch.cat([first.col_indices().to(index), second.col_indices().to(index)])
    stacked = build(crow, col, true[: len(col)], (2 * rows, first.shape[1]))
    return spgemm.matmul(both, stacked, semiring="or_and", validate=False)


def with_diagonal(adjacency: Tensor, value: float) -> Tensor:
    """The adjacency with ``value`` as a further entry (i, i) of each row: products combine what is stored twice.

    Differentiable in the adjacency's values any number of times.
    """
    crow, col, values = adjacency.crow_indices(), adjacency.col_indices(), values_of(adjacency)
    count = adjacency.shape[0]
    steps = torch.arange(count + 1, dtype=crow.dtype, device=crow.device)
    # Row i's entries move by the i that were put before them; its own goes behind them.
    old = torch.arange(len(col), device=col.device) + rows_of(crow, len(col))
    new = crow[1:].long() + steps[:-1]
    both = torch.cat([old, new])
    order = torch.empty_like(both)
    order[both] = torch.arange(len(both), device=both.device)
    entries = torch.cat([values, values.new_full((count,), value)])[order]
    return csr_of(crow + steps, torch.cat([col, steps[:-1]])[order], entries, (count, count))
