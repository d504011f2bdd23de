# SPDX-License-Identifier: Apache-2.0
"""Rows of (ids, weights), as encoders and tokenizers give them, to CSR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .. import _checks
from ..interop import as_tensor
from ..spgemm import csr


def sparse_rows(ids: Sequence[Any], weights: Sequence[Any] | None, columns: int, *, dtype: Any = None) -> Tensor:
    """A CSR tensor of rows that are given as the columns of their entries and their weights.

    Args:
        ids: for each row a list, array or 1-D tensor of integers in [0, columns), in any order.
        weights: for each row as many numbers as it has ids; None: every id weighs 1. Weights of one id are added up.
        columns: of the result; the size of the vocabulary.
        dtype: floating, of the values; None: that of the weights where they are floating tensors or arrays of one
            dtype, else float32.

    Returns:
        ``torch.sparse_csr`` ``[len(ids), columns]`` with int64 indices that ascend in each row, on the CPU or on the
        device of the first row that is a tensor. Without gradient.

    Raises:
        TypeError: rows are no sequences of numbers, or ids are no integers.
        ValueError: there are not as many weights as ids, in all or in a row.
        IndexError: an id is outside of the columns.

    Complexity: O(entries log entries). Memory: some 40 bytes an entry.
    """
    columns = _checks.count("columns", columns)
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise TypeError(f"dtype must be a floating torch.dtype, got {dtype}")
    given = _parts("ids", ids, torch.int64)
    for row, part in enumerate(given):
        if part.is_floating_point() or part.is_complex() or part.dtype == torch.bool:
            raise TypeError(f"ids[{row}] must be integers, got {part.dtype}")
    numbers = None if weights is None else _parts("weights", weights, torch.float32)
    if numbers is not None and len(numbers) != len(given):
        raise ValueError(f"weights must have as many rows as ids, {len(given)}, got {len(numbers)}")
    for row, (part, of_row) in enumerate(zip(given, numbers or [], strict=False)):
        if of_row.is_complex():
            raise TypeError(f"weights[{row}] must be real numbers, got {of_row.dtype}")
        if len(part) != len(of_row):
            raise ValueError(f"weights[{row}] must have {len(part)} numbers, as ids[{row}] has, got {len(of_row)}")
    device = next((x.device for x in ids if isinstance(x, Tensor)), torch.device("cpu"))
    kinds = {part.dtype for part in numbers or []}
    if dtype is None:
        dtype = kinds.pop() if len(kinds) == 1 and next(iter(kinds)).is_floating_point else torch.float32
    counts = torch.tensor([0, *(len(part) for part in given)], device=device)
    col = _joined(given, torch.int64, device)
    _checks.within("ids must be", col, columns)
    crow = counts.cumsum(0)
    values = torch.ones(len(col), dtype=dtype, device=device) if numbers is None else _joined(numbers, dtype, device)
    rows = csr.build(crow, col, values, (len(given), columns))
    pattern = csr.pattern_of("ids", rows, torch.int64, True)
    return csr.build(pattern.crow, pattern.col, pattern.arranged(values, csr.PLUS_TIMES), (len(given), columns))


def _parts(name: str, rows: Any, empty: torch.dtype) -> list[Tensor]:
    if isinstance(rows, str | bytes) or not hasattr(rows, "__len__") or not hasattr(rows, "__iter__"):
        raise TypeError(f"{name} must be a sequence of rows, got {type(rows).__name__}")
    parts = []
    for number, row in enumerate(rows):
        if isinstance(row, list | tuple):
            try:
                part = torch.tensor(row, device="cpu") if len(row) else torch.empty(0, dtype=empty, device="cpu")
            except (TypeError, ValueError, RuntimeError) as error:
                raise TypeError(f"{name}[{number}] must be numbers: {error}") from error
        else:
            part = _checks.dense(f"{name}[{number}]", as_tensor(row, f"{name}[{number}]")).detach()
        if part.dim() != 1:
            raise ValueError(f"{name}[{number}] must be 1-D, got shape {tuple(part.shape)}")
        parts.append(part if len(part) else part.to(empty))
    return parts


def _joined(parts: list[Tensor], dtype: torch.dtype, device: torch.device) -> Tensor:
    if not parts:
        return torch.empty(0, dtype=dtype, device=device)
    return torch.cat([part.to(device, dtype) for part in parts])
