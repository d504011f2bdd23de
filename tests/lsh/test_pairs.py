# SPDX-License-Identifier: Apache-2.0
"""Pairs, sizes, components and Jaccard against brute force and SciPy; what banding promises; caps and limits."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
import warphash as wh
from hypothesis import given, settings
from hypothesis import strategies as st

from .samples_pairs import keys, pairs, sets

sparse = pytest.importorskip("scipy.sparse")
csgraph = pytest.importorskip("scipy.sparse.csgraph")


def _scipy_labels(edges, n):
    graph = sparse.coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    labels = csgraph.connected_components(graph, directed=False)[1]
    _, smallest = np.unique(labels, return_index=True)
    return torch.from_numpy(smallest[labels])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(0, 4), st.integers(1, 40), st.integers(0, 2**20))
def test_pairs_are_those_of_brute_force(items, bands, below, seed):
    named = keys(items, bands, below, seed)
    rows = named.tolist()
    meet = [
        (i, j)
        for i, j in combinations(range(items), 2)
        if any(a == b != -1 for a, b in zip(rows[i], rows[j], strict=True))
    ]
    assert wh.lsh.candidate_pairs(named).tolist() == [list(pair) for pair in meet]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_chains_have_the_same_components(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    named = keys(20_000, 4, 30_000)
    whole, chain = (wh.lsh.candidate_pairs(named, mode=mode) for mode in ("all", "chain"))
    torch.set_num_threads(before)
    assert len(chain) < len(whole)
    labels = wh.lsh.connected_components(whole, 20_000)
    assert torch.equal(wh.lsh.connected_components(chain, 20_000), labels)
    assert torch.equal(labels, _scipy_labels(whole.numpy(), 20_000))
    shuffled = whole[torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))].flip(1)
    assert torch.equal(wh.lsh.connected_components(shuffled, 20_000), labels)


def test_a_long_path_in_the_worst_order():
    n = 100_000
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    path = torch.stack([order[1:], order[:-1]], 1)
    assert not wh.lsh.connected_components(path, n).any()


def test_a_cap_skips_whole_buckets_and_sizes_tell_which():
    named = torch.tensor([[1, 5], [1, 5], [1, 6], [2, 6], [-1, 7], [-1, -1]])
    assert wh.lsh.bucket_sizes(named).tolist() == [0, 2, 2, 1]
    assert wh.lsh.candidate_pairs(named).tolist() == [[0, 1], [0, 2], [1, 2], [2, 3]]
    assert wh.lsh.candidate_pairs(named, max_bucket=2).tolist() == [[0, 1], [2, 3]]
    assert wh.lsh.candidate_pairs(named, max_bucket=1).tolist() == []
    assert wh.lsh.candidate_pairs(named, mode="chain").tolist() == [[0, 1], [0, 2], [2, 3]]
    assert wh.lsh.bucket_sizes(named[:0]).tolist() == [0]


def test_too_many_pairs_are_refused_with_their_number_and_a_cap_helps():
    named = torch.zeros(100_000, 1, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"^keys have 4999950000 pairs, more than 2\^31 - 1: pass max_bucket, or"):
        wh.lsh.candidate_pairs(named)
    assert len(wh.lsh.candidate_pairs(named, max_bucket=1000)) == 0
    assert len(wh.lsh.candidate_pairs(named, mode="chain")) == 99_999


def test_banding_finds_what_its_formula_says():
    """P = 1 - (1 - s^r)^b at nine similarities, within 4.5 standard errors."""
    bands, rows, trials, length = 16, 8, 400, 1000
    generator = np.random.default_rng(5)
    for s in np.linspace(0.5, 0.9, 9):
        common = round(length * s)
        union = length
        first, second = [], []
        for _ in range(trials):
            tokens = generator.choice(2**31 - 1, union, replace=False).astype(np.int32)
            rest = tokens[common:]
            first.append(np.concatenate([tokens[:common], rest[::2]]))
            second.append(np.concatenate([tokens[:common], rest[1::2]]))
        rows_of = [x for pair in zip(first, second, strict=True) for x in pair]
        offsets = torch.tensor([0, *np.cumsum([len(x) for x in rows_of])])
        signatures = wh.lsh.minhash(torch.from_numpy(np.concatenate(rows_of)), offsets, bands * rows, seed=int(s * 100))
        found = wh.lsh.candidate_pairs(wh.lsh.band_keys(signatures, bands)).tolist()
        met = sum([2 * i, 2 * i + 1] in found for i in range(trials)) / trials
        expected = 1 - (1 - (common / union) ** rows) ** bands
        assert abs(met - expected) < 4.5 * (expected * (1 - expected) / trials) ** 0.5 + 1e-9, s


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(0, 80), st.integers(0, 2**20))
def test_jaccard_is_that_of_sets(count, most, seed):
    tokens, offsets = sets(count, most, seed)
    some = pairs(50, count, seed)
    rows = [set(tokens[a:b].tolist()) for a, b in pairwise(offsets)]
    expected = [len(rows[i] & rows[j]) / max(1, len(rows[i] | rows[j])) for i, j in some.tolist()]
    assert wh.lsh.pair_jaccard(tokens, offsets, some).tolist() == expected


def test_jaccard_checks_sets_unless_told_not_to():
    tokens, offsets = torch.tensor([1, 3, 2, 4]), torch.tensor([0, 4])
    with pytest.raises(ValueError, match=r"^tokens must be ascending"):
        wh.lsh.pair_jaccard(tokens, offsets, torch.tensor([[0, 0]]))
    wh.lsh.pair_jaccard(tokens, offsets, torch.tensor([[0, 0]]), validate=False)
    with pytest.raises(ValueError, match=r"offsets must ascend"):
        wh.lsh.pair_jaccard(tokens, torch.tensor([0, 9]), torch.tensor([[0, 0]]), validate=False)


def test_numpy_in_numpy_out():
    named = np.array([[4], [4], [5]])
    found = wh.lsh.candidate_pairs(named)
    assert isinstance(found, np.ndarray)
    assert isinstance(wh.lsh.bucket_sizes(named), np.ndarray)
    assert wh.lsh.connected_components(found, 3).tolist() == [0, 0, 2]
