# SPDX-License-Identifier: Apache-2.0
"""Collision probabilities of the projections against theory and against dense random rotations, with fixed seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import warphash as wh
from torch import Tensor

LIMIT = 4.5  # standard errors


def pair_at_angle(dim: int, degrees: float, seed: int = 0) -> Tensor:
    """Two unit vectors of a random plane."""
    basis = torch.linalg.qr(torch.randn(dim, 2, generator=torch.Generator().manual_seed(seed)).double()).Q.T
    angle = math.radians(degrees)
    return torch.stack([basis[0], math.cos(angle) * basis[0] + math.sin(angle) * basis[1]]).float()


def agreement(codes: Tensor, bits: int) -> int:
    """Bits in which two packed codes agree."""
    return int((wh.hamming.unpack(codes, bits)[0] == wh.hamming.unpack(codes, bits)[1]).sum())


def z_score(hits: int, count: int, probability: float) -> float:
    """Standard errors between a share and its probability."""
    return (hits - count * probability) / math.sqrt(count * probability * (1 - probability))


@pytest.mark.parametrize("degrees", range(10, 180, 20))
@pytest.mark.parametrize("kind", ["gaussian", "rademacher"])
def test_simhash_agrees_by_the_angle(degrees: int, kind: str) -> None:
    bits, dim = 8192, 96
    codes = wh.lsh.simhash(pair_at_angle(dim, degrees), wh.lsh.random_planes(dim, bits, seed=degrees, kind=kind))
    # The limit for ±1 is that of many dimensions; 96 are enough for this many bits.
    assert abs(z_score(agreement(codes, bits), bits, 1 - degrees / 180)) < LIMIT


@pytest.mark.parametrize("degrees", range(10, 180, 20))
@pytest.mark.parametrize("dim", [64, 100])
def test_structured_simhash_agrees_by_the_angle(degrees: int, dim: int) -> None:
    bits = 16384
    codes = wh.lsh.hd3_simhash(pair_at_angle(dim, degrees), bits, seed=degrees)
    assert abs(z_score(agreement(codes, bits), bits, 1 - degrees / 180)) < LIMIT


def test_bits_are_balanced_and_independent() -> None:
    x = torch.randn(4000, 64, generator=torch.Generator().manual_seed(1))
    for codes in (wh.lsh.simhash(x, wh.lsh.random_planes(64, 128, seed=1)), wh.lsh.hd3_simhash(x, 128, seed=1)):
        bits = wh.hamming.unpack(codes, 128).double()
        assert (bits.mean(0) - 0.5).abs().max() < LIMIT * 0.5 / math.sqrt(4000)
    rotated = 2 * wh.hamming.unpack(wh.lsh.hd3_simhash(x, 64, seed=1), 64).double() - 1
    correlation = rotated.T @ rotated / 4000 - torch.eye(64).double()
    assert correlation.abs().max() < 5 / math.sqrt(4000)  # the largest of 2016


# ---- Cross-polytope -------------------------------------------------------------------------------------------------
def dense_collisions(x: Tensor, tables: int) -> int:
    """Collisions of two vectors under Gaussian matrices instead of structured rotations."""
    generator = torch.Generator().manual_seed(7)
    hits = 0
    for _ in range(tables // 500):
        y = torch.einsum("tij,nj->tni", torch.randn(500, x.shape[1], x.shape[1], generator=generator), x)
        place = y.abs().argmax(-1)
        code = place + x.shape[1] * (y.gather(-1, place[..., None])[..., 0] < 0)
        hits += int((code[:, 0] == code[:, 1]).sum())
    return hits


def test_cross_polytope_collides_as_dense_rotations_do() -> None:
    dim, tables = 64, 4000
    shares = []
    for degrees in (20, 40, 60, 90):
        x = pair_at_angle(dim, degrees, seed=degrees)
        codes = wh.lsh.cross_polytope(x, tables=tables, seed=degrees)
        share = float((codes[0] == codes[1]).double().mean())
        dense = dense_collisions(x, tables) / tables
        error = math.sqrt((share * (1 - share) + dense * (1 - dense)) / tables)
        assert abs(share - dense) < LIMIT * error
        shares.append(share)
        if degrees <= 60:  # ln(1/p) is about t^2 / (4 - t^2) ln d, up to lower-order terms
            t2 = 2 - 2 * math.cos(math.radians(degrees))
            exponent = -math.log(share) / math.log(dim)
            assert abs(exponent - t2 / (4 - t2)) < 0.25
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 3 / (2 * dim)


def test_cross_polytope_codes_are_even() -> None:
    x = torch.randn(20_000, 32, generator=torch.Generator().manual_seed(3))
    counts = np.bincount(wh.lsh.cross_polytope(x, tables=1, seed=1).flatten().numpy(), minlength=64)
    assert np.abs(counts - 20_000 / 64).max() < LIMIT * math.sqrt(20_000 / 64)


# ---- p-stable -------------------------------------------------------------------------------------------------------
def gaussian_collision(ratio: float) -> float:
    """Of two vectors whose distance is the width over `ratio`."""
    below = 0.5 * math.erfc(ratio / math.sqrt(2))
    return 1 - 2 * below - 2 / (math.sqrt(2 * math.pi) * ratio) * (1 - math.exp(-(ratio**2) / 2))


def cauchy_collision(ratio: float) -> float:
    """The same for the sum of absolute differences."""
    return 2 * math.atan(ratio) / math.pi - math.log(1 + ratio**2) / (math.pi * ratio)


@pytest.mark.parametrize("ratio", [0.25, 0.5, 1.0, 2.0, 4.0, 8.0])
@pytest.mark.parametrize("kind", ["gaussian", "cauchy"])
def test_pstable_collides_by_the_distance(ratio: float, kind: str) -> None:
    hashes, dim, width = 20_000, 24, 1.5
    x = torch.randn(2, dim, generator=torch.Generator().manual_seed(11)).double()
    norm = torch.linalg.vector_norm(x[1] - x[0], ord=2 if kind == "gaussian" else 1)
    x[1] = x[0] + (x[1] - x[0]) * (width / ratio / norm)
    directions = wh.lsh.random_directions(dim, hashes, seed=5, kind=kind)
    codes = wh.lsh.pstable(x.float(), directions, wh.lsh.random_offsets(hashes, width, seed=6), width)
    expected = gaussian_collision(ratio) if kind == "gaussian" else cauchy_collision(ratio)
    assert abs(z_score(int((codes[0] == codes[1]).sum()), hashes, expected)) < LIMIT


def test_floors_of_negative_sums_go_down() -> None:
    x = torch.tensor([[-2.0], [-1.5], [-1.0], [-0.25], [-0.0], [0.25], [1.0], [1.75]])
    codes = wh.lsh.pstable(x, torch.ones(1, 1), torch.zeros(1), 1.0)
    assert codes.flatten().tolist() == [-2, -2, -1, -1, 0, 0, 1, 1]


def test_parameters_have_their_distributions() -> None:
    planes = wh.lsh.random_planes(100, 1000, seed=1).double()
    assert abs(float(planes.mean())) < LIMIT / math.sqrt(1e5)
    assert abs(float((planes**2).mean()) - 1) < LIMIT * math.sqrt(2 / 1e5)
    signs = wh.lsh.random_planes(100, 1000, seed=1, kind="rademacher")
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(signs.double().mean())) < LIMIT / math.sqrt(1e5)
    offsets = wh.lsh.random_offsets(100_000, 3.0, seed=1).double()
    assert float(offsets.min()) >= 0
    assert float(offsets.max()) < 3
    assert abs(float(offsets.mean()) - 1.5) < LIMIT * 3 / math.sqrt(12 * 1e5)
    quartiles = wh.lsh.random_directions(100, 1000, seed=1, kind="cauchy").double().abs().median()
    assert abs(float(quartiles) - 1) < LIMIT * math.pi / 2 / math.sqrt(1e5)
