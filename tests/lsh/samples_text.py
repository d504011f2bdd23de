# SPDX-License-Identifier: Apache-2.0
"""Calls of the operator of lsh/text for the conformance checks. Its public function takes strings, no tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from warphash.lsh.text.functional import lowered, word_points

TEXTS = (
    "The quick brown fox jumps over the lazy dog, and the quick brown fox jumps again.",
    "",
    "one",
    "Straße ÄÖÜ groß 東京は日本の首都です ١٢٣ ½ naïve_word x² and_so on 😀 \ud800 end",
    " \t\n .,;:!? ",
    "a b c d e",
    "spam " * 200,
    "a" * 64 + " " + "b" * 63 + " " + "c" * 65 + " " + "é" * 40 + "." + "d" * 128,
    "\0 nul \0\0 and antidisestablishmentarianism",
)


def bytes_of(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Text and offsets as the operator takes them."""
    parts = lowered(texts)
    text = torch.tensor(list(b"".join(parts)), dtype=torch.uint8)
    return text, torch.tensor([0, *map(len, parts)]).cumsum(0)


def noise(size: int, texts: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Bytes that are no UTF-8, cut anywhere."""
    generator = np.random.default_rng(seed)
    data = generator.integers(0, 256, size, dtype=np.uint8)
    data[generator.random(size) < 0.5] |= 0xC0
    cuts = np.sort(generator.integers(0, size + 1, texts - 1))
    return torch.from_numpy(data), torch.from_numpy(np.concatenate([[0], cuts, [size]]))


def calls() -> list[tuple[str, tuple[Any, ...]]]:
    """Names and arguments of legal calls."""
    text, offsets = bytes_of(TEXTS)
    found = [
        (f"{'words' if words else 'characters'} {ngram}", (text, offsets, word_points(), ngram, words))
        for words in (True, False)
        for ngram in (1, 5, 2**31 - 1)
    ]
    spread = torch.stack([text, 255 - text], 1)[:, 0]
    return [
        *found,
        ("no texts", (text[:0], offsets[:1], word_points(), 5, True)),
        ("empty texts", (text[:0], torch.zeros(4, dtype=torch.int64), word_points(), 5, True)),
        ("not contiguous", (spread, offsets, word_points(), 3, True)),
        ("no UTF-8", (*noise(3000, 20), word_points(), 2, True)),
        ("no UTF-8, characters", (*noise(3000, 20, 1), word_points(), 2, False)),
        ("every code point a word's", (text, offsets, torch.full_like(word_points(), 255), 2, True)),
        ("large", (*bytes_of([" ".join(f"word{i % 97}" for i in range(60_000))] * 3), word_points(), 5, True)),
    ]
