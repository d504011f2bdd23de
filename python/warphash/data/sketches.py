# SPDX-License-Identifier: Apache-2.0
"""From texts to shingles, signatures and band keys, a batch at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from .. import _checks, lsh
from .._random import checked_seed
from ..lsh.text.functional import checked_ngram, checked_unit, lowered, shingles_of_bytes

SCHEME = "affine32"
RECALL = 0.99  # of pairs whose similarity is just the threshold
# What a batch holds at most: characters (but for its last text), texts, values of signatures.
_BATCH_CHARACTERS, _BATCH_TEXTS, _BATCH_VALUES = 1 << 24, 1 << 15, 1 << 22


@dataclass(frozen=True)
class Sketching:
    """What makes two signatures comparable, and the similarity that is asked for. Checked when made."""

    threshold: float = 0.8
    ngram: int = 5
    unit: str = "word"
    num_perm: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        threshold = _checks.real("threshold", self.threshold)
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be above 0 and at most 1, got {self.threshold}")
        num_perm = _checks.count("num_perm", self.num_perm, 1)
        if num_perm > 2**20:
            raise ValueError(f"num_perm must be at most {2**20}, got {num_perm}")
        values: dict[str, Any] = {
            "threshold": threshold,
            "ngram": checked_ngram(self.ngram),
            "unit": checked_unit(self.unit),
            "num_perm": num_perm,
            "seed": checked_seed(self.seed),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def fields(self) -> dict[str, Any]:
        """For a saved state."""
        return {"scheme": SCHEME, **asdict(self)}

    def bands_for_recall(self) -> tuple[int, int]:
        """(bands, rows a band): the most rows that find a pair at the threshold with a probability of RECALL.

        A pair of similarity s meets in one of b bands of r rows with the probability 1 - (1 - s^r)^b; b is
        num_perm // r, and the last values of a signature that fill no band are left out. One row, where not even that
        is enough.
        """
        rows = max(
            (r for r in range(1, self.num_perm + 1) if self._recall(self.num_perm // r, r) >= RECALL),
            default=1,
        )
        return self.num_perm // rows, rows

    def _recall(self, bands: int, rows: int) -> float:
        return float(1 - (1 - self.threshold**rows) ** bands)

    def bands_for_estimate(self) -> tuple[int, int]:
        """(bands, rows a band) that miss no pair whose signatures agree in at least a share of the threshold.

        Such signatures differ in at most m values, and m differing values can spoil only m of m + 1 bands.
        """
        rows = self.num_perm // (self.num_perm - self.least_equal() + 1)
        return self.num_perm // rows, rows

    def least_equal(self) -> int:
        """How many equal values make an estimate of at least the threshold."""
        at_least = int(self.threshold * self.num_perm)
        return next(k for k in range(max(at_least - 1, 0), self.num_perm + 1) if k / self.num_perm >= self.threshold)


class Stages:
    """Seconds of each stage, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin


@dataclass(frozen=True)
class Batch:
    """Some texts after one another."""

    tokens: Tensor  # int64 [T]
    offsets: Tensor  # int64 [n + 1]
    signatures: Tensor  # int32 [n, num_perm]


def sketched(texts: Iterable[str], sketching: Sketching, stages: Stages) -> Iterator[Batch]:
    """Shingles and signatures of texts, of which at most a batch is held at a time."""
    count = 0
    for batch in _batches(texts, max(1, min(_BATCH_TEXTS, _BATCH_VALUES // sketching.num_perm)), stages):
        with stages("shingles"):
            tokens, offsets = shingles_of_bytes(lowered(batch, count), ngram=sketching.ngram, unit=sketching.unit)
        count += len(batch)
        with stages("signatures"):
            signatures = lsh.minhash(tokens, offsets, sketching.num_perm, seed=sketching.seed, scheme=SCHEME)
        yield Batch(tokens, offsets, signatures)


def _batches(texts: Iterable[str], most: int, stages: Stages) -> Iterator[list[str]]:
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise TypeError(f"texts must be a list or another iterable of str, got {type(texts).__name__}")
    source = iter(texts)
    while True:
        batch: list[str] = []
        characters = 0
        with stages("reading"):
            for text in source:
                batch.append(text)
                # What is no string is refused with its place, later.
                characters += len(text) if isinstance(text, str) else 0
                if characters >= _BATCH_CHARACTERS or len(batch) >= most:
                    break
        if not batch:
            return
        yield batch
