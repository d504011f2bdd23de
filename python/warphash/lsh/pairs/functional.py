# SPDX-License-Identifier: Apache-2.0
"""The public functions of pairs and components: checks of arguments, then one operator each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import _checks
from ...interop import as_tensor, like

__all__ = ["bucket_sizes", "candidate_pairs", "connected_components", "pair_jaccard"]

_MODES = ("all", "chain")


def _longs(name: str, x: Any, shape: str) -> Tensor:
    """An int64 tensor that holds data, with as many dimensions as ``shape`` names."""
    values = _checks.dense(name, as_tensor(x, name))
    if values.dtype != torch.int64:
        raise TypeError(f"{name} must be int64, got {values.dtype}")
    if values.dim() != shape.count(",") + 1:
        raise ValueError(f"{name} must be {shape}, got shape {tuple(values.shape)}")
    _checks.device_served(name, values)
    return values


def _pairs(x: Any) -> Tensor:
    pairs = _longs("pairs", x, "[P, 2]")
    if pairs.shape[1] != 2:
        raise ValueError(f"pairs must be [P, 2], got shape {tuple(pairs.shape)}")
    return pairs


def candidate_pairs(keys: Any, *, max_bucket: int | None = None, mode: str = "all") -> Any:
    """The pairs of items that have an equal key in some column.

    Args:
        keys: int64 ``[N, bands]``, such as of :func:`band_keys`; -1 meets nothing.
        max_bucket: buckets of more members are skipped whole; None: none is. See :func:`bucket_sizes`.
        mode: ``"all"``, or ``"chain"``: of each bucket only the pairs of its first member with each other one, n - 1
            instead of n (n - 1) / 2; they have the same components.

    Returns:
        int64 ``[P, 2]``: i < j, distinct, sorted by (i, j).

    Raises:
        TypeError: ``keys`` is not int64, ``max_bucket`` no int.
        ValueError: ``keys`` is not 2-dimensional, ``mode`` is another word, ``max_bucket`` is negative; or there are
            more than 2^31 - 1 pairs, equal ones of several columns counted each: the text has their number.

    Complexity: O(N bands + P log P) as a rule. Workspace: 4 bytes a key, 8 bytes a pair, equal ones counted each.
    """
    values = _longs("keys", keys, "[N, bands]")
    if mode not in _MODES:
        raise ValueError(f"mode must be one of {', '.join(_MODES)}, got {mode!r}")
    most = -1 if max_bucket is None else _checks.count("max_bucket", max_bucket)
    if most >= 2**63:
        most = -1
    try:
        found = torch.ops.warphash.lsh_candidate_pairs(values, most, _MODES.index(mode))
    except (RuntimeError, ValueError) as error:
        if "2^31 - 1" in str(error):
            raise ValueError(str(error).splitlines()[0]) from None
        raise
    return like(keys, found)


def bucket_sizes(keys: Any) -> Any:
    """How many buckets have how many members, for a report before pairs are formed.

    Args:
        keys: int64 ``[N, bands]``; -1 is in no bucket.

    Returns:
        int64 ``[S]``: entry s is the number of buckets, of all columns, with s members; S is the largest size + 1, so 1
        without any bucket.

    Raises:
        TypeError: ``keys`` is not int64.
        ValueError: ``keys`` is not 2-dimensional.

    Complexity: O(N bands) as a rule. Workspace: 4 bytes a key.
    """
    values = _longs("keys", keys, "[N, bands]")
    return like(keys, torch.ops.warphash.lsh_bucket_sizes(values))


def connected_components(pairs: Any, n: int, *, validate: bool = True) -> Any:
    """Connected components of the graph with these edges.

    Args:
        pairs: int64 ``[P, 2]``, members in [0, n); in any order, repeated ones too.
        n: number of items.
        validate: on CUDA: check the members, which waits for the device.

    Returns:
        int64 ``[n]``: the smallest member of each item's component.

    Raises:
        TypeError: ``pairs`` is not int64, ``n`` no int.
        ValueError: ``pairs`` is not [P, 2], ``n`` is negative.
        IndexError: a member is outside of [0, n).

    Complexity: O((P + n) log n), as a rule O(P + n); no workspace.
    """
    edges = _pairs(pairs)
    count = _checks.count("n", n)
    if count >= 2**63:
        raise ValueError(f"n must be below 2^63, got {n}")
    _checks.on_card_within("pairs must have members", edges, count, validate)
    return like(pairs, torch.ops.warphash.lsh_connected_components(edges, count))


def pair_jaccard(tokens: Any, offsets: Any, pairs: Any, *, validate: bool = True) -> Any:
    """The true Jaccard similarity of pairs of sets.

    Args:
        tokens: int64 ``[T]``, ascending and distinct within each set.
        offsets: int64 ``[N + 1]``: set i holds ``tokens[offsets[i] : offsets[i + 1]]``; from 0 to T.
        pairs: int64 ``[P, 2]``, members in [0, N).
        validate: check the order of tokens, and on CUDA offsets and members, which waits for the device.

    Returns:
        float64 ``[P]``: |A ∩ B| / |A ∪ B|, and 0 where both are empty: empty sets match nothing.

    Raises:
        TypeError: an argument is not int64.
        ValueError: shapes do not fit, offsets do not ascend from 0 to T, tokens of a set do not ascend.
        IndexError: a member is outside of [0, N).

    Complexity: O(|A| + |B|) a pair, O(|A| log |B|) where B is much larger; no workspace.
    """
    values, bounds, edges = _longs("tokens", tokens, "[T]"), _longs("offsets", offsets, "[N + 1]"), _pairs(pairs)
    if bounds.shape[0] < 1:
        raise ValueError("offsets must be [N + 1] with at least one entry, got none")
    _checks.same_device("tokens", values, "offsets", bounds)
    _checks.same_device("tokens", values, "pairs", edges)
    if values.device.type != "meta" and _checks.data_is_checked(validate):
        _check_sets(values, bounds)
    _checks.on_card_within("pairs must have members", edges, bounds.shape[0] - 1, validate)
    return like(pairs, torch.ops.warphash.lsh_pair_jaccard(values, bounds, edges))


def _check_sets(tokens: Tensor, offsets: Tensor) -> None:
    ends = offsets[[0, -1]].tolist()
    if ends != [0, len(tokens)] or bool((offsets.diff() < 0).any()):
        raise ValueError(f"offsets must ascend from 0 to T = {len(tokens)}, got {ends[0]} to {ends[1]}")
    # Where a token does not exceed the one before, a set must begin.
    breaks = (tokens[1:] <= tokens[:-1]).nonzero().squeeze(1) + 1
    if len(breaks) and not bool(torch.isin(breaks, offsets).all()):
        raise ValueError("tokens must be ascending and distinct within each set")
