# SPDX-License-Identifier: Apache-2.0
"""Codes for the Hamming benches: random, sorted against us, and real ones from handwritten digits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from bench.harness.workload import Unavailable


@dataclass(frozen=True)
class Search:
    """One search problem. queries: uint8 [Q, bytes], or float32 [Q, bits] for asymmetric scores."""

    queries: torch.Tensor
    database: torch.Tensor  # uint8 [N, bytes]
    k: int = 10
    radius: int = 0

    @property
    def query_count(self) -> int:
        return self.queries.shape[0]

    @property
    def code_count(self) -> int:
        return self.database.shape[0]

    @property
    def pairs(self) -> int:
        return self.query_count * self.code_count

    @property
    def bits(self) -> int:
        return 8 * self.database.shape[1]

    def part(self, queries: int, codes: int | None = None) -> Search:
        """The first queries and codes alone."""
        return replace(self, queries=self.queries[:queries], database=self.database[:codes])

    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return self.queries.cpu().numpy(), self.database.cpu().numpy()

    def words(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Both as 64-bit words; the width must be a multiple of 64."""
        queries, database = self.arrays()
        return queries.view(np.uint64), database.view(np.uint64)


def _bytes(rows: int, bits: int, seed: int) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    return torch.from_numpy(np.frombuffer(generator.bytes(rows * bits // 8), np.uint8).reshape(rows, bits // 8).copy())


@lru_cache(maxsize=2)
def random_database(codes: int, bits: int) -> torch.Tensor:
    """Independent random bits: all distances are near bits / 2, so that nothing can be pruned."""
    return _bytes(codes, bits, seed=bits)


def random_search(device: torch.device, queries: int, codes: int, bits: int, k: int = 10) -> Search:
    return Search(_bytes(queries, bits, seed=1).to(device), random_database(codes, bits).to(device), k)


def falling_search(device: torch.device, queries: int, codes: int, bits: int, k: int = 10) -> Search:
    """The database lies by falling distance: every code beats all before it. Queries are near copies of one."""
    one = _bytes(1, bits, seed=1)
    flips = _bytes(queries, bits, seed=2) & _bytes(queries, bits, seed=3) & _bytes(queries, bits, seed=4)
    flips &= _bytes(queries, bits, seed=5) & _bytes(queries, bits, seed=6)
    flips[0] = 0
    generator = np.random.default_rng(7)
    distances = np.sort(generator.integers(0, bits + 1, codes))[::-1]
    # The first `distance` bits of a random cyclic shift differ, so that codes at one distance are not all alike.
    differing = np.empty((codes, bits // 8), np.uint8)
    for start in range(0, codes, 1 << 16):
        piece = distances[start : start + (1 << 16), None]
        shift = generator.integers(0, bits, piece.shape)
        differing[start : start + len(piece)] = np.packbits((np.arange(bits) + shift) % bits < piece, axis=1)
    database = one ^ torch.from_numpy(differing)
    return Search((one ^ flips).to(device), database.to(device), k)


@lru_cache(maxsize=1)
def _digit_codes(codes: int, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(held-out queries, database) of scikit-learn's 1797 handwritten digits.

    The 64 grey values, centred, go through a random projection to `bits` dimensions, and each sign is a bit. One digit
    in eight is a query; the others are repeated to `codes` rows, each copy with one bit in twenty flipped.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise Unavailable(f"scikit-learn's digits are needed: {error}") from error
    images = load_digits().data
    generator = np.random.default_rng(11)
    centred = images - images.mean(0)
    signs = centred @ generator.standard_normal((images.shape[1], bits)) >= 0
    held_out = np.arange(len(images)) % 8 == 0
    stored = np.packbits(signs[~held_out], axis=1, bitorder="little")
    rows = stored[np.arange(codes) % len(stored)]
    for start in range(0, codes, 1 << 16):
        piece = rows[start : start + (1 << 16)]
        piece ^= np.packbits(generator.random((len(piece), bits), np.float32) < 0.05, axis=1, bitorder="little")
    queries = np.packbits(signs[held_out], axis=1, bitorder="little")
    return torch.from_numpy(queries), torch.from_numpy(rows)


def digit_search(device: torch.device, queries: int, codes: int, bits: int, k: int = 10) -> Search:
    """Real codes: clustered, with many equal distances."""
    known, database = _digit_codes(codes, bits)
    return Search(known[torch.arange(queries) % len(known)].to(device), database.to(device), k)


def asymmetric_search(device: torch.device, queries: int, codes: int, bits: int, k: int = 10) -> Search:
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(queries, bits, generator=generator)
    return Search(weights.to(device), random_database(codes, bits).to(device), k)


@lru_cache(maxsize=1)
def _clusters(codes: int, bits: int) -> torch.Tensor:
    """Near copies of a thousand random codes, one bit in sixteen flipped."""
    flips = _bytes(codes, bits, seed=21)
    for seed in range(22, 25):
        flips &= _bytes(codes, bits, seed)
    return _bytes(1000, bits, seed=20)[torch.arange(codes) % 1000] ^ flips


def range_search(device: torch.device, queries: int, codes: int, bits: int, radius: int) -> Search:
    """Each query finds about one code in a thousand within an eighth of the bits."""
    database = _clusters(codes, bits)
    chosen = database[torch.arange(queries) * 7 % codes]
    return Search(chosen.to(device), database.to(device), radius=radius)
