# SPDX-License-Identifier: Apache-2.0
"""The definitions in plain Python and torch: pairs of equal keys, sizes of buckets, components, Jaccard of sets."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import combinations, pairwise

import torch
from torch import Tensor


def _buckets(keys: Tensor) -> list[list[int]]:
    """Members of every bucket of every column, ascending."""
    found: list[list[int]] = []
    for column in keys.T.tolist():
        by_key = defaultdict(list)
        for item, key in enumerate(column):
            if key != -1:
                by_key[key].append(item)
        found += by_key.values()
    return found


def candidate_pairs(keys: Tensor, *, max_bucket: int | None = None, mode: str = "all") -> Tensor:
    """int64 [P, 2], distinct and sorted."""
    pairs = set()
    for members in _buckets(keys):
        if max_bucket is not None and len(members) > max_bucket:
            continue
        pairs |= set(combinations(members, 2)) if mode == "all" else {(members[0], other) for other in members[1:]}
    return torch.tensor(sorted(pairs), dtype=torch.int64).reshape(-1, 2)


def bucket_sizes(keys: Tensor) -> Tensor:
    """int64 [largest size + 1]."""
    sizes = Counter(len(members) for members in _buckets(keys))
    return torch.tensor([sizes[size] for size in range(max(sizes, default=0) + 1)])


def connected_components(pairs: Tensor, n: int) -> Tensor:
    """Labels int64 [n] by letting the smaller of two labels spread until nothing changes."""
    labels = list(range(n))
    edges = pairs.tolist()
    changed = True
    while changed:
        changed = False
        for i, j in edges:
            least = min(labels[i], labels[j])
            changed |= labels[i] != least or labels[j] != least
            labels[i] = labels[j] = least
    return torch.tensor(labels, dtype=torch.int64)


def pair_jaccard(tokens: Tensor, offsets: Tensor, pairs: Tensor) -> Tensor:
    """float64 [P]; two empty sets have 0 in common."""
    bounds = offsets.tolist()
    sets = [set(tokens[begin:end].tolist()) for begin, end in pairwise(bounds)]
    found = [len(sets[i] & sets[j]) / max(len(sets[i] | sets[j]), 1) for i, j in pairs.tolist()]
    return torch.tensor(found, dtype=torch.float64)
