# SPDX-License-Identifier: Apache-2.0
"""Tables of band keys that grow: sorted runs, of which those of like size are merged."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .groups import counted

_MOST_MET = 1 << 22  # (query, row) pairs of a step, equal ones of several bands counted each


class _Run:
    """Rows first ... first + n - 1, sorted by key in each band."""

    def __init__(self, first: int, keys: Tensor) -> None:
        self.first = first
        self.keys, order = keys.T.contiguous().sort(dim=1)
        self.order = order.to(torch.int32)

    def __len__(self) -> int:
        return self.keys.shape[1]

    def unsorted(self) -> Tensor:
        """Keys int64 [n, bands], row by row."""
        rows = torch.empty_like(self.keys)
        rows.scatter_(1, self.order.long(), self.keys)
        return rows.T


class Runs:
    """Band keys of rows 0, 1, 2, … in runs whose sizes fall by half at least, so that there are at most log2(rows).

    A row is sorted anew O(log rows) times in all. Memory: 12 bytes a key.
    """

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def append(self, keys: Tensor) -> None:
        """Adds rows int64 [n, bands] of keys; -1 is never found."""
        while self._runs and len(self._runs[-1]) < 2 * len(keys):
            keys = torch.cat([self._runs.pop().unsorted(), keys])
        if len(keys):
            self._runs.append(_Run(len(self), keys))

    def meeting(self, keys: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs (query, row), int64 [C] each, distinct and sorted, that have an equal key in a band.

        They come for some queries at a time. keys: int64 [Q, bands] of queries.
        """
        if not self._runs or not len(keys):
            return
        columns = keys.T.contiguous()
        begins = [torch.searchsorted(run.keys, columns) for run in self._runs]
        sizes = [
            (torch.searchsorted(run.keys, columns, right=True) - begin) * (columns >= 0)
            for run, begin in zip(self._runs, begins, strict=True)
        ]
        met = torch.stack([size.sum(0) for size in sizes]).sum(0).cumsum(0)
        start = 0
        while start < len(keys):
            before = int(met[start - 1]) if start else 0
            end = max(int(torch.searchsorted(met, before + _MOST_MET, right=True)), start + 1)
            found = [
                self._pairs(run, begin[:, start:end], size[:, start:end], start)
                for run, begin, size in zip(self._runs, begins, sizes, strict=True)
            ]
            codes = torch.cat(found).unique()
            yield codes // len(self), codes % len(self)
            start = end

    def _pairs(self, run: _Run, begins: Tensor, sizes: Tensor, start: int) -> Tensor:
        flat = sizes.reshape(-1)
        filled = flat.nonzero().squeeze(1)
        flat = flat[filled]
        bands, queries = filled // sizes.shape[1], filled % sizes.shape[1] + start
        places = torch.repeat_interleave(begins.reshape(-1)[filled], flat) + counted(flat)
        rows = run.order[torch.repeat_interleave(bands, flat), places].long() + run.first
        return torch.repeat_interleave(queries, flat) * len(self) + rows
