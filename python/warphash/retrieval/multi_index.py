# SPDX-License-Identifier: Apache-2.0
"""The tables of exact multi-index hashing, and the rules by which a search uses them or scans instead."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .. import _C, hamming

# Below this many codes a scan is always faster than the tables.
SMALLEST = 1 << 14
LARGEST = 2**31 - 1
# Codes added since the tables were made are compared one by one, up to this share of all; then come new tables.
REST_SHARE = 1 / 32
WIDEST_SUBSTRING = 30

# What scanning one 64-bit word of a code costs, as a share of the cost of one candidate fetched through the tables
# (measured: docs/retrieval.md), for up to FEW queries, where a scan is bound by memory, and for more.
FEW = 7
_SCAN_COST = {"scalar": (0.6, 0.2), "avx2": (0.07, 0.012), "avx512": (0.02, 0.006), "amx": (0.02, 0.004)}
# A search for the k nearest may find late that it is too dear, so it may cost half a scan before it gives up; of many
# queries, this number shows whether the rest is worth trying.
GIVE_UP_SHARE = 0.5
SAMPLE = 32


def scan_cost(queries: int) -> float:
    """The share above, on this machine."""
    few, many = _SCAN_COST[_C.cpu_features()["isa"]]
    return few if queries <= FEW else many


def choose_substrings(bits: int, count: int) -> int:
    """How many substrings: so many that a bucket holds two codes or more, were the codes spread evenly."""
    return min(bits, math.ceil(bits / min(WIDEST_SUBSTRING, max(1.0, math.log2(max(2, count)) - 1))))


class MultiIndexTables:
    """Tables over the first ``self.count`` codes of a growing database on the CPU."""

    def __init__(self, codes: Tensor, bits: int) -> None:
        self.bits = bits
        self.count = codes.shape[0]
        self.offsets, self.ids = torch.ops.warphash.hamming_multi_index_build(
            codes, bits, choose_substrings(bits, self.count)
        )

    def fits(self, count: int) -> bool:
        """Whether a database grown to ``count`` codes may still be searched with these tables."""
        return count - self.count <= max(SMALLEST // 8, int(count * REST_SHARE))

    def nbytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in (self.offsets, self.ids))

    def topk(self, queries: Tensor, codes: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """As hamming.topk(queries, codes, k) with k <= len(codes)."""
        budget = GIVE_UP_SHARE * self._scan_cost(queries, codes)
        distances = queries.new_empty(queries.shape[0], k, dtype=torch.int32)
        indices = queries.new_empty(queries.shape[0], k, dtype=torch.int64)

        def probe(begin: int, end: int) -> Tensor:
            distances[begin:end], indices[begin:end], finished = torch.ops.warphash.hamming_multi_index_topk(
                queries[begin:end], codes, self.offsets, self.ids, self.bits, k, budget
            )
            return torch.nonzero(~finished).flatten() + begin

        left = self._probe_in_two_steps(queries.shape[0], probe)
        if left.numel():
            distances[left], indices[left] = hamming.topk(queries[left], codes, k)
        return distances, indices

    def range_search(self, queries: Tensor, codes: Tensor, radius: int) -> tuple[Tensor, Tensor, Tensor]:
        """As hamming.range_search(queries, codes, radius)."""
        offsets, distances, indices, finished = torch.ops.warphash.hamming_multi_index_range(
            queries, codes, self.offsets, self.ids, self.bits, radius, self._scan_cost(queries, codes)
        )
        left = torch.nonzero(~finished).flatten()
        if not left.numel():
            return offsets, distances, indices
        scanned = hamming.range_search(queries[left], codes, radius)
        if left.numel() == queries.shape[0]:
            return scanned
        return _merge_rows(left, scanned, (offsets, distances, indices))

    def _scan_cost(self, queries: Tensor, codes: Tensor) -> float:
        """What the scan of a query costs, in candidates: these cost their cache misses, whatever their width."""
        return codes.shape[0] * max(1.0, codes.shape[1] / 8) * scan_cost(queries.shape[0])

    @staticmethod
    def _probe_in_two_steps(count: int, probe: Callable[[int, int], Tensor]) -> Tensor:
        """Probes a few queries first: where most of them give up, the rest goes to the scan at once."""
        first = min(count, SAMPLE)
        left = probe(0, first)
        if first == count:
            return left
        if 2 * left.numel() > first:
            return torch.cat([left, torch.arange(first, count, device=left.device)])
        return torch.cat([left, probe(first, count)])


def _merge_rows(
    left: Tensor, scanned: tuple[Tensor, Tensor, Tensor], probed: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows ``left`` of scanned put in the place of those (empty) rows of probed."""
    lengths = probed[0].diff()
    lengths[left] = scanned[0].diff()
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    from_scan = lengths.new_zeros(lengths.shape[0], dtype=torch.bool)
    from_scan[left] = True
    here = from_scan.repeat_interleave(lengths)
    distances = lengths.new_empty(here.shape[0], dtype=torch.int32)
    indices = lengths.new_empty(here.shape[0])
    for place, part in ((here, scanned), (~here, probed)):
        distances[place] = part[1]
        indices[place] = part[2]
    return offsets, distances, indices
