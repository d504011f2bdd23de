# SPDX-License-Identifier: Apache-2.0
"""The definitions in NumPy and in Python's own integers, one set and one value after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .parameters import SCHEMES, minhash_parameters, one_permutation_parameters

_Words = npt.NDArray[np.uint64]
_MASK32, _MASK64 = 2**32 - 1, 2**64 - 1
_MERSENNE61 = 2**61 - 1
ATTEMPTS = 256
"""How many places densification tries before it takes the next bin that is not empty."""


def fmix32(x: _Words) -> _Words:
    """Murmur's finisher, a bijection of 32-bit words (held in 64)."""
    x = (x ^ (x >> np.uint64(16))) * np.uint64(0x85EBCA6B) & np.uint64(_MASK32)
    x = (x ^ (x >> np.uint64(13))) * np.uint64(0xC2B2AE35) & np.uint64(_MASK32)
    return x ^ (x >> np.uint64(16))


def fmix64(x: _Words) -> _Words:
    """Murmur's finisher, a bijection of 64-bit words."""
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> np.uint64(33))


def _words(x: Tensor) -> _Words:
    """int32 and int64 as unsigned words of their own width, held in 64 bits."""
    values = x.detach().cpu().contiguous().numpy()
    return values.view(np.dtype(f"u{values.itemsize}")).astype(np.uint64)


def _int32(x: _Words) -> Tensor:
    return torch.from_numpy(x.astype(np.uint32).view(np.int32))


def mixed(tokens: Tensor) -> _Words:
    """Tokens mixed to 32 bits: fmix32 of int32, the low half of fmix64 of int64."""
    words = _words(tokens)
    return fmix32(words) if tokens.dtype == torch.int32 else fmix64(words) & np.uint64(_MASK32)


def _values(tokens: Tensor, a: _Words, b: _Words, scheme: str) -> _Words:
    """[T, P]: what each permutation makes of each token."""
    low = np.uint64(_MASK32)
    if scheme == "datasketch_legacy":
        wrapped: _Words = (_words(tokens)[:, None] * a + b) % np.uint64(_MERSENNE61) & low
        return wrapped
    x = fmix32(_words(tokens) & low) if scheme == "datasketch" else mixed(tokens)
    if scheme == "mersenne61":
        exact = (x.astype(object)[:, None] * a.astype(object) + b.astype(object)) % _MERSENNE61 & _MASK32
        return np.asarray(exact, np.uint64)
    if scheme == "multiply_shift64":
        shifted: _Words = (x[:, None] * a + b) >> np.uint64(32)
        return shifted
    affine: _Words = (x[:, None] * (a & low) + (b & low)) & low
    return affine


def minhash_by(tokens: Tensor, offsets: Tensor, a: Tensor, b: Tensor, scheme: int) -> Tensor:
    """The operator ``lsh_minhash``: parameters as tensors, the scheme by its number."""
    values = _values(tokens, _words(a), _words(b), SCHEMES[scheme])
    bounds = offsets.tolist()
    rows = np.full((len(bounds) - 1, a.shape[0]), _MASK32, np.uint64)
    for row, begin, end in zip(rows, bounds[:-1], bounds[1:], strict=True):
        if begin < end:
            row[:] = values[begin:end].min(0)
    return _int32(rows)


def minhash(tokens: Tensor, offsets: Tensor, num_perm: int, *, seed: int, scheme: str = "affine32", **_: Any) -> Tensor:
    """The least value of each permutation."""
    a, b = minhash_parameters(num_perm, seed, scheme, torch.device("cpu"))
    return minhash_by(tokens, offsets, a, b, SCHEMES.index(scheme))


def one_permutation_by(tokens: Tensor, offsets: Tensor, num_bins: int, a: int, b: int) -> Tensor:
    """The operator ``lsh_one_permutation``: bins that no token fell into are -1."""
    low = np.uint64(_MASK32)
    hashes = np.minimum(fmix32((mixed(tokens) * np.uint64(a) + np.uint64(b)) & low), np.uint64(0xFFFFFFFE))
    bins = (hashes * np.uint64(num_bins)) >> np.uint64(32)
    bounds = offsets.tolist()
    rows = np.full((len(bounds) - 1, num_bins), _MASK32, np.uint64)
    for row, begin, end in zip(rows, bounds[:-1], bounds[1:], strict=True):
        np.minimum.at(row, bins[begin:end].astype(np.int64), hashes[begin:end])
    return _int32(rows)


def one_permutation_minhash(
    tokens: Tensor, offsets: Tensor, num_bins: int, *, seed: int, densify: bool = True, **_: Any
) -> Tensor:
    """The least hash in each bin; empty bins filled from others."""
    sparse = one_permutation_by(tokens, offsets, num_bins, *one_permutation_parameters(seed))
    return densified(sparse, seed) if densify else sparse


def densified(signatures: Tensor, seed: int) -> Tensor:
    """The operator ``lsh_densify``."""
    start = int(fmix64(np.array([seed], np.uint64))[0])
    bins = signatures.shape[1]
    place = np.arange(bins, dtype=np.uint64)
    attempt = np.arange(ATTEMPTS, dtype=np.uint64)[:, None]
    places = fmix32((place * np.uint64(0x9E3779B1) + attempt * np.uint64(0x85EBCA77) + np.uint64(start & _MASK32))
                    & np.uint64(_MASK32)) * np.uint64(bins) >> np.uint64(32)  # fmt: skip
    rows = signatures.cpu().tolist()
    tried = places.T.tolist()
    filled = [[_filled(row, i, tried[i]) for i in range(bins)] for row in rows]
    return torch.tensor(filled, dtype=torch.int32).reshape(signatures.shape)


def _filled(row: list[int], i: int, tried: list[int]) -> int:
    if row[i] != -1:
        return row[i]
    following = [*range(i + 1, len(row)), *range(i)]
    return next((row[j] for j in (*tried, *following) if row[j] != -1), -1)


def densify(signatures: Tensor, *, seed: int) -> Tensor:
    """Empty bins filled from others of their row."""
    return densified(signatures, seed)


def band_keys(signatures: Tensor, bands: int) -> Tensor:
    """A 63-bit hash of each band's values; -1 for the rows of empty sets."""
    words = _words(signatures).reshape(len(signatures), bands, signatures.shape[1] // bands)
    h = np.broadcast_to(np.arange(bands, dtype=np.uint64), words.shape[:2])
    for step in range(words.shape[2]):
        h = (h ^ words[:, :, step]) * np.uint64(0x9E3779B97F4A7C15)
        h = h ^ (h >> np.uint64(29))
    keys = torch.from_numpy((fmix64(h.copy()) & np.uint64(2**63 - 1)).view(np.int64))
    return keys.masked_fill((signatures == -1).all(1, keepdim=True).cpu(), -1)


def bbit_pack(signatures: Tensor, bits: int) -> Tensor:
    """The low bits of the mixed values, packed."""
    low = fmix32(_words(signatures))[:, :, None] >> np.arange(bits, dtype=np.uint64) & np.uint64(1)
    rows = low.reshape(signatures.shape[0], signatures.shape[1] * bits).astype(np.uint8)
    return torch.from_numpy(np.packbits(rows, axis=1, bitorder="little"))
