# SPDX-License-Identifier: Apache-2.0
"""The definitions of Hamming search in plain torch: the oracle of the tests, slow and with Q x N memory."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["asymmetric_topk", "cdist", "histogram", "jaccard_topk", "pack", "range_search", "topk", "unpack"]


def pack(x: Tensor, threshold: float = 0.0) -> Tensor:
    """Bits ``x >= threshold`` as bytes, the lowest bit first."""
    if x.dtype == torch.bool:
        bits = x
    elif x.dtype.is_floating_point:
        first = torch.float32 if x.dtype.itemsize < 4 else x.dtype
        bits = x >= torch.tensor(threshold, dtype=torch.float64).to(first).to(x.dtype)
    else:
        bits = torch.tensor([int(v) >= threshold for v in x.reshape(-1).tolist()], dtype=torch.bool).reshape(x.shape)
    padded = torch.nn.functional.pad(bits.to(torch.uint8), (0, -x.shape[-1] % 8))
    weights = 2 ** torch.arange(8, dtype=torch.int32)
    grouped = padded.reshape(*x.shape[:-1], padded.shape[-1] // 8, 8).to(torch.int32)
    return (grouped * weights).sum(-1).to(torch.uint8)


def unpack(codes: Tensor, bits: int) -> Tensor:
    """The first ``bits`` bits of each code."""
    spread = codes.unsqueeze(-1).to(torch.int32) >> torch.arange(8, dtype=torch.int32)
    return (spread & 1).bool().flatten(-2)[..., :bits]


def _bits(codes: Tensor) -> Tensor:
    return unpack(codes, 8 * codes.shape[-1]).to(torch.float64)


def cdist(a: Tensor, b: Tensor) -> Tensor:
    """Numbers of differing bits."""
    x, y = _bits(a), _bits(b)
    return (x.sum(1)[:, None] + y.sum(1)[None] - 2 * x @ y.T).round().to(torch.int32)


def _admitted(mask: Tensor | None, queries: int, codes: int) -> Tensor:
    return torch.ones(queries, codes, dtype=torch.bool) if mask is None else mask.expand(queries, codes)


def _ranked(costs: Tensor, mask: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
    """Positions of the k smallest costs of each row, ties by index, and which of them exist."""
    queries, codes = costs.shape
    admitted = _admitted(mask, queries, codes)
    costs = torch.where(admitted, costs.to(torch.float64), torch.inf)
    order = torch.argsort(costs, dim=1, stable=True)
    # Codes that are not admitted come last; those of infinite cost that are, before them.
    order = order.gather(1, torch.argsort((~admitted).gather(1, order).to(torch.int8), dim=1, stable=True))[:, :k]
    order = torch.nn.functional.pad(order, (0, k - order.shape[1]), value=0)
    exists = torch.arange(k)[None] < admitted.sum(1, keepdim=True)
    return order, exists


def topk(queries: Tensor, database: Tensor, k: int, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The k nearest codes by (distance, index)."""
    distances = cdist(queries, database)
    if database.shape[0] == 0:
        empty = torch.full((queries.shape[0], k), -1)
        return torch.full_like(empty, 2**31 - 1, dtype=torch.int32), empty
    order, exists = _ranked(distances, mask, k)
    found = distances.gather(1, order)
    return torch.where(exists, found, 2**31 - 1).to(torch.int32), torch.where(exists, order, -1)


def range_search(
    queries: Tensor, database: Tensor, radius: int, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """All codes within the radius, by (distance, index) in each row."""
    distances = cdist(queries, database)
    near = (distances <= radius) & _admitted(mask, *distances.shape)
    offsets = torch.nn.functional.pad(near.sum(1).cumsum(0), (1, 0))
    found, indices = [], []
    for row, inside in zip(distances, near, strict=True):
        at = inside.nonzero().squeeze(1)
        at = at[torch.argsort(row[at], stable=True)]
        indices.append(at)
        found.append(row[at])
    nothing = torch.zeros(0, dtype=torch.int64)
    return offsets, torch.cat([nothing.to(torch.int32), *found]), torch.cat([nothing, *indices])


def histogram(queries: Tensor, database: Tensor, mask: Tensor | None = None) -> Tensor:
    """Counts of codes at each distance."""
    distances = cdist(queries, database).long()
    counts = torch.zeros(queries.shape[0], 8 * queries.shape[1] + 1, dtype=torch.int64)
    return counts.scatter_add_(1, distances, _admitted(mask, *distances.shape).long())


def asymmetric_topk(queries: Tensor, database: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Scores in float32, summed by nibbles in order, largest first."""
    signs = 2 * unpack(database, 8 * database.shape[1]).to(torch.float32) - 1
    wide = torch.nn.functional.pad(queries.to(torch.float32), (0, signs.shape[1] - queries.shape[1]))
    scores = torch.zeros(queries.shape[0], database.shape[0])
    for first in range(0, signs.shape[1], 4):
        part = wide[:, first, None] * signs[None, :, first]
        for j in range(first + 1, first + 4):
            part = part + wide[:, j, None] * signs[None, :, j]
        scores = scores + part
    return _best(scores + 0.0, None, k)


def _best(scores: Tensor, mask: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
    if scores.shape[1] == 0:
        empty = torch.full((scores.shape[0], k), -1)
        return torch.full_like(empty, -torch.inf, dtype=torch.float32), empty
    order, exists = _ranked(-scores.to(torch.float64), mask, k)
    return torch.where(exists, scores.gather(1, order), -torch.inf), torch.where(exists, order, -1)


def jaccard_topk(queries: Tensor, database: Tensor, k: int, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Intersection over union of the set bits, largest first."""
    x, y = _bits(queries), _bits(database)
    both = x @ y.T
    united = x.sum(1)[:, None] + y.sum(1)[None] - both
    similarities = torch.where(united == 0, 1.0, both.float() / united.clamp(min=1).float())
    return _best(similarities, mask, k)
