# SPDX-License-Identifier: Apache-2.0
"""Texts with near-duplicates of all degrees."""

from __future__ import annotations

import random

import pytest

ODD = [
    "",
    "  ",
    "?!",
    "hi",
    "hi",
    "Hi!",
    "one two",
    "Größe der Straße in 東京 x²",
    "GRÖSSE DER STRASSE IN 東京 x²",
    "größe der straße in 東京 x²",
    "\ud800 lone \udfff surrogate",
    "lone surrogate",
]


def planted(families: int, seed: int) -> list[str]:
    """Texts of up to 120 words, each with some copies of which up to six words are others, shuffled."""
    generator = random.Random(seed)
    words = [f"word{i}" for i in range(3000)]
    texts = []
    for _ in range(families):
        text = [generator.choice(words) for _ in range(generator.randint(0, 120))]
        texts.append(" ".join(text))
        for _ in range(generator.randint(0, 4)):
            copy = list(text)
            for _ in range(generator.randint(0, 6) if text else 0):
                copy[generator.randrange(len(copy))] = generator.choice(words)
            texts.append(" ".join(copy))
    generator.shuffle(texts)
    return texts


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """About 300."""
    return planted(100, 0) + ODD
