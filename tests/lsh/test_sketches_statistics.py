# SPDX-License-Identifier: Apache-2.0
"""Sketches estimate the Jaccard similarity: bias, spread and the curve of bands, over fixed seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import warphash as wh
from torch import Tensor

SEEDS = 200
SCHEMES = ("affine32", "multiply_shift64", "mersenne61")


def _universe(kind: str, size: int, dtype: torch.dtype) -> Tensor:
    """Distinct tokens."""
    if kind == "random":
        bits = 32 if dtype == torch.int32 else 64
        drawn = np.random.default_rng(9).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), 2 * size, dtype=np.int64)
        unique = np.random.default_rng(1).permutation(np.unique(drawn))[:size]
        return torch.from_numpy(unique).to(dtype)
    step = 1 if kind == "consecutive" else 4096
    return torch.arange(1000, 1000 + step * size, step, dtype=dtype)


def _pair(union: Tensor, jaccard: float) -> tuple[Tensor, Tensor]:
    """Two sets that share the middle of a union, as neighbouring documents do: (tokens, offsets)."""
    size = len(union)
    common = round(jaccard * size)
    first = (size - common) // 2 + common
    return torch.cat([union[:first], union[first - common :]]), torch.tensor([0, first, size + common])


def _estimates(union: Tensor, jaccard: float, num_perm: int, seeds: int, **options: str) -> np.ndarray:
    t, o = _pair(union, jaccard)
    found = []
    for seed in range(seeds):
        a, b = wh.lsh.minhash(t, o, num_perm, seed=seed, **options)
        found.append(float(wh.lsh.minhash_jaccard(a, b)))
    return np.array(found)


def _no_bias(found: np.ndarray, truth: float, se: float) -> None:
    assert abs(found.mean() - truth) < 4 * se, (found.mean(), truth, se)


@pytest.mark.parametrize("kind", ["random", "consecutive", "strided"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_minhash_is_unbiased_and_of_the_right_spread(scheme: str, kind: str) -> None:
    for dtype, jaccard in ((torch.int32, 0.5), (torch.int32, 0.8), (torch.int64, 0.2), (torch.int64, 0.5)):
        found = _estimates(_universe(kind, 400, dtype), jaccard, 128, SEEDS, scheme=scheme)
        spread = np.sqrt(jaccard * (1 - jaccard) / 128)
        _no_bias(found, jaccard, spread / np.sqrt(SEEDS))
        assert 0.85 < found.std(ddof=1) / spread < 1.15, (dtype, jaccard, found.std(ddof=1) / spread)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_minhash_of_large_sets(dtype: torch.dtype) -> None:
    """100 000 tokens each: values of 32 bits collide here and there."""
    for kind in ("random", "consecutive"):
        found = _estimates(_universe(kind, 150_000, dtype), 1 / 3, 128, 40)
        _no_bias(found, 1 / 3, np.sqrt(2 / 9 / 128 / 40))


def _binned(union: Tensor, jaccard: float, bins: int, seeds: int) -> np.ndarray:
    t, o = _pair(union, jaccard)
    found = []
    for seed in range(seeds):
        a, b = wh.lsh.one_permutation_minhash(t, o, bins, seed=seed)
        found.append(float(wh.lsh.minhash_jaccard(a, b)))
    return np.array(found)


@pytest.mark.parametrize("size", [5, 20, 100, 1000])
@pytest.mark.parametrize("kind", ["random", "consecutive", "strided"])
def test_one_permutation_is_unbiased(kind: str, size: int) -> None:
    """With fewer tokens than bins too, whose values are then those of few tokens."""
    for dtype, jaccard in ((torch.int32, 0.6), (torch.int64, 0.8)):
        found = _binned(_universe(kind, size, dtype), jaccard, 128, 400)
        assert found.std() > 0
        _no_bias(found, jaccard, found.std(ddof=1) / np.sqrt(len(found)))
        # Where the set fills the bins, the spread is not above that of as many permutations.
        if size == 1000:
            assert found.std(ddof=1) < 1.15 * np.sqrt(jaccard * (1 - jaccard) / 128)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_b_bit_codes(bits: int) -> None:
    """P[equal] = 2^-b + (1 - 2^-b) J for sets much smaller than the range of hashes, and the estimate is unbiased."""
    jaccard, num_perm = 0.4, 256
    t, o = _pair(_universe("random", 500, torch.int64), jaccard)
    equal, estimates = [], []
    for seed in range(SEEDS):
        codes = wh.lsh.bbit_pack(wh.lsh.minhash(t, o, num_perm, seed=seed), bits)
        low = np.unpackbits(codes.numpy(), axis=1, bitorder="little").reshape(2, num_perm, bits)
        equal.append((low[0] == low[1]).all(1).mean())
        estimates.append(float(wh.lsh.bbit_jaccard(codes[0], codes[1], bits, num_perm)))
    probability = 2.0**-bits + (1 - 2.0**-bits) * jaccard
    se = np.sqrt(probability * (1 - probability) / num_perm / SEEDS)
    _no_bias(np.array(equal), probability, se)
    _no_bias(np.array(estimates), jaccard, se / (1 - 2.0**-bits))


def test_the_curve_of_bands() -> None:
    """P[a common key] = 1 - (1 - s^r)^b."""
    pairs, size, bands, rows = 2000, 100, 16, 8
    measured = []
    for step in range(1, 10):
        common = 10 * step
        first = (size - common) // 2 + common
        drawn = np.random.default_rng(step).integers(-(2**63), 2**63 - 1, (pairs, size), dtype=np.int64)
        tokens = np.concatenate([drawn[:, :first], drawn[:, first - common :]], 1)
        lengths = np.tile([first, size + common - first], pairs)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        signature = wh.lsh.minhash(tokens.reshape(-1), offsets, bands * rows, seed=step)
        keys = wh.lsh.band_keys(signature, bands).reshape(pairs, 2, bands)
        expected = 1 - (1 - (common / size) ** rows) ** bands
        found = (keys[:, 0] == keys[:, 1]).any(1).mean()
        measured.append(found)
        assert abs(found - expected) < 4.5 * np.sqrt(max(expected * (1 - expected), 1e-9) / pairs) + 1e-9, step
    half = float(np.interp(0.5, measured, np.arange(1, 10) / 10))
    assert abs(half - (1 / bands) ** (1 / rows)) < 0.05
