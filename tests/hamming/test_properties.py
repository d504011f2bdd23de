# SPDX-License-Identifier: Apache-2.0
"""Laws of Hamming search, over drawn shapes and codes."""

from __future__ import annotations

import torch
import warphash as wh
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

ham = wh.hamming
laws = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def problems(draw: st.DrawFn, most_codes: int = 90) -> tuple[Tensor, Tensor, torch.Generator]:
    """Queries and database of one width, few distinct codes in some, and a generator for more randomness."""
    bytes_ = draw(st.integers(1, 40))
    queries, count = draw(st.integers(1, 20)), draw(st.integers(0, most_codes))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    kinds = draw(st.sampled_from([256, 16, 2]))  # few values: many ties
    q = torch.randint(0, kinds, (queries, bytes_), dtype=torch.uint8, generator=generator)
    d = torch.randint(0, kinds, (count, bytes_), dtype=torch.uint8, generator=generator)
    return q, d, generator


def equal(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@laws
@given(problems(), st.integers(0, 100))
def test_flipping_the_same_bits_everywhere_changes_nothing(
    problem: tuple[Tensor, Tensor, torch.Generator], k: int
) -> None:
    q, d, generator = problem
    flip = torch.randint(0, 256, q.shape[1:], dtype=torch.uint8, generator=generator)
    assert equal(ham.topk(q ^ flip, d ^ flip, k), ham.topk(q, d, k))
    assert torch.equal(ham.histogram(q ^ flip, d ^ flip), ham.histogram(q, d))


@laws
@given(problems(), st.integers(0, 100))
def test_order_of_bits_does_not_matter(problem: tuple[Tensor, Tensor, torch.Generator], k: int) -> None:
    q, d, generator = problem
    bits = 8 * q.shape[1]
    order = torch.randperm(bits, generator=generator)
    shuffled = [ham.pack(ham.unpack(x, bits)[:, order]) for x in (q, d)]
    assert equal(ham.topk(*shuffled, k), ham.topk(q, d, k))
    assert equal(ham.jaccard_topk(*shuffled, k), ham.jaccard_topk(q, d, k))


@laws
@given(problems())
def test_distance_is_a_metric(problem: tuple[Tensor, Tensor, torch.Generator]) -> None:
    q, d, _ = problem
    there = ham.cdist(q, d)
    assert torch.equal(there, ham.cdist(d, q).T)
    assert not ham.cdist(q, q).diagonal().any()
    assert torch.equal(there == 0, (q[:, None] == d[None]).all(-1))
    among = ham.cdist(q, q)
    assert (among[:, :, None] + there[None] >= there[:, None]).all()


@laws
@given(problems(), st.integers(0, 50), st.integers(0, 60))
def test_fewer_results_are_the_first_of_more(
    problem: tuple[Tensor, Tensor, torch.Generator], k: int, more: int
) -> None:
    q, d, _ = problem
    weights = 2.0 * ham.unpack(q, 8 * q.shape[1]) - 1
    for search, first in ((ham.topk, q), (ham.jaccard_topk, q), (ham.asymmetric_topk, weights)):
        few, many = search(first, d, k), search(first, d, k + more)
        assert equal(few, tuple(x[:, :k] for x in many))


@laws
@given(problems(), st.integers(0, 100))
def test_a_mask_is_a_smaller_database(problem: tuple[Tensor, Tensor, torch.Generator], k: int) -> None:
    q, d, generator = problem
    allowed = torch.rand(d.shape[0], generator=generator) < 0.4
    places = torch.cat([allowed.nonzero().flatten(), torch.tensor([-1])])  # -1 stays -1
    for search in (ham.topk, ham.jaccard_topk):
        values, indices = search(q, d[allowed], k)
        assert equal(search(q, d, k, mask=allowed), (values, places[indices]))
        assert equal(search(q, d, k, mask=allowed.expand(q.shape[0], -1)), (values, places[indices]))
    offsets, distances, indices = ham.range_search(q, d[allowed], k)
    assert equal(ham.range_search(q, d, k, mask=allowed), (offsets, distances, places[indices]))
    assert torch.equal(ham.histogram(q, d, mask=allowed), ham.histogram(q, d[allowed]))


@laws
@given(problems(), st.integers(0, 330))
def test_ranges_are_the_sums_of_histograms(problem: tuple[Tensor, Tensor, torch.Generator], radius: int) -> None:
    q, d, _ = problem
    histogram = ham.histogram(q, d)
    assert (histogram.sum(1) == d.shape[0]).all()
    offsets, distances, indices = ham.range_search(q, d, radius)
    assert torch.equal(offsets.diff(), histogram[:, : radius + 1].sum(1))
    rows = torch.repeat_interleave(offsets.diff())
    assert torch.equal(distances, ham.cdist(q, d)[rows, indices])
    assert (distances <= radius).all()
    keys = (rows * 1000 + distances) * (d.shape[0] + 1) + indices
    assert (keys.diff() > 0).all()  # by row, distance, index


@laws
@given(problems(), st.integers(0, 20))
def test_ranges_and_nearest_agree(problem: tuple[Tensor, Tensor, torch.Generator], radius: int) -> None:
    q, d, _ = problem
    offsets, distances, indices = ham.range_search(q, d, radius)
    nearest, at = ham.topk(q, d, d.shape[0])
    inside = nearest <= radius
    assert torch.equal(nearest[inside], distances)
    assert torch.equal(at[inside], indices)
    assert torch.equal(inside.sum(1), offsets.diff())


@laws
@given(problems(), st.integers(0, 100))
def test_scores_of_signs_are_distances(problem: tuple[Tensor, Tensor, torch.Generator], k: int) -> None:
    """For queries of ±1 the score is bits - 2 distance, and the ranking is the same."""
    q, d, _ = problem
    bits = 8 * q.shape[1]
    scores, at = ham.asymmetric_topk(2.0 * ham.unpack(q, bits) - 1, d, k)
    distances, indices = ham.topk(q, d, k)
    assert torch.equal(at, indices)
    real = indices >= 0
    assert torch.equal(scores[real], (bits - 2 * distances[real]).float())


@laws
@given(st.integers(0, 70), st.integers(0, 9), st.integers(0, 2**32))
def test_packing_loses_nothing(bits: int, rows: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(rows, bits, generator=generator) < 0.5
    packed = ham.pack(x)
    assert torch.equal(ham.unpack(packed, bits), x)
    assert torch.equal(ham.pack(x.float() - 0.5), packed)
    assert not ham.unpack(packed, 8 * packed.shape[1])[:, bits:].any()
    whole = torch.randint(0, 256, (rows, bits), dtype=torch.uint8, generator=generator)
    assert torch.equal(ham.pack(ham.unpack(whole, 8 * bits)), whole)
