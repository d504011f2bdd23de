# SPDX-License-Identifier: Apache-2.0
"""Near-duplicates among binary codes, by Hamming distance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import _checks, lsh
from ..interop import as_tensor, like
from ..retrieval import HammingIndex
from .groups import Groups, in_order

__all__ = ["VectorDeduplication", "deduplicate_vectors"]

SELECTIONS = ("components", "greedy")
_QUERIES = 1 << 12


@dataclass(frozen=True)
class VectorDeduplication:
    """The near-duplicates among codes 0 ... N - 1, arrays of the codes' kind."""

    keep: Any
    """int64 [K]: the first code of each cluster, ascending."""
    labels: Any
    """int64 [N]: the smallest member of each code's cluster, the connected components of ``pairs``."""
    pairs: Any
    """int64 [P, 2]: i < j, distinct and sorted; codes of one group within the radius."""
    all_pairs: bool
    """Whether ``pairs`` lists all such pairs, or as many as join the clusters."""


def deduplicate_vectors(
    codes: Any, *, radius: int, groups: Any = None, select: str = "components", max_pairs: int = 2**24
) -> VectorDeduplication:
    """Finds codes within a Hamming radius of each other and keeps the first of each cluster.

    Args:
        codes: uint8 ``[N, bytes]``, as :func:`warphash.hamming.pack` or :func:`warphash.data.dhash` make them.
        radius: the largest distance of near-duplicates, in bits.
        groups: int ``[N]``: codes of different groups (volumes, patients, users) are never near-duplicates; None: one.
        select: what a cluster is:

            - ``"components"``: a connected component of the pairs within the radius. Clusters do not depend on the
              order of codes; members of a large one may be farther than the radius from the kept code.
            - ``"greedy"``: take the first code that is left, delete all within the radius of it, and so on: exactly
              what that loop does one by one, in the order of codes. Kept codes are farther than the radius from each
              other, every other one is within it of the kept code that is its label, and ``pairs`` are these two.
        max_pairs: where codes have more pairs within the radius, ``pairs`` lists only as many as join the clusters.

    Returns:
        :class:`VectorDeduplication` with ``keep``, ``labels`` and ``pairs``.

    Raises:
        TypeError, ValueError: ``codes`` are no packed codes, ``groups`` are no integers [N], ``radius`` is negative,
            ``select`` is another word.

    Complexity: that of :class:`warphash.retrieval.HammingIndex` with the method multi_index in each group, exact; equal
    codes are one item. Memory: 16 bytes a pair within the radius, at most about twice max_pairs and the pairs of 4096
    codes.

    Source of greedy selection by perceptual hashes: "Less is More: Selective reduction of CT data for self-supervised
    pre-training of deep learning models", Computers in Biology and Medicine, 2024.
    """
    packed = _checks.with_data("codes", _checks.codes("codes", codes))
    reach = _checks.count("radius", radius)
    most = _checks.count("max_pairs", max_pairs)
    if select not in SELECTIONS:
        raise ValueError(f"select must be one of {', '.join(SELECTIONS)}, got {select!r}")
    of_group = _group_numbers(groups, len(packed))
    same, distinct_groups = _identical(packed.cpu(), of_group)
    distinct = packed[same.firsts.to(packed.device)]
    if select == "greedy":
        # A copy of a code that is deleted belongs to the kept code itself.
        joined = same.chained_pairs(same.firsts[_greedy(distinct, distinct_groups, reach)])
        labels = lsh.connected_components(joined, len(packed))
        others = (labels != torch.arange(len(packed), device="cpu")).nonzero().squeeze(1)
        pairs, complete = torch.stack([labels[others], others], 1), False
        pairs = in_order(pairs, len(packed))
    else:
        near, complete = _joined(distinct, distinct_groups, reach, most)
        near = same.firsts[near]
        complete = complete and same.pair_count(near) <= most
        pairs = same.all_pairs(near) if complete else same.chained_pairs(near)
    labels = lsh.connected_components(pairs, len(packed))
    keep = (labels == torch.arange(len(packed), device="cpu")).nonzero().squeeze(1)
    keep, labels, pairs = (like(codes, x.to(packed.device)) for x in (keep, labels, pairs))
    return VectorDeduplication(keep, labels, pairs, complete)


def _group_numbers(groups: Any, count: int) -> Tensor:
    """int64 [count], 0, 1, … by group."""
    if groups is None:
        return torch.zeros(count, dtype=torch.int64, device="cpu")
    if isinstance(groups, list | tuple | range):
        try:
            groups = np.asarray(groups) if len(groups) else np.empty(0, np.int64)
        except ValueError as error:  # lists of several lengths
            raise ValueError(f"groups must have one number for each of {count} codes: {error}") from None
    numbers = _checks.with_data("groups", _checks.dense("groups", as_tensor(groups, "groups")))
    if numbers.dtype.is_floating_point or numbers.dtype.is_complex or numbers.dtype == torch.bool:
        raise TypeError(f"groups must be integers, got {numbers.dtype}")
    if numbers.shape != (count,):
        raise ValueError(f"groups must have one number for each of {count} codes, got shape {tuple(numbers.shape)}")
    which: Tensor = numbers.cpu().long().unique(return_inverse=True)[1]
    return which


def _identical(codes: Tensor, of_group: Tensor) -> tuple[Groups, Tensor]:
    """Equal codes of a group as one, and the group of each distinct one."""
    count = len(codes)
    rows = torch.cat([of_group.reshape(-1, 1).view(torch.uint8).reshape(count, 8), codes], 1)
    which = rows.unique(dim=0, return_inverse=True)[1] if count else of_group
    numbers = torch.arange(count, device="cpu")
    first = torch.full((count,), count, device="cpu").scatter_reduce_(0, which, numbers, "amin")
    same = Groups(first[which], torch.ones(count, dtype=torch.bool, device="cpu"))
    return same, of_group[same.firsts]


def _neighbours(codes: Tensor, of_group: Tensor, radius: int) -> Iterator[Tensor]:
    """Pairs [P, 2] of codes of one group within the radius, i < j, in ascending order of i within a group."""
    order = torch.argsort(of_group, stable=True)
    for members in order.split(torch.bincount(of_group).tolist()):
        if len(members) < 2:
            continue
        index = HammingIndex(8 * codes.shape[1], method="multi_index")
        index.add(codes[members.to(codes.device)])
        for begin in range(0, len(members), _QUERIES):
            offsets, _, found = index.range_search(index.codes[begin : begin + _QUERIES], radius)
            queries: Tensor = torch.repeat_interleave(offsets.cpu().diff()) + begin
            found = found.cpu()
            later = found > queries
            yield torch.stack([members[queries[later]], members[found[later]]], 1)


def _joined(codes: Tensor, of_group: Tensor, radius: int, most: int) -> tuple[Tensor, bool]:
    """(pairs within the radius, whether these are all): beyond ``most`` those of a spanning forest alone."""
    parts: list[Tensor] = [torch.empty(0, 2, dtype=torch.int64, device="cpu")]
    complete = True
    for pairs in _neighbours(codes, of_group, radius) if codes.shape[1] else ():
        parts.append(pairs)
        if sum(map(len, parts)) > most:
            complete = False
            parts = [_spanning_forest(torch.cat(parts), len(codes))]
    return torch.cat(parts), complete


def _spanning_forest(pairs: Tensor, count: int) -> Tensor:
    """A subset of pairs that has the same components and no cycle, by Borůvka's rounds."""
    labels = torch.arange(count, device="cpu")
    chosen: list[Tensor] = [pairs[:0]]
    while len(pairs := pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]):
        # The first pair that leads out of each component; pairs are in one order, so no cycle closes.
        number = torch.arange(len(pairs), device="cpu")
        first = torch.full((count,), len(pairs), device="cpu")
        for side in labels[pairs].unbind(1):
            first.scatter_reduce_(0, side, number, "amin")
        chosen.append(pairs[first[first < len(pairs)].unique()])
        labels = lsh.connected_components(torch.cat(chosen), count)
    return torch.cat(chosen)


def _greedy(codes: Tensor, of_group: Tensor, radius: int) -> Tensor:
    """Pairs (kept code, a code that it deletes)."""
    exemplar = np.arange(len(codes))
    for pairs in _neighbours(codes, of_group, radius) if codes.shape[1] else ():
        queries, counts = pairs[:, 0].unique_consecutive(return_counts=True)
        for query, found in zip(queries.tolist(), pairs[:, 1].split(counts.tolist()), strict=True):
            if exemplar[query] == query:
                left = found.numpy()
                left = left[exemplar[left] == left]
                exemplar[left] = query
    deleted = np.flatnonzero(exemplar != np.arange(len(codes)))
    return torch.from_numpy(np.stack([exemplar[deleted], deleted], 1))
