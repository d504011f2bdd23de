# SPDX-License-Identifier: Apache-2.0
"""Parameters of hash functions: fixed for ever, of the right distributions, independent streams."""

import numpy as np
import pytest
from warphash import _random
from warphash._random import Stream

stats = pytest.importorskip("scipy.stats")
special = pytest.importorskip("scipy.special")

COUNT = 200_000
GOLDEN_WORDS = [0x7758A78BE534034C, 0xC0339B98B157244C]
GOLDEN_NORMAL = ["-0x1.5b7b5940daab3p-4", "0x1.5a9bcc55684afp-1", "0x1.fad799add7f97p-1"]
GOLDEN_CAUCHY = ["-0x1.e68b78b9dd1e1p+1", "-0x1.099e36d7a3c98p-5"]


def _output(state: int) -> int:
    """SplitMix64's output function, in Python's integers."""
    mask = 2**64 - 1
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
    return state ^ (state >> 31)


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
@pytest.mark.parametrize("stream", list(Stream))
def test_words_are_those_of_the_definition(seed, stream):
    golden, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    start = _output((seed * 2 + 1) * golden & mask)
    key = _output(start + int(stream) * 0xD1342543DE82EF95 & mask)
    expected = [_output(key + i * golden & mask) for i in range(1, 6)]
    assert _random.words(seed, stream, 5).tolist() == expected
    assert _random.words(seed, stream, 3, first=2).tolist() == expected[2:]


def test_numbers_never_change():
    """Saved hashes depend on these."""
    assert _random.words(1, Stream.PLANES, 2).tolist() == GOLDEN_WORDS
    assert [value.hex() for value in _random.normal(1, Stream.PLANES, 3).tolist()] == GOLDEN_NORMAL
    assert [value.hex() for value in _random.cauchy(1, Stream.DIRECTIONS, 2).tolist()] == GOLDEN_CAUCHY


def test_distributions():
    assert stats.kstest(_random.uniform(5, Stream.OFFSETS, COUNT), "uniform").pvalue > 1e-4
    assert stats.kstest(_random.normal(5, Stream.PLANES, COUNT), "norm").pvalue > 1e-4
    assert stats.kstest(_random.cauchy(5, Stream.DIRECTIONS, COUNT), "cauchy").pvalue > 1e-4
    assert abs(_random.signs(5, Stream.ROTATIONS, COUNT).mean() - 0.5) < 4.5 * 0.5 / COUNT**0.5


def test_streams_and_seeds_are_independent():
    values = [_random.normal(seed, stream, 20_000) for seed in (0, 1, 2) for stream in Stream]
    between = np.corrcoef(values)[np.triu_indices(len(values), 1)]
    assert np.abs(between).max() < 5 / 20_000**0.5


def test_inverse_of_the_normal_distribution():
    tails = 2.0 ** -np.arange(2.0, 50.0)
    p = np.concatenate([np.linspace(1e-6, 1 - 1e-6, 100_001), tails, 2.0**-52 * tails[:1], 1 - tails])
    np.testing.assert_allclose(_random._inverse_normal(p), special.ndtri(p), rtol=1e-13, atol=1e-15)


def test_the_logarithm_is_one():
    x = np.concatenate([np.linspace(1e-3, 4, 10_001), 2.0 ** -np.arange(1.0, 60.0)])
    np.testing.assert_allclose(_random._logarithm(x), np.log(x), rtol=1e-15, atol=1e-16)


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (2**63, ValueError), (1.0, TypeError), ("1", TypeError)])
def test_seeds_that_are_none(seed, error):
    with pytest.raises(error, match=r"^seed must be"):
        _random.checked_seed(seed)
