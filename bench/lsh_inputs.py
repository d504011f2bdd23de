# SPDX-License-Identifier: Apache-2.0
"""Vectors, documents, codes and signatures for the LSH benches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from bench.harness.workload import Settings

SEED = 1
LENGTH, PERMUTATIONS, BANDS = 224, 128, 16  # tokens or words of a document, values of its signature, bands of these


def sample(problem: Any, settings: Settings, per_second: float) -> tuple[Any, Any, float]:
    """Of rows or documents: (what a slow peer gets, the same if it is less than all, its share)."""
    rate = per_second * (100 if settings.device.type == "cuda" else 1)
    count = max(1, int(settings.seconds_per_call * rate))
    if count >= problem.count:
        return problem, None, 1.0
    part = problem.part(count)
    return part, part, count / problem.count


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- vectors ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vectors:
    """Rows to be hashed by planes; a rotation's signs come from the seed instead."""

    x: torch.Tensor  # [rows, dim] or [heads, rows, dim]
    planes: torch.Tensor  # float32 [dim, bits]
    bits: int  # of a code; of a cross-polytope: tables

    @property
    def count(self) -> int:
        return self.x.shape[0]

    def part(self, rows: int) -> Vectors:
        """The first rows alone."""
        return replace(self, x=self.x[:rows])


@lru_cache(maxsize=2)
def _rows(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(shape, generator=_generator(2)).to(dtype)


def vectors(
    device: torch.device, *, rows: int, dim: int, bits: int, heads: int = 0, dtype: torch.dtype = torch.float32
) -> Vectors:
    from warphash import lsh

    x = _rows((heads, rows, dim) if heads else (rows, dim), dtype)
    return Vectors(x.to(device), lsh.random_planes(dim, bits, seed=SEED).to(device), bits)


# ---- documents -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Documents:
    """Token sets in CSR: document i has tokens[offsets[i] : offsets[i + 1]]. planted: near-duplicates among them."""

    tokens: torch.Tensor  # int32 [T]
    offsets: torch.Tensor  # int64 [documents + 1]
    num_perm: int
    planted: int = 0

    @property
    def count(self) -> int:
        return len(self.offsets) - 1

    def part(self, documents: int) -> Documents:
        """The first documents alone."""
        end = int(self.offsets[documents])
        return replace(self, tokens=self.tokens[:end], offsets=self.offsets[: documents + 1])

    def rows(self) -> list[np.ndarray[Any, Any]]:
        """One array of tokens a document."""
        return np.split(self.tokens.numpy(), self.offsets.numpy()[1:-1])


@lru_cache(maxsize=2)
def _documents(count: int, length: int, duplicates: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(3)
    tokens = generator.integers(-(2**31), 2**31, (count, length), dtype=np.int32)
    # Every ninth or so document is a copy of its neighbour with up to a tenth of its tokens changed.
    places = generator.choice(count // 2, duplicates, replace=False) * 2 + 1
    tokens[places] = tokens[places - 1]
    changed = generator.random((duplicates, length)) < generator.uniform(0, 0.1, (duplicates, 1))
    tokens[places] = np.where(changed, generator.integers(-(2**31), 2**31, changed.shape), tokens[places])
    offsets = np.arange(0, (count + 1) * length, length, dtype=np.int64)
    return torch.from_numpy(tokens.reshape(-1)), torch.from_numpy(offsets)


def documents(
    device: torch.device, *, count: int, length: int = LENGTH, num_perm: int = PERMUTATIONS, duplicates: int = 0
) -> Documents:
    tokens, offsets = _documents(count, length, duplicates)
    return Documents(tokens.to(device), offsets.to(device), num_perm, duplicates)


@dataclass(frozen=True)
class Texts:
    """Strings of lower-case words; every ninth or so is its neighbour with up to a twentieth of its words changed."""

    texts: list[str]

    @property
    def count(self) -> int:
        return len(self.texts)

    def part(self, texts: int) -> Texts:
        """The first texts alone."""
        return Texts(self.texts[:texts])


@lru_cache(maxsize=1)
def texts(device: torch.device, *, count: int, words: int = LENGTH) -> Texts:
    generator = np.random.default_rng(4)
    letters = generator.integers(ord("a"), ord("z") + 1, (1 << 15, 9), dtype=np.uint8)
    lengths = generator.integers(3, 10, len(letters))
    vocabulary = [bytes(row[:length]).decode() for row, length in zip(letters, lengths, strict=True)]
    chosen = generator.zipf(1.2, (count, words)) % len(vocabulary)
    places = generator.choice(count // 2, count // 9, replace=False) * 2 + 1
    kept = generator.random((len(places), words)) >= generator.uniform(0, 0.05, (len(places), 1))
    chosen[places] = np.where(kept, chosen[places - 1], chosen[places])
    return Texts([" ".join([vocabulary[word] for word in row]) for row in chosen.tolist()])


# ---- signatures ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signatures:
    """MinHash signatures of documents, cut into bands; digests: the same documents for rensa."""

    values: torch.Tensor  # int32 [documents, num_perm]
    bands: int
    documents: Documents

    @property
    def count(self) -> int:
        return len(self.values)


def signatures(device: torch.device, *, count: int, bands: int, duplicates: int) -> Signatures:
    from warphash import lsh

    found = documents(device, count=count, duplicates=duplicates)
    values = lsh.minhash(found.tokens, found.offsets, found.num_perm, seed=SEED)
    return Signatures(values, bands, found)


# ---- codes -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Codes:
    """Codes of several tables, and codes to look up in them."""

    codes: torch.Tensor  # [tables, items]
    num_buckets: int
    queries: torch.Tensor | None = None  # [tables, queries]

    @property
    def count(self) -> int:
        return self.codes.numel()


def codes(
    device: torch.device, *, tables: int, items: int, num_buckets: int, dtype: torch.dtype, queries: int = 0
) -> Codes:
    drawn = torch.randint(0, num_buckets, (tables, items), generator=_generator(4))
    asked = None
    if queries:
        # What is looked for has the codes of one item in half of the tables: as near neighbours have.
        asked = torch.randint(0, num_buckets, (tables, queries), generator=_generator(5))
        asked[: tables // 2] = drawn[: tables // 2, :queries]
        asked = asked.to(device=device, dtype=dtype)
    return Codes(drawn.to(device=device, dtype=dtype), num_buckets, asked)


# ---- sequences -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sequences:
    """Values of users' histories, and their buckets in several tables."""

    values: torch.Tensor  # float32 [users, items, dim]
    codes: torch.Tensor  # int32 [users, tables, items]
    num_buckets: int

    @property
    def count(self) -> int:
        return self.codes.numel()


def sequences(device: torch.device, *, users: int, items: int, dim: int, tables: int, num_buckets: int) -> Sequences:
    values = torch.randn(users, items, dim, generator=_generator(6))
    drawn = torch.randint(0, num_buckets, (users, tables, items), generator=_generator(7), dtype=torch.int32)
    return Sequences(values.to(device), drawn.to(device), num_buckets)
