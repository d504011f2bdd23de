# SPDX-License-Identifier: Apache-2.0
"""Shingles: the definition in plain Python, Unicode, bytes that are no text, sets."""

from __future__ import annotations

import itertools
import re
import sys

import numpy as np
import pytest
import torch
import warphash as wh
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from warphash.lsh.text import reference
from warphash.lsh.text.functional import word_points

from . import samples_text

UNITS = ("word", "char")


def equal(got: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> bool:
    return all(a.dtype == torch.int64 and torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


def sets(texts: list[str], **options: object) -> list[list[int]]:
    tokens, offsets = wh.lsh.shingles(texts, **options)
    return [part.tolist() for part in tokens.split(offsets.diff().tolist())]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("ngram", [1, 2, 5, 100, 2**31 - 1])
def test_equals_the_definition(unit: str, ngram: int) -> None:
    got = wh.lsh.shingles(samples_text.TEXTS, ngram=ngram, unit=unit)
    assert equal(got, reference.shingles(samples_text.TEXTS, ngram=ngram, unit=unit))


ALPHABET = st.text(st.one_of(st.characters(), st.sampled_from("ab AB_.é\u0307İΣς\ud800\0")), max_size=150)


@settings(deadline=None, max_examples=150)
@given(st.lists(ALPHABET, max_size=6), st.integers(1, 7), st.sampled_from(UNITS))
def test_equals_the_definition_on_any_text(texts: list[str], ngram: int, unit: str) -> None:
    got = wh.lsh.shingles(texts, ngram=ngram, unit=unit)
    assert equal(got, reference.shingles(texts, ngram=ngram, unit=unit))


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 62, 63, 64, 65, 127, 128, 129])
def test_words_of_every_length_at_every_place(length: int) -> None:
    """Around the 8 bytes of a hash's step and the 64 of a mask, at the end of all text too."""
    texts = [" " * before + "x" * length + after for before in (0, 1, 31, 56, 63, 64) for after in ("", " ", " y", "é")]
    assert equal(wh.lsh.shingles(texts, ngram=2), reference.shingles(texts, ngram=2))
    assert equal(wh.lsh.shingles(texts[-1:], ngram=2), reference.shingles(texts[-1:], ngram=2))


def test_word_points_are_those_of_re_and_of_str() -> None:
    bits = np.unpackbits(word_points().numpy(), bitorder="little").astype(bool)
    assert bits.size == sys.maxunicode + 1
    pattern = re.compile(r"\w")
    for point in range(sys.maxunicode + 1):
        character = chr(point)
        if bits[point] != (character.isalnum() or character == "_"):
            raise AssertionError(hex(point))
    sample = [*range(0x3000), *range(0x3000, sys.maxunicode + 1, 7)]
    assert all(bits[point] == (pattern.match(chr(point)) is not None) for point in sample)


def test_golden_tokens() -> None:
    """Saved signatures depend on them."""
    assert sets(["The quick brown fox jumps over"], ngram=5) == [[-4637063245571854329, -4573607828639413109]]
    assert sets(["Größe"], ngram=4, unit="char") == [[2669739014036923320, 7464855601643815684]]


def test_what_counts() -> None:
    same = [["Hello, World!", "hello world", "  HELLO...world  "], ["STRASSE", "strasse"], ["a-b", "a b"]]
    for texts in same:
        first, *others = sets(texts, ngram=2)
        assert first
        assert all(other == first for other in others)
    different = [["ab c", "a bc"], ["a b", "b a"], ["a", "a a"], ["é", "e\u0301"], ["a_b", "a b"]]
    for one, other in different:
        assert sets([one], ngram=2) != sets([other], ngram=2)
    assert sets(["", " ", "?!", "\u0301", "\ud800"]) == [[]] * 5
    assert sets(["ab", " ab", "ab "], unit="char", ngram=2)[0] != sets([" ab"], unit="char", ngram=2)[0]
    assert sets(["", " "], unit="char") == [[], sets([" "], unit="char")[0]]


def test_a_text_of_fewer_units_is_one_shingle() -> None:
    short, three, four = sets(["a b", "a b c", "a b c d"], ngram=3)
    assert (len(short), len(three), len(four)) == (1, 1, 2)
    assert set(three) < set(four)
    assert sets(["a b"], ngram=2) == [short]


def test_tokens_are_ascending_and_distinct() -> None:
    generator = np.random.default_rng(0)
    texts = [" ".join(map(str, generator.integers(0, 40, size))) for size in (0, 1, 31, 33, 500, 5000, 100_000)]
    texts.append("same " * 5000)
    for ngram in (1, 2):
        for found in sets(texts, ngram=ngram):
            assert all(a < b for a, b in itertools.pairwise(found))
    assert len(sets(texts, ngram=3)[-1]) == 1


def test_an_iterator_is_read_once_and_order_is_kept() -> None:
    texts = [f"text number {i} of many" for i in range(5000)]
    whole = wh.lsh.shingles(iter(texts), ngram=2)
    assert equal(whole, wh.lsh.shingles(texts, ngram=2))
    assert sets(texts[4000:4001], ngram=2)[0] == whole[0][whole[1][4000] : whole[1][4001]].tolist()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads(threads: int) -> None:
    texts = [f"{i} " * (i % 300) for i in range(3000)]
    expected = wh.lsh.shingles(texts, ngram=1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert equal(wh.lsh.shingles(texts, ngram=1), expected)
    finally:
        torch.set_num_threads(before)


def test_another_default_device_decides_nothing() -> None:
    with torch.device("meta"):
        assert wh.lsh.shingles(["a b c"])[0].device.type == "cpu"


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        (("one text",), {}, TypeError, "^texts must be a list or another iterable of str, got str"),
        ((b"bytes",), {}, TypeError, "^texts must be a list or another iterable of str, got bytes"),
        ((5,), {}, TypeError, "^texts must be a list or another iterable of str, got int"),
        ((["a", 5],), {}, TypeError, "^texts must be strings, got int at place 1"),
        ((["a", None],), {}, TypeError, "^texts must be strings, got NoneType at place 1"),
        ((["a"],), {"ngram": 0}, ValueError, "^ngram must be at least 1, got 0"),
        ((["a"],), {"ngram": 2**31}, ValueError, "^ngram must be at most 2147483647"),
        ((["a"],), {"ngram": 2.0}, TypeError, "^ngram must be an int, got float"),
        ((["a"],), {"unit": "line"}, ValueError, "^unit must be one of word, char, got 'line'"),
        ((["a"],), {"unit": 1}, ValueError, "^unit must be one of word, char, got 1"),
    ],
)
def test_bad_input(arguments: tuple[object, ...], options: dict[str, object], error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        wh.lsh.shingles(*arguments, **options)
