# SPDX-License-Identifier: Apache-2.0
"""The metrics against a ranking written out in NumPy, one query at a time, in float64."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
import warphash as wh
from sklearn.metrics import average_precision_score
from warphash.retrieval import metrics


def distances(query: np.ndarray, database: np.ndarray) -> np.ndarray:
    return np.unpackbits(query ^ database, axis=1).sum(1).astype(np.int64)


def is_relevant(label: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return labels == label if labels.ndim == 1 else (labels & label).any(1)


def average_precision(hits: np.ndarray, total: int, denominator: str) -> float:
    """hits: relevance of the ranks up to R"""
    count = {"retrieved": int(hits.sum()), "min": min(total, len(hits)), "total": total}[denominator]
    summed = sum(hits[: rank + 1].mean() for rank in range(len(hits)) if hits[rank])
    return summed / count if count else 0.0


class Problem:
    def __init__(
        self, seed: int, queries: int = 7, size: int = 60, bits: int = 11, classes: int = 4, multi: bool = False
    ):
        rng = np.random.default_rng(seed)

        def labels(n: int) -> np.ndarray:
            return rng.random((n, classes)) < 0.3 if multi else rng.integers(0, classes, n)

        def codes(n: int) -> np.ndarray:
            return np.packbits(rng.random((n, bits)) < 0.4, axis=1, bitorder="little")

        self.arguments = (codes(queries), codes(size), labels(queries), labels(size))

    def rankings(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Per query distances and relevance in (distance, index) order."""
        query_codes, database_codes, query_labels, database_labels = self.arguments
        result = []
        for code, label in zip(query_codes, query_labels, strict=True):
            far = distances(code, database_codes)
            order = np.argsort(far, kind="stable")
            result.append((far[order], is_relevant(label, database_labels)[order]))
        return result


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "PAIRS_A_BLOCK", 150)  # two or three queries a block


@pytest.mark.parametrize("denominator", ["retrieved", "min", "total"])
@pytest.mark.parametrize("topk", [None, 1, 5, 60, 100])
@pytest.mark.parametrize("multi", [False, True])
def test_average_precision_by_index(denominator: str, topk: int | None, multi: bool) -> None:
    problem = Problem(3, multi=multi)
    expected = []
    for _, relevant in problem.rankings():
        hits, total = relevant[:topk], int(relevant.sum())
        if denominator == "min":
            value = average_precision(hits, total, "total") * total / max(1, min(total, topk or 60))
        else:
            value = average_precision(hits, total, denominator)
        expected.append(value)
    actual = wh.retrieval.mean_average_precision(*problem.arguments, topk=topk, denominator=denominator)
    assert isinstance(actual, float)
    assert actual == pytest.approx(np.mean(expected), abs=1e-12)


def tie_averaged_by_sum(far: np.ndarray, relevant: np.ndarray) -> float:
    """The sum over every place of every tie group, as it stands in the paper."""
    total, before, relevant_before = 0.0, 0, 0
    for distance in np.unique(far):
        group = relevant[far == distance]
        n, p = len(group), int(group.sum())
        for t in range(1, n + 1):
            share = (t - 1) * (p - 1) / (n - 1) if n > 1 else 0
            total += p / n * (relevant_before + 1 + share) / (before + t)
        before, relevant_before = before + n, relevant_before + p
    return total / relevant.sum() if relevant.any() else 0.0


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("bits", [1, 5, 11, 64])
def test_tie_average_equals_the_sum_over_places(bits: int, multi: bool) -> None:
    problem = Problem(bits, bits=bits, multi=multi)
    expected = np.mean([tie_averaged_by_sum(*ranking) for ranking in problem.rankings()])
    actual = wh.retrieval.mean_average_precision(*problem.arguments, ties="average")
    assert actual == pytest.approx(expected, abs=1e-12)


def test_tie_average_equals_the_mean_over_all_orders() -> None:
    database = np.array([[0], [0], [1], [1], [1], [3]], dtype=np.uint8)
    labels = np.array([0, 1, 0, 0, 1, 0])
    values = []
    for first in itertools.permutations([0, 1]):
        for second in itertools.permutations([2, 3, 4]):
            hits = labels[[*first, *second, 5]] == 0
            values.append(average_precision(hits, 4, "retrieved"))
    actual = wh.retrieval.mean_average_precision(
        np.zeros((1, 1), dtype=np.uint8), database, np.array([0]), labels, ties="average"
    )
    assert actual == pytest.approx(np.mean(values), abs=1e-12)


def test_tie_average_is_near_the_mean_over_random_databases() -> None:
    problem = Problem(5, queries=20, size=300, bits=6)
    query_codes, database_codes, query_labels, database_labels = problem.arguments
    rng = np.random.default_rng(0)
    values = []
    for _ in range(200):
        order = rng.permutation(300)
        values.append(
            wh.retrieval.mean_average_precision(
                query_codes, database_codes[order], query_labels, database_labels[order]
            )
        )
    expected = wh.retrieval.mean_average_precision(*problem.arguments, ties="average")
    assert abs(np.mean(values) - expected) < 4 * np.std(values) / np.sqrt(len(values))
    assert np.std(values) > 1e-4


def exact_tie_average(groups: list[tuple[int, int]]) -> Fraction:
    """As above, exactly, from (codes, relevant codes) by distance."""
    total, before, relevant_before = Fraction(0), 0, 0
    for n, p in groups:
        for t in range(1, n + 1 if p else 1):
            share = Fraction((t - 1) * (p - 1), max(n - 1, 1))
            total += Fraction(p, n) * (relevant_before + 1 + share) / (before + t)
        before, relevant_before = before + n, relevant_before + p
    return total / relevant_before


@pytest.mark.parametrize("before", [0, 1, 5, 30, 31, 32, 33, 40, 1000, 10**6, 10**9, 10**12])
@pytest.mark.parametrize("group", [(1, 1), (2, 1), (2, 2), (7, 3), (33, 33), (300, 5)])
def test_tie_average_keeps_its_digits_behind_many_codes(before: int, group: tuple[int, int]) -> None:
    groups = [(before, 0), group, (3, 2), (1, 0)]
    everything, relevant = (torch.tensor([column]) for column in zip(*groups, strict=True))
    actual = metrics._tie_averaged(everything, relevant)
    assert actual.item() == pytest.approx(float(exact_tie_average(groups)), rel=3e-14)


@pytest.mark.parametrize("before", [0, 12, 10**4, 10**6, 4 * 10**6])
@pytest.mark.parametrize("n", [10**3, 10**6])
def test_tie_average_keeps_its_digits_in_large_groups(before: int, n: int) -> None:
    places = np.arange(n)
    harmonic, slanted = metrics._place_sums(*(torch.tensor([float(x)]).double() for x in (before, n)))
    assert harmonic.item() == pytest.approx(math.fsum(1 / (before + 1 + places)), rel=1e-14)
    assert slanted.item() == pytest.approx(math.fsum(places / (before + 1 + places)), rel=1e-14)


def test_tie_average_does_not_depend_on_the_order() -> None:
    query_codes, database_codes, query_labels, database_labels = Problem(6).arguments
    order = np.random.default_rng(1).permutation(60)
    values = [
        wh.retrieval.mean_average_precision(
            query_codes, database_codes[o], query_labels, database_labels[o], ties="average"
        )
        for o in (np.arange(60), order)
    ]
    assert values[0] == values[1]


def test_without_ties_both_rules_agree_with_sklearn() -> None:
    # Codes 0, 1, 3, 7, ... have distances 0, 1, 2, 3, ... from 0: no two alike.
    database = np.packbits(np.tril(np.ones((40, 40), dtype=bool), -1), axis=1, bitorder="little")
    rng = np.random.default_rng(2)
    order = rng.permutation(40)
    labels = rng.integers(0, 3, 40)
    query = np.zeros((1, database.shape[1]), dtype=np.uint8)
    expected = average_precision_score(labels == 1, -distances(query, database[order]))
    for ties in ("index", "average"):
        actual = wh.retrieval.mean_average_precision(query, database[order], np.array([1]), labels, ties=ties)
        assert actual == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("radius", [0, 2, 5, 11, 1000])
@pytest.mark.parametrize("multi", [False, True])
def test_precision_within_radius(radius: int, multi: bool) -> None:
    problem = Problem(7, multi=multi)
    expected = [
        relevant[far <= radius].mean() if (far <= radius).any() else 0.0 for far, relevant in problem.rankings()
    ]
    actual = wh.retrieval.precision_within_radius(*problem.arguments, radius=radius)
    assert actual == pytest.approx(np.mean(expected), abs=1e-12)


@pytest.mark.parametrize("k", [1, 7, 60, 100])
@pytest.mark.parametrize("multi", [False, True])
def test_precision_and_recall_at_k(k: int, multi: bool) -> None:
    problem = Problem(8, multi=multi)
    precision, recall = [], []
    for _, relevant in problem.rankings():
        precision.append(relevant[:k].mean())
        recall.append(relevant[:k].sum() / relevant.sum() if relevant.any() else 0.0)
    assert wh.retrieval.precision_at_k(*problem.arguments, k) == pytest.approx(np.mean(precision), abs=1e-12)
    assert wh.retrieval.recall_at_k(*problem.arguments, k) == pytest.approx(np.mean(recall), abs=1e-12)


@pytest.mark.parametrize("k", [1, 7, 33, 60, 100])
def test_tie_averaged_precision_and_recall_at_k(k: int) -> None:
    problem = Problem(9)
    precision, recall = [], []
    for far, relevant in problem.rankings():
        found, room = 0.0, min(k, 60)
        for distance in np.unique(far):
            group = relevant[far == distance]
            kept = min(room, len(group))
            found, room = found + kept * group.mean(), room - kept
        precision.append(found / min(k, 60))
        recall.append(found / relevant.sum())
    actual = wh.retrieval.precision_recall_at_k(*problem.arguments, k, ties="average")
    assert actual == pytest.approx((np.mean(precision), np.mean(recall)), abs=1e-12)


def test_precision_recall_curve() -> None:
    problem = Problem(10)
    curve = wh.retrieval.precision_recall_curve(*problem.arguments)
    assert isinstance(curve.precision, np.ndarray)
    assert curve.precision.shape == (17,)
    for radius in range(17):
        assert curve.precision[radius] == pytest.approx(
            wh.retrieval.precision_within_radius(*problem.arguments, radius=radius), abs=1e-12
        )
        recall = [relevant[far <= radius].sum() / relevant.sum() for far, relevant in problem.rankings()]
        assert curve.recall[radius] == pytest.approx(np.mean(recall), abs=1e-12)
    assert curve.recall[-1] == 1


def test_kinds_and_label_forms_agree() -> None:
    query_codes, database_codes, query_labels, database_labels = Problem(11).arguments
    one_hot = [np.eye(4, dtype=np.int64)[labels] for labels in (query_labels, database_labels)]
    expected = wh.retrieval.mean_average_precision(query_codes, database_codes, query_labels, database_labels)
    tensors = [torch.from_numpy(array) for array in (query_codes, database_codes, query_labels, database_labels)]
    assert wh.retrieval.mean_average_precision(*tensors) == expected
    assert wh.retrieval.mean_average_precision(query_codes, database_codes, *one_hot) == expected
    assert isinstance(wh.retrieval.precision_recall_curve(*tensors).recall, torch.Tensor)


def test_nothing_relevant_counts_zero() -> None:
    query_codes, database_codes, query_labels, database_labels = Problem(12, queries=2).arguments
    query_labels = np.array([1, 99])
    half = wh.retrieval.mean_average_precision(query_codes[:1], database_codes, query_labels[:1], database_labels) / 2
    for ties in ("index", "average"):
        for denominator in ("retrieved", "min", "total"):
            value = wh.retrieval.mean_average_precision(
                query_codes[1:], database_codes, query_labels[1:], database_labels, ties=ties, denominator=denominator
            )
            assert value == 0.0
    both = wh.retrieval.mean_average_precision(query_codes, database_codes, query_labels, database_labels)
    assert both == pytest.approx(half)


def test_empty_sides() -> None:
    query_codes, database_codes, query_labels, database_labels = Problem(13).arguments
    for ties in ("index", "average"):
        assert np.isnan(
            wh.retrieval.mean_average_precision(
                query_codes[:0], database_codes, query_labels[:0], database_labels, ties=ties
            )
        )
        nothing = (query_codes, database_codes[:0], query_labels, database_labels[:0])
        assert wh.retrieval.mean_average_precision(*nothing, ties=ties) == 0.0
        assert wh.retrieval.precision_recall_at_k(*nothing, 3, ties=ties) == (0.0, 0.0)
    assert wh.retrieval.precision_within_radius(*nothing) == 0.0


def test_dtypes_of_labels() -> None:
    query_codes, database_codes, query_labels, database_labels = Problem(15).arguments
    score = wh.retrieval.mean_average_precision
    expected = score(query_codes, database_codes, query_labels, database_labels)
    for first, second in itertools.product([np.int8, np.uint8, np.uint32, np.int64], repeat=2):
        mixed = score(query_codes, database_codes, query_labels.astype(first), database_labels.astype(second))
        assert mixed == expected
    far = np.uint64(2**64 - 5)  # would be negative as int64
    assert score(query_codes, database_codes, query_labels.astype("u8") + far, database_labels.astype("u8") + far) == (
        expected
    )
    with pytest.raises(TypeError, match="database_labels of dtype uint64"):
        score(query_codes, database_codes, query_labels, database_labels.astype("u8"))


def test_unusual_tensors_are_refused() -> None:
    arrays = Problem(16, multi=True).arguments
    tensors = [torch.from_numpy(array) for array in arrays]
    names = ("query_codes", "database_codes", "query_labels", "database_labels")
    for place, name in enumerate(names):
        for change, error in ((torch.Tensor.to_sparse, TypeError), (lambda x: x.to("meta"), ValueError)):
            wrong = [change(x) if i == place else x for i, x in enumerate(tensors)]
            with pytest.raises(error, match=name):
                wh.retrieval.mean_average_precision(*wrong)
    for name, dtype in (("query_labels", torch.float32), ("database_labels", torch.float64)):
        wrong = [x.to(dtype) if i > 1 else x for i, x in enumerate(tensors)]
        wrong[names.index(name)][1, 1] = float("nan")
        with pytest.raises(ValueError, match=f"{name} must not hold NaN"):
            wh.retrieval.precision_at_k(*wrong, 3)
        with pytest.raises(TypeError, match="must be real"):
            wh.retrieval.precision_at_k(*wrong[:2], *(x.to(torch.complex64) for x in wrong[2:]), 3)


def test_bad_arguments() -> None:
    query_codes, database_codes, query_labels, database_labels = Problem(14).arguments
    arguments = (query_codes, database_codes, query_labels, database_labels)
    score = wh.retrieval.mean_average_precision
    for options, error, name in (
        ({"ties": "random"}, ValueError, "ties"),
        ({"denominator": "all"}, ValueError, "denominator"),
        ({"topk": 0}, ValueError, "topk"),
        ({"topk": 2.5}, TypeError, "topk"),
        ({"topk": 5, "ties": "average"}, ValueError, "topk"),
    ):
        with pytest.raises(error, match=name):
            score(*arguments, **options)
    with pytest.raises(ValueError, match="query_labels"):
        score(query_codes, database_codes, query_labels[:-1], database_labels)
    with pytest.raises(ValueError, match="database_labels"):
        score(query_codes, database_codes, query_labels, database_labels[:, None, None])
    with pytest.raises(ValueError, match="same classes"):
        score(query_codes, database_codes, query_labels, np.eye(4, dtype=bool)[database_labels])
    with pytest.raises(TypeError, match="query_labels"):
        score(query_codes, database_codes, query_labels.astype(np.float32), database_labels)
    with pytest.raises(TypeError, match="query_codes"):
        score(query_codes.astype(np.int32), database_codes, query_labels, database_labels)
    with pytest.raises(ValueError, match="bytes"):
        score(query_codes[:, :1], database_codes, query_labels, database_labels)
    with pytest.raises(ValueError, match="radius"):
        wh.retrieval.precision_within_radius(*arguments, radius=-1)
    with pytest.raises(ValueError, match="k must"):
        wh.retrieval.precision_at_k(*arguments, 0)
