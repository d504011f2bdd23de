# SPDX-License-Identifier: Apache-2.0
"""The definition of shingles in plain Python: one text at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

_MASK = 2**64 - 1
_GOLDEN, _BASE = 0x9E3779B97F4A7C15, 0xD1342543DE82EF95


def _fmix64(x: int) -> int:
    x = (x ^ x >> 33) * 0xFF51AFD7ED558CCD & _MASK
    x = (x ^ x >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return x ^ x >> 33


def unit_hashes(text: str, unit: str = "word") -> list[int]:
    """The hash of each unit of a text, in order."""
    lower = text.lower()
    if unit == "char":
        return [_fmix64(ord(point) + 1) for point in lower]
    hashes = []
    for word in re.findall(r"\w+", lower):
        data = word.encode()
        h = 0
        for begin in range(0, len(data), 8):
            h = (h ^ int.from_bytes(data[begin : begin + 8], "little")) * _GOLDEN & _MASK
            h ^= h >> 32
        hashes.append(_fmix64(h))
    return hashes


def text_shingles(text: str, *, ngram: int = 5, unit: str = "word") -> set[int]:
    """The set of a text's shingles, as signed numbers."""
    hashes = unit_hashes(text, unit)
    n = min(ngram, len(hashes))
    found = set()
    for begin in range(len(hashes) - n + 1 if n else 0):
        total = 0
        for h in hashes[begin : begin + n]:
            total = (total * _BASE + h) & _MASK
        token = _fmix64(total)
        found.add(token - 2**64 if token >> 63 else token)
    return found


def shingles(texts: Iterable[str], *, ngram: int = 5, unit: str = "word") -> tuple[Tensor, Tensor]:
    """Tokens int64 [T], offsets int64 [N + 1]."""
    sets = [sorted(text_shingles(text, ngram=ngram, unit=unit)) for text in texts]
    offsets = torch.tensor([0, *map(len, sets)]).cumsum(0)
    return torch.tensor([token for tokens in sets for token in tokens], dtype=torch.int64), offsets
