# SPDX-License-Identifier: Apache-2.0
"""The public function of shingles: texts to bytes, then one operator."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from ... import _checks

__all__ = ["shingles"]

UNITS = ("word", "char")
LONGEST_NGRAM = 2**31 - 1
_POINTS = 0x110000


def checked_ngram(value: object) -> int:
    """An n-gram's length."""
    ngram = _checks.count("ngram", value, 1)
    if ngram > LONGEST_NGRAM:
        raise ValueError(f"ngram must be at most {LONGEST_NGRAM}, got {ngram}")
    return ngram


def checked_unit(value: object) -> str:
    """The name of a unit."""
    if not isinstance(value, str) or value not in UNITS:
        raise ValueError(f"unit must be one of {', '.join(UNITS)}, got {value!r}")
    return value


@functools.cache
def word_points() -> Tensor:
    r"""The code points that ``\w`` of :mod:`re` matches, as bits: uint8 ``[0x110000 / 8]``, the lowest bit first."""
    every = np.arange(_POINTS, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    points = np.zeros(_POINTS, np.uint8)
    for run in re.finditer(r"\w+", every):
        points[run.start() : run.end()] = 1
    return torch.from_numpy(np.packbits(points, bitorder="little"))


def lowered(texts: Iterable[str], first: int = 0) -> list[bytes]:
    """Each text in lower case as UTF-8; lone surrogates pass. ``first``: the number of the first one, for the error."""
    out = []
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"texts must be strings, got {type(text).__name__} at place {first + len(out)}")
        out.append(text.lower().encode("utf-8", "surrogatepass"))
    return out


def shingles_of_bytes(texts: Sequence[bytes], *, ngram: int, unit: str) -> tuple[Tensor, Tensor]:
    """Of texts as :func:`lowered` gives them."""
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    offsets = torch.zeros(len(texts) + 1, dtype=torch.int64, device="cpu")
    torch.cumsum(torch.from_numpy(sizes), 0, out=offsets[1:])
    joined = bytearray().join(texts)
    text = torch.frombuffer(joined, dtype=torch.uint8) if joined else torch.empty(0, dtype=torch.uint8, device="cpu")
    tokens, bounds = torch.ops.warphash.lsh_shingles(text, offsets, word_points(), ngram, unit == "word")
    return tokens, bounds


def shingles(texts: Iterable[str], *, ngram: int = 5, unit: str = "word") -> tuple[Tensor, Tensor]:
    r"""The set of shingles of each text: hashes of ``ngram`` units after one another.

    A text is put into lower case (:meth:`str.lower`, so by Unicode's rules). Its units are

    - ``"word"``: its runs of ``\w`` as :mod:`re` knows them for strings: letters, digits and other numbers of all
      scripts, and the underscore. Whatever stands between them does not count. Marks that combine with a letter are no
      ``\w``; texts in another normal form of Unicode are other texts.
    - ``"char"``: its code points as they stand, white space and punctuation too.

    All runs of ``ngram`` units are its shingles; a text with fewer units, but at least one, is one shingle of all of
    them, and one without units has none. A set knows neither the order of shingles nor how often one occurs.

    Hashes, all mod 2^64: of a word h = 0, then for each 8 bytes c of its UTF-8 (little-endian, zeros behind the last)
    h = (h ^ c) · 0x9E3779B97F4A7C15 and h ^= h >> 32; of a character h = its code point + 1; of either u = fmix64(h),
    the finisher of MurmurHash3. A shingle's token is fmix64(Σ u[j] · 0xD1342543DE82EF95^(n − 1 − j)) as a signed
    number. Which code points are ``\w`` depends on Python's version of Unicode, nothing on the machine. The hash is no
    cryptographic one: two shingles have the same token by chance (once in 2^64 pairs) or on purpose.

    Args:
        texts: strings, of which an iterator is read once. Lone surrogates are characters like others.
        ngram: units a shingle, at least 1.
        unit: see above.

    Returns:
        (tokens int64 ``[T]``, ascending and distinct within a text; offsets int64 ``[N + 1]``): text i has the tokens
        ``tokens[offsets[i] : offsets[i + 1]]``. On the CPU, where texts are.

    Raises:
        TypeError: ``texts`` is one string, is not iterable or holds something else, ``ngram`` is no int.
        ValueError: ``ngram`` is below 1, ``unit`` is another word.

    Complexity: O(bytes), whatever ``ngram`` is. Memory: the texts as UTF-8, and 16 bytes a shingle.

    Source: Broder, "On the resemblance and containment of documents", 1997.
    """
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise TypeError(f"texts must be a list or another iterable of str, got {type(texts).__name__}")
    length, kind = checked_ngram(ngram), checked_unit(unit)
    return shingles_of_bytes(lowered(texts), ngram=length, unit=kind)
