# SPDX-License-Identifier: Apache-2.0
"""The definitions in plain torch: every product is written out, sorted by its entry, and summed one after another.

Each function takes what the operator of its name takes. Sums go in the order of a's columns, so that they have the
kernels' bits; half types are multiplied and summed in float32 and rounded once. Differentiable where operators are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

PLUS_TIMES, OR_AND, MIN_PLUS, MAX_TIMES = range(4)


def zero(semiring: int, dtype: torch.dtype) -> float | int | bool:
    """What an empty sum is."""
    if semiring in (PLUS_TIMES, OR_AND):
        return False if dtype == torch.bool else 0
    if dtype.is_floating_point:
        return math.inf if semiring == MIN_PLUS else -math.inf
    return torch.iinfo(dtype).max if semiring == MIN_PLUS else torch.iinfo(dtype).min


def times(semiring: int, a: Tensor, b: Tensor) -> Tensor:
    """Products."""
    if a.dtype == torch.bool:
        return a & b
    return a + b if semiring == MIN_PLUS else a * b


def wins(semiring: int, product: Tensor, total: Tensor) -> Tensor:
    """Where a product takes the place of the least or largest so far: NaN always does, an equal one never."""
    loses = product >= total if semiring == MIN_PLUS else product <= total
    return ~loses & (total == total)


def plus(semiring: int, total: Tensor, product: Tensor) -> Tensor:
    """Sums."""
    if semiring in (MIN_PLUS, MAX_TIMES):
        return torch.where(wins(semiring, product, total), product, total)
    return total | product if total.dtype == torch.bool else total + product


def wide(x: Tensor) -> Tensor:
    """Half types as float32."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def rows_of(crow: Tensor) -> Tensor:
    """The row of each entry."""
    return torch.repeat_interleave(torch.arange(len(crow) - 1, device=crow.device), crow.long().diff())


def crow_of(rows: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Row pointers of entries whose rows ascend."""
    return torch.cat([rows.new_zeros(1), torch.bincount(rows, minlength=count).cumsum(0)]).to(dtype)


def products(a_crow: Tensor, a_col: Tensor, b_crow: Tensor, b_col: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(row, column, position in a, position in b) of each product, in the order in which they are summed."""
    inner = a_col.long()
    count = b_crow.long().diff()[inner]
    of_a = torch.repeat_interleave(torch.arange(len(inner), device=inner.device), count)
    place = torch.arange(len(of_a), device=inner.device) - (count.cumsum(0) - count)[of_a]
    of_b = b_crow.long()[:-1][inner][of_a] + place
    return rows_of(a_crow)[of_a], b_col.long()[of_b], of_a, of_b


def _keys(rows: Tensor, col: Tensor, columns: int) -> Tensor:
    return rows * max(columns, 1) + col


def _pattern_keys(crow: Tensor, col: Tensor, columns: int) -> Tensor:
    return _keys(rows_of(crow), col.long(), columns)


def inspect(crow: Tensor, col: Tensor, columns: int) -> Tensor:
    """int64 [3]: (first broken row pointer, first column out of range, whether some row does not ascend)."""
    pointers, entries = crow.tolist(), len(col)
    for place, pointer in enumerate(pointers):
        first, last = place == 0, place == len(pointers) - 1
        if (first and pointer != 0) or (place and pointer < pointers[place - 1]) or (last and pointer != entries):
            return torch.tensor([place, -1, 0])
    wrong = ((col < 0) | (col >= columns)).nonzero()
    rows = rows_of(crow)
    unsorted = ((col[1:] <= col[:-1]) & (rows[1:] == rows[:-1])).any()
    return torch.tensor([-1, int(wrong[0]) if len(wrong) else -1, int(unsorted)])


def pattern(
    a_crow: Tensor,
    a_col: Tensor,
    b_crow: Tensor,
    b_col: Tensor,
    columns: int,
    exclude_crow: Tensor | None = None,
    exclude_col: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Row pointers and columns of a·b, without the excluded entries."""
    rows, col, _, _ = products(a_crow, a_col, b_crow, b_col)
    keys = _keys(rows, col, columns).unique()
    if exclude_crow is not None and exclude_col is not None:
        keys = keys[~torch.isin(keys, _pattern_keys(exclude_crow, exclude_col, columns))]
    return _split(keys, len(a_crow) - 1, columns, a_crow.dtype)


def _split(keys: Tensor, rows: int, columns: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return crow_of(keys // max(columns, 1), rows, dtype), (keys % max(columns, 1)).to(dtype)


def masked_pattern(
    a_crow: Tensor, a_col: Tensor, b_crow: Tensor, b_col: Tensor, columns: int, mask_crow: Tensor, mask_col: Tensor
) -> tuple[Tensor, Tensor]:
    """Row pointers and columns of the entries of a·b that the mask has too."""
    rows, col, _, _ = products(a_crow, a_col, b_crow, b_col)
    keys = _keys(rows, col, columns).unique()
    keys = keys[torch.isin(keys, _pattern_keys(mask_crow, mask_col, columns))]
    return _split(keys, len(a_crow) - 1, columns, a_crow.dtype)


def _placed(
    a_crow: Tensor, a_col: Tensor, b_crow: Tensor, b_col: Tensor, crow: Tensor, col: Tensor, columns: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(entry of the pattern, position in a, position in b) of the products that fall on it, by entry, then in order."""
    rows, wanted, of_a, of_b = products(a_crow, a_col, b_crow, b_col)
    # Columns of -1 are no entries; others of a row ascend, so that keys ascend without them.
    real = (col >= 0).nonzero().squeeze(1)
    keys = _pattern_keys(crow, col, columns)[real]
    found = _keys(rows, wanted, columns)
    place = torch.searchsorted(keys, found)
    hit = place < len(keys)
    hit = hit & (keys[place.clamp(max=max(len(keys) - 1, 0))] == found) if len(keys) else hit
    entry, order = torch.sort(real[place[hit]], stable=True)
    return entry, of_a[hit][order], of_b[hit][order]


def _ranks(entry: Tensor) -> list[Tensor]:
    """Places of the first product of each entry, of the second, and so on."""
    if not len(entry):
        return []
    places = torch.arange(len(entry), device=entry.device)
    first = torch.ones_like(entry, dtype=torch.bool)
    first[1:] = entry[1:] != entry[:-1]
    rank = places - torch.where(first, places, 0).cummax(0).values
    return [(rank == number).nonzero().squeeze(1) for number in range(int(rank.max()) + 1)]


def numeric(
    a_crow: Tensor,
    a_col: Tensor,
    a_values: Tensor,
    b_crow: Tensor,
    b_col: Tensor,
    b_values: Tensor,
    crow: Tensor,
    col: Tensor,
    columns: int,
    semiring: int = PLUS_TIMES,
    covers: bool = False,
) -> Tensor:
    """Values of a·b on a pattern."""
    entry, of_a, of_b = _placed(a_crow, a_col, b_crow, b_col, crow, col, columns)
    every = times(semiring, wide(a_values)[of_a], wide(b_values)[of_b])
    total = every.new_full((len(col),), zero(semiring, every.dtype))
    for places in _ranks(entry):
        total = total.index_put((entry[places],), plus(semiring, total[entry[places]], every[places]))
    return total.to(a_values.dtype)


def matmul(
    a_crow: Tensor,
    a_col: Tensor,
    a_values: Tensor,
    b_crow: Tensor,
    b_col: Tensor,
    b_values: Tensor,
    columns: int,
    semiring: int = PLUS_TIMES,
    exclude_crow: Tensor | None = None,
    exclude_col: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(row pointers, columns, values) of a·b, without the excluded entries."""
    crow, col = pattern(a_crow, a_col, b_crow, b_col, columns, exclude_crow, exclude_col)
    return crow, col, numeric(a_crow, a_col, a_values, b_crow, b_col, b_values, crow, col, columns, semiring)


def masked(
    a_crow: Tensor,
    a_col: Tensor,
    a_values: Tensor,
    b_crow: Tensor,
    b_col: Tensor,
    b_values: Tensor,
    columns: int,
    semiring: int,
    mask_crow: Tensor,
    mask_col: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """(row pointers, columns, values) of the entries of a·b that the mask has too."""
    crow, col = masked_pattern(a_crow, a_col, b_crow, b_col, columns, mask_crow, mask_col)
    return crow, col, numeric(a_crow, a_col, a_values, b_crow, b_col, b_values, crow, col, columns, semiring)


def gradients(
    gradient: Tensor,
    a_crow: Tensor,
    a_col: Tensor,
    a_values: Tensor,
    b_crow: Tensor,
    b_col: Tensor,
    b_values: Tensor,
    crow: Tensor,
    col: Tensor,
    columns: int,
    of_a: bool = True,
    of_b: bool = True,
) -> tuple[Tensor, Tensor]:
    """Derivatives to the values of a and b; the order of these sums is not the kernels'."""
    entry, from_a, from_b = _placed(a_crow, a_col, b_crow, b_col, crow, col, columns)
    g, a, b = wide(gradient)[entry], wide(a_values), wide(b_values)
    to_a = torch.zeros_like(a).index_add(0, from_a, g * b[from_b]) if of_a else a.new_zeros(0)
    to_b = torch.zeros_like(b).index_add(0, from_b, g * a[from_a]) if of_b else b.new_zeros(0)
    return to_a.to(a_values.dtype), to_b.to(b_values.dtype)


def winners(
    a_crow: Tensor,
    a_col: Tensor,
    a_values: Tensor,
    b_crow: Tensor,
    b_col: Tensor,
    b_values: Tensor,
    crow: Tensor,
    col: Tensor,
    columns: int,
    semiring: int,
) -> tuple[Tensor, Tensor]:
    """Positions in a and b of the product that each entry is, -1 where no product falls."""
    entry, from_a, from_b = _placed(a_crow, a_col, b_crow, b_col, crow, col, columns)
    every = times(semiring, wide(a_values)[from_a], wide(b_values)[from_b]).detach()
    total = every.new_full((len(col),), zero(semiring, every.dtype))
    best = torch.full((len(col),), -1, device=col.device)
    for places in _ranks(entry):
        where = entry[places]
        # The first product is in even where it equals an empty sum.
        better = wins(semiring, every[places], total[where]) | (best[where] < 0)
        best[where] = torch.where(better, places, best[where])
        total[where] = torch.where(better, every[places], total[where])
    none = best < 0
    if not len(entry):
        return best, best.clone()
    return from_a[best].masked_fill(none, -1), from_b[best].masked_fill(none, -1)


def topk(
    a_crow: Tensor,
    a_col: Tensor,
    a_values: Tensor,
    b_crow: Tensor,
    b_col: Tensor,
    b_values: Tensor,
    columns: int,
    k: int,
) -> tuple[Tensor, Tensor]:
    """Values and columns [rows, k] of the largest entries of each row: by value, then by column, NaN last."""
    crow, col, values = matmul(a_crow, a_col, a_values, b_crow, b_col, b_values, columns)
    found, where = [], []
    for begin, end in zip(crow[:-1].tolist(), crow[1:].tolist(), strict=True):
        row = values[begin:end]
        ranks = torch.where(row.isnan(), -math.inf, row.detach())
        order = torch.sort(ranks, descending=True, stable=True).indices
        order = order[torch.sort(row.detach().isnan()[order].byte(), stable=True).indices][:k]
        lack = k - len(order)
        found.append(torch.cat([row[order], row.new_full((lack,), -math.inf)]))
        where.append(torch.cat([col[begin:end][order].long(), order.new_full((lack,), -1)]))
    if not found:
        return values.new_zeros(0, k), col.new_zeros(0, k, dtype=torch.int64)
    return torch.stack(found), torch.stack(where)
