# SPDX-License-Identifier: Apache-2.0
"""The tables of exact multi-index hashing, and the rules by which a search uses them or scans instead."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.library import register_fake

from .. import hamming

# Below this many codes a scan is always faster than the tables.
SMALLEST = 1 << 14
# Codes added since the tables were made are compared one by one, up to this share of all; then come new tables.
REST_SHARE = 1 / 32
WIDEST_SUBSTRING = 32
LARGEST = 2**31 - 1

# What scanning one word of a code costs, as a share of the cost of one candidate fetched through the tables (measured:
# docs/retrieval.md). A scan of many queries reads the database once a block, a scan of few is bound by memory.
SCAN_COST_BATCH = 0.02
SCAN_COST_SINGLE = 0.06
BATCH = 32


def choose_substrings(bits: int, count: int) -> int:
    """How many substrings: bits / log2(count), so that a bucket holds about one code."""
    return min(bits, max(math.ceil(bits / WIDEST_SUBSTRING), round(bits / max(1.0, math.log2(max(2, count))))))


def choose_table_bits(bits: int, substrings: int, count: int) -> int:
    """As wide as a substring, but at most four buckets a code; wider substrings are bisected in their bucket."""
    return max(1, min(math.ceil(bits / substrings), math.ceil(math.log2(max(2, count))) + 2, WIDEST_SUBSTRING - 1))


class MultiIndexTables:
    """Tables over the first ``self.count`` codes of a growing database on the CPU."""

    def __init__(self, codes: Tensor, bits: int) -> None:
        self.bits = bits
        self.count = codes.shape[0]
        substrings = choose_substrings(bits, self.count)
        table_bits = choose_table_bits(bits, substrings, self.count)
        self.offsets, self.ids, self.keys = torch.ops.warphash.hamming_multi_index_build(
            codes, bits, substrings, table_bits
        )

    def fits(self, count: int) -> bool:
        """Whether a database grown to ``count`` codes may still be searched with these tables."""
        return count - self.count <= max(SMALLEST // 8, int(count * REST_SHARE))

    def nbytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in (self.offsets, self.ids, self.keys))

    def topk(self, queries: Tensor, codes: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """As hamming.topk(queries, codes, k) with k <= len(codes)."""
        distances = torch.empty(queries.shape[0], k, dtype=torch.int32)
        indices = torch.empty(queries.shape[0], k, dtype=torch.int64)

        def probe(begin: int, end: int) -> Tensor:
            distances[begin:end], indices[begin:end], finished = torch.ops.warphash.hamming_multi_index_topk(
                queries[begin:end], codes, self.offsets, self.ids, self.keys, self.bits, k, self._budget(queries, codes)
            )
            return torch.nonzero(~finished).flatten() + begin

        left = self._probe_in_two_steps(queries.shape[0], probe)
        if left.numel():
            distances[left], indices[left] = hamming.topk(queries[left], codes, k)
        return distances, indices

    def range_search(self, queries: Tensor, codes: Tensor, radius: int) -> tuple[Tensor, Tensor, Tensor]:
        """As hamming.range_search(queries, codes, radius)."""
        offsets, distances, indices, finished = torch.ops.warphash.hamming_multi_index_range(
            queries, codes, self.offsets, self.ids, self.keys, self.bits, radius, self._budget(queries, codes)
        )
        left = torch.nonzero(~finished).flatten()
        if not left.numel():
            return offsets, distances, indices
        scanned = hamming.range_search(queries[left], codes, radius)
        if left.numel() == queries.shape[0]:
            return scanned
        return _merge_rows(left, scanned, (offsets, distances, indices))

    def _budget(self, queries: Tensor, codes: Tensor) -> float:
        # Wider codes cost the scan in proportion; a candidate's cost is its cache misses, whatever the width.
        words = max(1.0, codes.shape[1] / 8)
        return codes.shape[0] * words * (SCAN_COST_BATCH if queries.shape[0] >= BATCH else SCAN_COST_SINGLE)

    @staticmethod
    def _probe_in_two_steps(count: int, probe: Callable[[int, int], Tensor]) -> Tensor:
        """Probes a few queries first: where most of them give up, the rest goes to the scan at once."""
        first = min(count, BATCH)
        left = probe(0, first)
        if first == count:
            return left
        if 2 * left.numel() > first:
            return torch.cat([left, torch.arange(first, count)])
        return torch.cat([left, probe(first, count)])


def _merge_rows(
    left: Tensor, scanned: tuple[Tensor, Tensor, Tensor], probed: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows ``left`` of scanned put in the place of those (empty) rows of probed."""
    lengths = probed[0].diff()
    lengths[left] = scanned[0].diff()
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    from_scan = torch.zeros(lengths.shape[0], dtype=torch.bool)
    from_scan[left] = True
    here = from_scan.repeat_interleave(lengths)
    distances = torch.empty(here.shape[0], dtype=torch.int32)
    indices = torch.empty(here.shape[0], dtype=torch.int64)
    for place, part in ((here, scanned), (~here, probed)):
        distances[place] = part[1]
        indices[place] = part[2]
    return offsets, distances, indices


# ---- Shapes ---------------------------------------------------------------------------------------------------------
@register_fake("warphash::hamming_multi_index_build")
def _(codes: Tensor, bits: int, substrings: int, table_bits: int) -> tuple[Tensor, Tensor, Tensor]:
    count = codes.shape[0]
    offsets = codes.new_empty((substrings, 2**table_bits + 1), dtype=torch.int32)
    ids = codes.new_empty((substrings, count), dtype=torch.int32)
    has_keys = -(-bits // substrings) > table_bits
    return offsets, ids, codes.new_empty((substrings, count if has_keys else 0), dtype=torch.int32)


@register_fake("warphash::hamming_multi_index_topk")
def _(
    queries: Tensor, codes: Tensor, offsets: Tensor, ids: Tensor, keys: Tensor, bits: int, k: int, budget: float
) -> tuple[Tensor, Tensor, Tensor]:
    shape = (queries.shape[0], k)
    return (
        queries.new_empty(shape, dtype=torch.int32),
        queries.new_empty(shape, dtype=torch.int64),
        queries.new_empty(shape[:1], dtype=torch.bool),
    )


@register_fake("warphash::hamming_multi_index_range")
def _(
    queries: Tensor, codes: Tensor, offsets: Tensor, ids: Tensor, keys: Tensor, bits: int, radius: int, budget: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    found = torch.library.get_ctx().new_dynamic_size()
    return (
        queries.new_empty((queries.shape[0] + 1,), dtype=torch.int64),
        queries.new_empty((found,), dtype=torch.int32),
        queries.new_empty((found,), dtype=torch.int64),
        queries.new_empty((queries.shape[0],), dtype=torch.bool),
    )
