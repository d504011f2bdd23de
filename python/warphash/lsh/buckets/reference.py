# SPDX-License-Identifier: Apache-2.0
"""The definitions in plain torch: stable sort, look-ups, sums by bucket."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def bucket_sort(codes: Tensor, num_buckets: int) -> tuple[Tensor, Tensor, Tensor]:
    """(order, inverse, offsets) of codes [..., N]."""
    order = torch.sort(codes.long(), dim=-1, stable=True).indices
    places = torch.arange(codes.shape[-1], device=codes.device).expand_as(order)
    inverse = torch.empty_like(order).scatter_(-1, order, places)
    counts = torch.zeros(*codes.shape[:-1], num_buckets + 1, dtype=torch.int64, device=codes.device)
    counts.scatter_add_(-1, codes.long() + 1, torch.ones_like(order))
    return order, inverse, counts.cumsum(-1)


def bucket_query(order: Tensor, offsets: Tensor, query_codes: Tensor) -> tuple[Tensor, Tensor]:
    """(offsets [Q + 1], candidates) of order [T, N], offsets [T, K + 1], query_codes [T, Q]."""
    found = []
    for codes in query_codes.T.tolist():
        runs = [
            row[int(start[code]) : int(start[code + 1])] for row, start, code in zip(order, offsets, codes, strict=True)
        ]
        found.append(torch.cat([*runs, order.new_empty(0)]).unique())
    counts = torch.tensor([0, *map(len, found)], device=order.device)
    return counts.cumsum(0), torch.cat([*found, order.new_empty(0)])


def sort_lsh(x: Tensor, planes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Buckets of the signs of x · planes, by their rank in Gray order; sums in float64."""
    bits = planes.shape[1]
    signs = x.double() @ planes.double() >= 0
    codes = (signs * 2 ** torch.arange(bits)).sum(-1)
    ranks = codes.clone()
    for shift in range(1, bits):
        ranks ^= codes >> shift
    return bucket_sort(ranks, 1 << bits)


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def bucket_sum(values: Tensor, codes: Tensor, num_buckets: int) -> Tensor:
    """Sums [..., num_buckets, d] of values [..., N, d] by codes [..., N], in the order of the items."""
    leading = torch.broadcast_shapes(values.shape[:-2], codes.shape[:-1])
    count, width = values.shape[-2:]
    batch = math.prod(leading)
    rows = _wide(values).expand(*leading, count, width).reshape(batch, count, width)
    named = codes.long().expand(*leading, count).reshape(batch, count)
    sums = []
    for row, code in zip(rows, named, strict=True):
        kept = code >= 0
        sums.append(row.new_zeros(num_buckets, width).index_add(0, code[kept], row[kept]))
    stacked = torch.stack(sums) if sums else rows.new_zeros(0, num_buckets, width)
    return stacked.reshape(*leading, num_buckets, width).to(values.dtype)


def bucket_gather_mean(table: Tensor, codes: Tensor) -> Tensor:
    """Means [..., C, d] over tables of the rows of table [..., H, K, d] that codes [..., H, C] name."""
    wide = _wide(table)
    tables, width = table.shape[-3], table.shape[-1]
    leading = torch.broadcast_shapes(table.shape[:-3], codes.shape[:-2])
    wide = wide.expand(*leading, *wide.shape[-3:])
    named = codes.long().expand(*leading, *codes.shape[-2:])
    total = wide.new_zeros(*leading, codes.shape[-1], width)
    for number in range(tables):
        code = named[..., number, :].unsqueeze(-1).expand(*leading, codes.shape[-1], width)
        if wide.shape[-2] == 0:
            continue
        total = total + torch.where(code >= 0, wide[..., number, :, :].gather(-2, code.clamp(min=0)), 0.0)
    return total.to(table.dtype) / max(tables, 1)
