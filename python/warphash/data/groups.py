# SPDX-License-Identifier: Apache-2.0
"""Groups of identical documents as one each, candidate pairs within a bound, and pairs of documents again."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .. import lsh


def sums_of_runs(values: Tensor, begins: Tensor) -> Tensor:
    """int64 [n]: the sum of each run of values, mod 2^64; runs are not empty and follow each other to the end."""
    if not len(begins):
        return torch.empty(0, dtype=torch.int64, device="cpu")
    return torch.from_numpy(np.add.reduceat(values.numpy(), begins.numpy()))


def counted(sizes: Tensor) -> Tensor:
    """0 ... size - 1 for each size, one after the other."""
    begins = torch.cumsum(sizes, 0) - sizes
    return torch.arange(int(sizes.sum()), device="cpu") - torch.repeat_interleave(begins, sizes)


def in_order(pairs: Tensor, documents: int) -> Tensor:
    """Distinct pairs as rows i < j, sorted."""
    codes = pairs.amin(1) * documents + pairs.amax(1)
    codes = codes.unique()
    return torch.stack([codes // max(documents, 1), codes % max(documents, 1)], 1)


class Groups:
    """Documents that stand for each other, by the first one of each group.

    Args:
        first_of: int64 ``[N]``: the smallest document of each one's group.
        counted: bool ``[N]``: the others are in no group.
    """

    def __init__(self, first_of: Tensor, counted: Tensor) -> None:
        self.documents = len(first_of)
        numbers = torch.arange(self.documents, device="cpu")
        self.firsts = (counted & (first_of == numbers)).nonzero().squeeze(1)
        self._number = torch.empty(self.documents, dtype=torch.int64, device="cpu")
        self._number[self.firsts] = torch.arange(len(self.firsts), device="cpu")
        members = numbers[counted]
        group = self._number[first_of[members]]
        # By group, ascending within each.
        self._members = members[torch.argsort(group, stable=True)]
        self._sizes = torch.bincount(group, minlength=len(self.firsts))
        self._begins = torch.cumsum(self._sizes, 0) - self._sizes

    def pair_count(self, similar: Tensor) -> int:
        """How many pairs of documents are identical, or of two groups whose first ones are in ``similar`` [P, 2]."""
        # In floating point first: the count may be beyond 64 bits, and then need not be exact.
        sizes = self._sizes.double()
        within = self._sizes * (self._sizes - 1) // 2
        if float((sizes * sizes).sum()) + float(sizes[self._number[similar]].prod(1).sum()) > 2.0**62:
            raise OverflowError("more than 2^62 pairs of documents")
        return int(within.sum()) + int(self._sizes[self._number[similar]].prod(1).sum())

    def chained_pairs(self, similar: Tensor) -> Tensor:
        """``similar`` itself, and the first document of each group with each other one."""
        firsts = torch.repeat_interleave(self.firsts, self._sizes)
        chain = torch.stack([firsts, self._members], 1)
        return in_order(torch.cat([similar, chain[firsts != self._members]]), self.documents)

    def all_pairs(self, similar: Tensor) -> Tensor:
        """Every pair of documents within a group, and between two groups whose first ones are in ``similar``."""
        if len(self._members) == len(self.firsts):
            return in_order(similar, self.documents)
        places = counted(self._sizes)
        after = torch.repeat_interleave(self._sizes, self._sizes) - 1 - places
        left = torch.repeat_interleave(torch.arange(len(self._members), device="cpu"), after)
        within = torch.stack([self._members[left], self._members[left + 1 + counted(after)]], 1)
        left_group, right_group = self._number[similar].unbind(1)
        rights = self._sizes[right_group]
        products = self._sizes[left_group] * rights
        place, width = counted(products), torch.repeat_interleave(rights, products)
        left = torch.repeat_interleave(self._begins[left_group], products) + place // width
        right = torch.repeat_interleave(self._begins[right_group], products) + place % width
        between = torch.stack([self._members[left], self._members[right]], 1)
        return in_order(torch.cat([within, between]), self.documents)


def identical_sets(fingerprints: Tensor, tokens: Tensor, offsets: Tensor) -> Groups:
    """Groups of documents with the same set of tokens; those without any are left out.

    Args:
        fingerprints: int64 ``[N]``, equal for equal sets, -1 for empty ones.
        tokens: int64 ``[T]``, ascending and distinct within a document.
        offsets: int64 ``[N + 1]``.
    """
    numbers = torch.arange(len(fingerprints), device="cpu")
    filled = fingerprints != -1
    order = torch.argsort(fingerprints, stable=True)[int((~filled).sum()) :]
    prints = fingerprints[order]
    begins = torch.ones(len(order), dtype=torch.bool, device="cpu")
    begins[1:] = prints[1:] != prints[:-1]
    # The sort is stable, so the first of a run is its smallest member.
    first_of = numbers.clone()
    first_of[order] = order[begins][torch.cumsum(begins, 0) - 1]
    later = (first_of != numbers).nonzero().squeeze(1)
    alike = lsh.pair_jaccard(tokens, offsets, torch.stack([first_of[later], later], 1), validate=False)
    # By chance two different sets may have one fingerprint; then they stand alone, and bands find what they share.
    alone = later[alike < 1]
    first_of[alone] = alone
    return Groups(first_of, filled)


def bounded_candidates(keys: Tensor, sizes: Tensor, most: int) -> tuple[Tensor, int]:
    """(pairs, number of chained buckets): all pairs of equal keys, as far as ``most`` goes.

    Buckets from the smallest size on give all pairs, as long as these are at most ``most``; larger ones give the pairs
    of their first member with each other one.
    """
    most = min(most, 2**31 - 1)  # what the operator takes
    size = torch.arange(len(sizes), dtype=torch.float64, device="cpu")
    running = torch.cumsum(size * (size - 1) / 2 * sizes, 0)
    fitting = int((running <= most).sum()) - 1
    chained = int(sizes[fitting + 1 :].sum())
    if not chained:
        return lsh.candidate_pairs(keys), 0
    small = lsh.candidate_pairs(keys, max_bucket=fitting)
    large = lsh.candidate_pairs(keys, mode="chain")
    return in_order(torch.cat([small, large]), len(keys)), chained
