# SPDX-License-Identifier: Apache-2.0
"""Jaccard of each instruction set on NumPy arrays: the definition, whatever the sizes and the number of threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from warphash import _C
from warphash.lsh.pairs import reference

from .samples_pairs import pairs, sets


def _jaccard(isa: str, a: np.ndarray, b: np.ndarray) -> float:
    tokens, offsets = np.concatenate([a, b]), np.array([0, len(a), len(a) + len(b)])
    return _C.kernels.lsh_pair_jaccard(isa, tokens, offsets, np.array([[0, 1]]))[0]


def _expected(a: np.ndarray, b: np.ndarray) -> float:
    common = len(np.intersect1d(a, b))
    return common / max(len(a) + len(b) - common, 1)


def test_all_sizes(isa):
    generator = np.random.default_rng(0)
    for first in range(28):
        for second in range(28):
            a, b = (np.sort(generator.choice(40, size, replace=False)) for size in (first, second))
            assert _jaccard(isa, a, b) == _expected(a, b), (first, second)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_long_sets(isa, share):
    generator = np.random.default_rng(1)
    for size in (100, 511, 2000):
        a = np.unique(generator.integers(-(2**63), 2**63, size))
        b = np.unique(np.where(generator.random(len(a)) < share, a, generator.integers(-(2**63), 2**63, len(a))))
        assert _jaccard(isa, a, b) == _expected(a, b)
        assert _jaccard(isa, b, a[::3]) == _expected(b, a[::3])


def test_extreme_tokens(isa):
    """Zeros, -1 and the ends of int64 are tokens as any other, also where a vector is not full."""
    ends = np.array([-(2**63), -1, 0, 1, 2**63 - 1])
    for a in (ends, ends[1:], ends[:2], ends[2:3], ends[4:]):
        for b in (ends, ends[:-1], ends[1:2], ends[2:3], ends[:0]):
            assert _jaccard(isa, a, b) == _expected(a, b)


def test_one_much_larger(isa):
    many = np.arange(0, 20_000, 2)
    for few in (many[:1], many[-1:], np.array([1, 2, 19_999]), np.array([19_998, 30_000]), np.array([-5, 0, 7])):
        assert _jaccard(isa, many, few) == _expected(many, few)
        assert _jaccard(isa, few, many) == _expected(few, many)


def test_threads_change_nothing(isa):
    tokens, offsets = sets(200, 60)
    some = pairs(5000, 200)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        found.append(_C.kernels.lsh_pair_jaccard(isa, tokens.numpy(), offsets.numpy(), some.numpy()))
    torch.set_num_threads(before)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(found[0], reference.pair_jaccard(tokens, offsets, some))


def test_bad_arrays():
    tokens, offsets = np.array([1, 2]), np.array([0, 2])
    call = _C.kernels.lsh_pair_jaccard
    with pytest.raises(ValueError, match="isa must be"):
        call("sse", tokens, offsets, np.array([[0, 0]]))
    with pytest.raises(ValueError, match="pairs must be"):
        call("scalar", tokens, offsets, np.array([0, 0]))
    with pytest.raises(IndexError, match=r"pairs must have members in \[0, 1\), got 1"):
        call("scalar", tokens, offsets, np.array([[0, 1]]))
    with pytest.raises(ValueError, match="offsets must ascend"):
        call("scalar", tokens, offsets[::-1], np.array([[0, 0]]))
