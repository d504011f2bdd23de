# SPDX-License-Identifier: Apache-2.0
"""How good binary codes are at retrieval: average precision, precision and recall, with a rule for ties.

Hamming distances take few values, so rankings are full of ties, and the order within them moves mean average
precision by points. Two rules are offered, and neither depends on a sort's whim: ``ties="index"`` ranks equal distances
by ascending database index, as the searches do; ``ties="average"`` gives the expected value over all orders of the
ties, in closed form (He, Cakir, Bargal and Sclaroff, "Hashing as tie-aware learning to rank", 2018) from two histograms
a query.

Common to all functions here: codes are uint8 [Q, bytes] and [N, bytes]; labels are integers [Q] and [N] (relevant =
equal) or multi-hot [Q, C] and [N, C] (relevant = a class in common); all lie on one device. The mean over no queries is
NaN. Sums are float64. Queries are taken in blocks, so that no more than 2^22 pairs of query and code are looked at
together (or one query's N): the workspace is at most about 200 MB up to N = 4 million, whatever Q, and 50 bytes a code
beyond; multi-hot labels add float32 copies of themselves, 4 · (Q + N) · C bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import _checks, hamming, interop

PAIRS_A_BLOCK = 1 << 22
TIES = ("index", "average")
DENOMINATORS = ("retrieved", "min", "total")


def mean_average_precision(
    query_codes: Any,
    database_codes: Any,
    query_labels: Any,
    database_labels: Any,
    *,
    topk: int | None = None,
    ties: str = "index",
    denominator: str = "retrieved",
) -> float:
    """Mean over the queries of AP@R = (sum of precision@r over the ranks r <= R of relevant codes) / denominator.

    Args:
        query_codes: uint8 [Q, bytes].
        database_codes: uint8 [N, bytes].
        query_labels: integers [Q] or multi-hot [Q, C].
        database_labels: integers [N] or multi-hot [N, C].
        topk: R; None is the whole database.
        ties: ``"index"`` or ``"average"`` (the expectation over random orders; the whole database alone).
        denominator: ``"retrieved"``: relevant codes among the first R; ``"min"``: min(all relevant, R); ``"total"``:
            all relevant. The three agree for topk=None. A query with nothing relevant counts 0.

    Raises:
        TypeError, ValueError: a dtype, shape or device does not fit, or topk is given with ties="average".

    Complexity: with topk=R a search of Q · N comparisons and O(Q · R); ties="average" two histograms, 2 · Q · N
    comparisons and O(Q · bits); ties="index" over the whole database the full ranking, one block of queries at a time.
    """
    _check_choice("ties", ties, TIES)
    _check_choice("denominator", denominator, DENOMINATORS)
    if topk is not None:
        topk = _checks.count("topk", topk, 1)
        if ties == "average":
            raise ValueError('ties="average" is defined over the whole database: topk must be None')
    problem = _Problem(query_codes, database_codes, query_labels, database_labels)
    depth = problem.database_size if topk is None else min(topk, problem.database_size)
    values = []
    for block in problem.blocks():
        if ties == "average":
            everything, relevant = block.histograms()
            values.append(_tie_averaged(everything, relevant))
            continue
        hits = block.ranked_relevance(depth)
        ranks = torch.arange(1, depth + 1, device=hits.device, dtype=torch.float64)
        total = (hits * hits.cumsum(1, dtype=torch.float64) / ranks).sum(1)
        if denominator == "retrieved" or topk is None:
            count = hits.sum(1)
        else:
            count = block.relevant_counts()
            if denominator == "min":
                count = count.clamp(max=topk)
        values.append(torch.where(count > 0, total / count.clamp(min=1), 0.0))
    return _mean(values)


def precision_within_radius(
    query_codes: Any, database_codes: Any, query_labels: Any, database_labels: Any, radius: int = 2
) -> float:
    """Mean share of relevant codes among those with distance <= radius; a query with an empty ball counts 0."""
    radius = _checks.count("radius", radius)
    values = []
    for block in _Problem(query_codes, database_codes, query_labels, database_labels).blocks():
        everything, relevant = (histogram[:, : radius + 1].sum(1) for histogram in block.histograms())
        values.append(_ratio(relevant, everything))
    return _mean(values)


def precision_at_k(
    query_codes: Any, database_codes: Any, query_labels: Any, database_labels: Any, k: int, *, ties: str = "index"
) -> float:
    """Mean share of relevant codes among the min(k, N) nearest; ties as in :func:`mean_average_precision`, any k."""
    return precision_recall_at_k(query_codes, database_codes, query_labels, database_labels, k, ties=ties)[0]


def recall_at_k(
    query_codes: Any, database_codes: Any, query_labels: Any, database_labels: Any, k: int, *, ties: str = "index"
) -> float:
    """Mean share of a query's relevant codes that are among the k nearest; with nothing relevant 0."""
    return precision_recall_at_k(query_codes, database_codes, query_labels, database_labels, k, ties=ties)[1]


def precision_recall_at_k(
    query_codes: Any, database_codes: Any, query_labels: Any, database_labels: Any, k: int, *, ties: str = "index"
) -> tuple[float, float]:
    """(:func:`precision_at_k`, :func:`recall_at_k`) from one search, or with ties="average" from histograms alone.

    Of a group of n ties with p relevant that the cut after k leaves s of, the expectation is s · p / n.
    """
    k = _checks.count("k", k, 1)
    _check_choice("ties", ties, TIES)
    problem = _Problem(query_codes, database_codes, query_labels, database_labels)
    depth = min(k, problem.database_size)
    precisions, recalls = [], []
    for block in problem.blocks():
        if ties == "average":
            everything, relevant = block.histograms()
            before = everything.cumsum(1) - everything
            kept = torch.minimum((depth - before).clamp(min=0), everything)
            found = (kept * relevant / everything.clamp(min=1).double()).sum(1)
            count = relevant.sum(1)
        else:
            found = block.ranked_relevance(depth).sum(1).double()
            count = block.relevant_counts()
        precisions.append(found / max(depth, 1))
        recalls.append(_ratio(found, count))
    return _mean(precisions), _mean(recalls)


class PrecisionRecallCurve(NamedTuple):
    """Means over the queries at each radius 0 .. 8 · bytes, float64 in the caller's kind."""

    precision: Any
    recall: Any


def precision_recall_curve(
    query_codes: Any, database_codes: Any, query_labels: Any, database_labels: Any
) -> PrecisionRecallCurve:
    """Precision and recall of the ball of each radius, from histograms: no ranking, so no ties.

    Empty balls have precision 0, as in :func:`precision_within_radius`, queries with nothing relevant recall 0.
    """
    precisions, recalls = [], []
    problem = _Problem(query_codes, database_codes, query_labels, database_labels)
    for block in problem.blocks():
        everything, relevant = (histogram.cumsum(1) for histogram in block.histograms())
        precisions.append(_ratio(relevant, everything))
        recalls.append(_ratio(relevant, relevant[:, -1:]))
    bins = 8 * problem.query_codes.shape[1] + 1
    empty = torch.empty(0, bins, dtype=torch.float64, device=problem.query_codes.device)
    mean_precision, mean_recall = (torch.cat([empty, *values]).mean(0) for values in (precisions, recalls))
    return PrecisionRecallCurve(interop.like(query_codes, mean_precision), interop.like(query_codes, mean_recall))


class _Block:
    """Some of the queries against the whole database."""

    def __init__(self, codes: Tensor, labels: Tensor, database_codes: Tensor, database_labels: Tensor) -> None:
        self.codes = codes
        self.labels = labels
        self.database_codes = database_codes
        self.database_labels = database_labels

    def relevance(self) -> Tensor:
        """Whether each code is relevant, bool [block, N]."""
        if self.labels.dim() == 1:
            return self.labels[:, None] == self.database_labels[None, :]
        return self.labels @ self.database_labels.T > 0

    def relevant_counts(self) -> Tensor:
        return self.relevance().sum(1)

    def histograms(self) -> tuple[Tensor, Tensor]:
        """Counts by distance, int64 [block, 8 · bytes + 1], of all codes and of the relevant ones."""
        everything = hamming.histogram(self.codes, self.database_codes)
        return everything, hamming.histogram(self.codes, self.database_codes, mask=self.relevance())

    def ranked_relevance(self, depth: int) -> Tensor:
        """Whether the code of each rank is relevant, bool [block, depth]."""
        indices = hamming.topk(self.codes, self.database_codes, depth)[1]
        if self.labels.dim() == 1:
            return self.database_labels[indices] == self.labels[:, None]
        return self.relevance().gather(1, indices)


class _Problem:
    def __init__(self, query_codes: Any, database_codes: Any, query_labels: Any, database_labels: Any) -> None:
        self.query_codes = _checks.with_data("query_codes", _checks.codes("query_codes", query_codes))
        self.database_codes = _checks.codes("database_codes", database_codes)
        self.query_labels = _checks.dense("query_labels", interop.as_tensor(query_labels, "query_labels"))
        self.database_labels = _checks.dense("database_labels", interop.as_tensor(database_labels, "database_labels"))
        self._check()
        self.database_size = self.database_codes.shape[0]
        if self.query_labels.dim() == 2:
            # Products of 0 and 1: exact in float32 up to 2^24 classes.
            self.query_labels = (self.query_labels != 0).float()
            self.database_labels = (self.database_labels != 0).float()
        else:  # equality survives the wrap of uint64
            self.query_labels, self.database_labels = self.query_labels.long(), self.database_labels.long()

    def blocks(self) -> Iterator[_Block]:
        rows = max(1, PAIRS_A_BLOCK // max(1, self.database_size))
        for begin in range(0, self.query_codes.shape[0], rows):
            part = slice(begin, begin + rows)
            yield _Block(self.query_codes[part], self.query_labels[part], self.database_codes, self.database_labels)

    def _check(self) -> None:
        if self.query_codes.shape[1] != self.database_codes.shape[1]:
            raise ValueError(
                f"query_codes have {self.query_codes.shape[1]} bytes and database_codes {self.database_codes.shape[1]}"
            )
        _checks.same_device("query_codes", self.query_codes, "database_codes", self.database_codes)
        for name, labels, codes in (
            ("query_labels", self.query_labels, self.query_codes),
            ("database_labels", self.database_labels, self.database_codes),
        ):
            if labels.dim() not in (1, 2) or labels.shape[0] != codes.shape[0]:
                raise ValueError(
                    f"{name} must be [{codes.shape[0]}] or [{codes.shape[0]}, classes], got {list(labels.shape)}"
                )
            _checks.same_device("query_codes", self.query_codes, name, labels)
            if labels.dim() == 2 and labels.is_complex():
                raise TypeError(f"{name} must be real, got {labels.dtype}")
            if labels.dim() == 2 and labels.is_floating_point() and bool(labels.isnan().any()):
                raise ValueError(f"{name} must not hold NaN")
            if labels.dim() == 1 and (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool):
                raise TypeError(f"{name} of one dimension must be integers, got {labels.dtype}")
        if self.query_labels.shape[1:] != self.database_labels.shape[1:]:
            raise ValueError(
                f"query_labels {list(self.query_labels.shape)} and database_labels {list(self.database_labels.shape)} "
                "must both be [N], or multi-hot with the same classes"
            )
        if self.query_labels.dim() == 1 and self.query_labels.dtype != self.database_labels.dtype:
            for name, labels in (("query_labels", self.query_labels), ("database_labels", self.database_labels)):
                if labels.dtype == torch.uint64:  # no integer type holds both sides
                    raise TypeError(f"{name} of dtype uint64 need labels of the same dtype beside them")


def _tie_averaged(everything: Tensor, relevant: Tensor) -> Tensor:
    """Expected AP [Q] over random orders of the ties, from histograms int64 [Q, bins].

    A group of n ties, p of them relevant, after N others with P relevant: each of its places t = 1 .. n is relevant
    with probability p / n, and then has P + 1 + (t − 1)(p − 1)/(n − 1) relevant codes up to itself, among N + t.
    """
    n, p = everything.double(), relevant.double()
    before, relevant_before = n.cumsum(1) - n, p.cumsum(1) - p
    harmonic, slanted = _place_sums(before, n)
    slope = (p - 1) / (n - 1).clamp(min=1)
    group = p / n.clamp(min=1) * ((relevant_before + 1) * harmonic + slope * slanted)
    return _ratio(group.sum(1), p.sum(1))


# From this number of places before a group on, the digamma series below is exact to float64.
_LONG = 32


def _place_sums(before: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
    """The sums of 1 / (N + t) and of (t − 1) / (N + t) over t = 1 .. n, for whole numbers N = ``before`` and n.

    The first is the difference ψ(b) − ψ(a) of digammas at a = N + 1 and b = a + n, the second n − a times it. Taken
    literally both lose digits as N grows, so their leading terms are subtracted by hand in the asymptotic series of ψ:
    what is left has errors of a few units in the last place. The first 32 places come from a table.
    """
    a = before.clamp(min=_LONG) + 1
    count = (before + n).clamp(min=_LONG) + 1 - a
    u, v = 1 / a, 1 / (a + count)
    x = count * u
    first = count * u * v  # u − v
    second = first * (u + v)  # u² − v², and so on
    squares = u**2 + v**2
    fourth = second * squares
    sixth = second * (squares**2 - (u * v) ** 2)
    eighth = fourth * (u**4 + v**4)
    remainder = first / 2 + second / 12 - fourth / 120 + sixth / 252 - eighth / 240
    table = torch.tensor([0.0, *accumulate(1 / t for t in range(1, _LONG + 1))], dtype=torch.float64, device=n.device)
    short = table[(before + n).clamp(max=_LONG).long()] - table[before.clamp(max=_LONG).long()]
    harmonic = short + torch.log1p(x) + remainder
    slanted = torch.where(before < _LONG, n - (before + 1) * harmonic, a * (_x_minus_log1p(x) - remainder))
    return harmonic, slanted


def _x_minus_log1p(x: Tensor) -> Tensor:
    """The difference x − log(1 + x) for x >= 0 without cancellation: log(1 + x) = 2 artanh r with r = x / (2 + x)."""
    r = x.clamp(max=0.5) / (2 + x.clamp(max=0.5))
    series = torch.zeros_like(r)
    for odd in range(27, 1, -2):  # r² <= 0.04
        series = series * r**2 + 1 / odd
    return torch.where(x > 0.5, x - torch.log1p(x), x * r - 2 * r**3 * series)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """The quotient in float64, 0 where whole is 0."""
    return torch.where(whole > 0, part.double() / whole.clamp(min=1).double(), 0.0)


def _mean(values: list[Tensor]) -> float:
    return float(torch.cat(values).mean()) if values else float("nan")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
