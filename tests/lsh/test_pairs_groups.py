# SPDX-License-Identifier: Apache-2.0
"""How equal keys are found and pairs put in order: keys whose hashes fall together, sizes past one piece, threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import warphash as wh
from warphash.lsh.pairs import reference

from .samples_pairs import keys

GOLDEN = 0x9E3779B97F4A7C15  # the multiplier of the groups' hash


def _of_one_hash(count: int) -> torch.Tensor:
    """Distinct keys [count] whose 32 bits of hash are equal."""
    inverse = pow(GOLDEN, -1, 2**64)
    mixed = [x * inverse % 2**64 for x in range(1, count + 1)]
    return torch.from_numpy(np.array([x ^ x >> 32 for x in mixed], dtype=np.uint64).view(np.int64))


def _checked(named: torch.Tensor) -> None:
    for mode in ("all", "chain"):
        assert torch.equal(wh.lsh.candidate_pairs(named, mode=mode), reference.candidate_pairs(named, mode=mode))
    assert torch.equal(wh.lsh.bucket_sizes(named), reference.bucket_sizes(named))


def test_keys_of_one_hash_stay_apart():
    few = _of_one_hash(40)
    assert len(few.unique()) == 40
    assert not len(wh.lsh.candidate_pairs(few[:, None]))
    drawn = torch.randint(0, 40, (300, 3), generator=torch.Generator().manual_seed(0))
    _checked(few[drawn])
    # In one column they collide, in the other they do not.
    _checked(torch.stack([few[drawn[:, 0]], drawn[:, 1]], 1))


@pytest.mark.parametrize("shift", [0, 1, 20, 31, 32, 33, 44, 56])
def test_structured_keys(shift):
    named = torch.arange(700).view(350, 2) % 211 << shift
    _checked(named)
    _checked(-named - 2)
    _checked(torch.where(named % 5 == 0, -1, named))


@pytest.mark.parametrize("items", [2047, 2048, 2049, 4096, 6145])
def test_pieces_follow_each_other(items):
    _checked(keys(items, 2, items // 2, items))


def test_more_items_than_a_thousand_pieces_hold():
    items = 2_200_000
    generator = np.random.default_rng(1)
    partners = generator.permutation(items)
    named = np.empty(items, dtype=np.int64)
    named[partners] = np.arange(items) // 2  # each key twice
    found = wh.lsh.candidate_pairs(named[:, None])
    expected = np.sort(partners.reshape(-1, 2), 1)
    expected = expected[np.argsort(expected[:, 0])]
    assert np.array_equal(found, expected)


def test_threads_change_nothing():
    named = keys(40_000, 6, 30_000)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        found.append((wh.lsh.candidate_pairs(named), wh.lsh.bucket_sizes(named)))
    torch.set_num_threads(before)
    for some in found[1:]:
        assert all(map(torch.equal, some, found[0]))


def test_graphs_with_results_of_any_size():
    @torch.compile(fullgraph=True)
    def labels(named: torch.Tensor) -> torch.Tensor:
        pairs = wh.lsh.candidate_pairs(named, max_bucket=50)
        return wh.lsh.connected_components(pairs, named.shape[0])

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        for seed in (0, 1):
            named = keys(100, 2, 80, seed)
            expected = reference.connected_components(reference.candidate_pairs(named, max_bucket=50), 100)
            assert torch.equal(labels(named), expected)
