# SPDX-License-Identifier: Apache-2.0
"""The random parameters of sketches, made by NumPy on the CPU from a seed and kept: equal on every machine."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import torch

from ..._constants import constant, kept
from ..._random import Stream, words

SCHEMES = ("affine32", "multiply_shift64", "mersenne61", "datasketch", "datasketch_legacy")
"""Permutation schemes; an operator knows one by its place. A place never changes."""

_MERSENNE61 = 2**61 - 1
_Words = npt.NDArray[np.uint64]


def _own(num_perm: int, seed: int, scheme: str) -> tuple[_Words, _Words]:
    drawn = words(seed, Stream.MINHASH, 2 * num_perm)
    a, b = drawn[:num_perm], drawn[num_perm:]
    if scheme == "affine32":
        low = np.uint64(2**32 - 1)
        return a & low | np.uint64(1), b & low
    if scheme == "mersenne61":
        return np.uint64(1) + a % np.uint64(_MERSENNE61 - 1), b % np.uint64(_MERSENNE61)
    return a, b


def _of_datasketch(num_perm: int, seed: int, scheme: str) -> tuple[_Words, _Words]:
    """What datasketch 2.0.0 draws from NumPy's legacy generator, whose numbers are frozen."""
    generator = np.random.RandomState(seed)
    if scheme == "datasketch":
        a = generator.randint(0, 2**31, num_perm, dtype=np.uint32).astype(np.uint64)
        b = generator.randint(0, 2**32, num_perm, dtype=np.uint32).astype(np.uint64)
        return a * np.uint64(2) + np.uint64(1), b
    # One pair after the other: each draw throws away a different number of words.
    pairs = [[generator.randint(low, _MERSENNE61, dtype=np.uint64) for low in (1, 0)] for _ in range(num_perm)]
    drawn = np.array(pairs, np.uint64).reshape(num_perm, 2)
    return drawn[:, 0], drawn[:, 1]


@functools.lru_cache(maxsize=64)
def _minhash_on(num_perm: int, seed: int, scheme: str, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = (_of_datasketch if scheme.startswith("datasketch") else _own)(num_perm, seed, scheme)
    a, b = (kept(x.view(np.int64), device) for x in drawn)
    return a, b


# Constants of a compiled graph: see _constants.
@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def minhash_parameters(
    num_perm: int, seed: int, scheme: str, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors and summands of each permutation, int64 ``[num_perm]`` with the bits of uint64. Not to be written: they
    are kept.
    """
    a, b = _minhash_on(num_perm, seed, scheme, device)
    return constant(a), constant(b)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def one_permutation_parameters(seed: int) -> tuple[int, int]:
    """(factor, summand) of the one permutation, 32 bits each, the factor odd."""
    a, b = (int(word) & 2**32 - 1 for word in words(seed, Stream.ONE_PERMUTATION, 2))
    return a | 1, b
