# SPDX-License-Identifier: Apache-2.0
"""Random planes, directions, offsets and rotations from a seed, made by NumPy on the CPU, equal on every machine."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ... import _checks
from ..._constants import constant, kept
from ..._random import Stream, cauchy, checked_seed, normal, signs, uniform

SMALLEST_ROTATION = 8
LARGEST_ROTATION = 2**30  # codes, up to twice the size, are int32
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def _kind(kind: Any, kinds: tuple[str, str]) -> str:
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"kind must be {kinds[0]!r} or {kinds[1]!r}, got {kind!r}")
    return kind


# A constant of a compiled graph: see _constants.
@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def _tensor(maker: str, seed: int, stream: int, shape: tuple[int, ...], factor: float = 1.0) -> torch.Tensor:
    count = math.prod(shape)
    if count >= 2**48:
        raise ValueError(f"dim, bits and hashes must be sizes of fewer than 2^48 values, got {shape}")
    if maker == "signs":
        values: npt.NDArray[Any] = np.where(signs(seed, Stream(stream), count), np.float32(-1), np.float32(1))
    else:
        values = {"normal": normal, "cauchy": cauchy, "uniform": uniform}[maker](seed, Stream(stream), count)
        if maker == "uniform":  # rounding must not reach the end of the interval
            below = np.nextafter(np.float32(factor), np.float32(0))
            values = np.minimum((values * factor).astype(np.float32), below)
    return constant(torch.from_numpy(values.astype(np.float32).reshape(shape)))


def _count(name: str, value: Any) -> int:
    return operator.index(_checks.count(name, value))


def random_planes(dim: int, bits: int, *, seed: int, kind: str = "gaussian") -> torch.Tensor:
    """Random planes through the origin for :func:`simhash`.

    Args:
        dim: of the vectors to hash, >= 0.
        bits: how many planes, >= 0.
        seed: 0 to 2^63 - 1. Equal arguments give equal planes on every machine; torch's generator is not touched.
        kind: ``"gaussian"``, standard normal normals, or ``"rademacher"``, whose normals are ±1: with inputs that are
            small integers all sums are then exact, in any precision.

    Returns:
        float32 ``[dim, bits]`` on the CPU; column ``j`` is the normal of plane ``j``.

    Raises:
        TypeError: ``dim``, ``bits`` or ``seed`` is no int.
        ValueError: one of them is negative, ``seed`` is 2^63 or more, ``kind`` is another word.

    Complexity: O(dim bits), tens of nanoseconds a Gaussian value; meant to be called once.
    """
    shape = (_count("dim", dim), _count("bits", bits))
    seed = operator.index(checked_seed(seed))
    maker = "normal" if _kind(kind, ("gaussian", "rademacher")) == "gaussian" else "signs"
    made: torch.Tensor = _tensor(maker, seed, int(Stream.PLANES), shape)
    return made


def random_directions(dim: int, hashes: int, *, seed: int, kind: str = "gaussian") -> torch.Tensor:
    """Random directions for :func:`pstable`.

    Args:
        dim: of the vectors to hash, >= 0.
        hashes: how many directions, >= 0.
        seed: 0 to 2^63 - 1.
        kind: ``"gaussian"``, 2-stable, for Euclidean distance, or ``"cauchy"``, 1-stable, for the sum of absolute
            differences.

    Returns:
        float32 ``[dim, hashes]`` on the CPU.

    Raises:
        TypeError, ValueError: as for :func:`random_planes`.

    Source: Datar, Immorlica, Indyk and Mirrokni, "Locality-sensitive hashing scheme based on p-stable distributions",
    2004.
    """
    shape = (_count("dim", dim), _count("hashes", hashes))
    seed = operator.index(checked_seed(seed))
    maker = "normal" if _kind(kind, ("gaussian", "cauchy")) == "gaussian" else "cauchy"
    made: torch.Tensor = _tensor(maker, seed, int(Stream.DIRECTIONS), shape)
    return made


def checked_width(width: Any, wide: bool) -> float:
    """The width of p-stable hashing's intervals, which must be one in the dtype of the computation."""
    value = _checks.number("width", width)
    largest = _LARGEST_FLOAT32 if not wide else float(np.finfo(np.float64).max)
    if not (0 < value <= largest):  # NaN fails it too
        raise ValueError(f"width must be above 0 and finite, got {width}")
    if not wide and value < 2.0**-149:
        raise ValueError(f"width must be above 0 in float32, got {width}")
    return value


def random_offsets(hashes: int, width: float, *, seed: int) -> torch.Tensor:
    """Random offsets for :func:`pstable`, uniform in ``[0, width)``.

    Args:
        hashes: how many, >= 0.
        width: of the intervals, > 0.
        seed: 0 to 2^63 - 1; the stream is another than that of :func:`random_directions`.

    Returns:
        float32 ``[hashes]`` on the CPU.

    Raises:
        TypeError: ``hashes`` or ``seed`` is no int, ``width`` no number.
        ValueError: ``hashes`` is negative, ``width`` not above 0 or not finite in float32.
    """
    count, value = _count("hashes", hashes), checked_width(width, wide=False)
    made: torch.Tensor = _tensor("uniform", operator.index(checked_seed(seed)), int(Stream.OFFSETS), (count,), value)
    return made


def rotation_size(dim: int) -> int:
    """Of the Hadamard transform that vectors of ``dim`` are padded for: a power of two, at least 8."""
    size = SMALLEST_ROTATION
    while size < dim:  # by comparisons, so that a compiled graph serves all dimensions of one size
        size *= 2
        if size > LARGEST_ROTATION:
            raise ValueError(f"x must have at most {LARGEST_ROTATION} dimensions, got {dim}")
    return size


@functools.lru_cache(maxsize=64)
def _signs_on(rotations: int, size: int, seed: int, device: torch.device) -> torch.Tensor:
    bits = signs(seed, Stream.ROTATIONS, rotations * 3 * size)
    packed = np.packbits(bits, bitorder="little").reshape(rotations, 3, size // 8)
    return kept(packed, device)


@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def rotation_signs(rotations: int, size: int, seed: int, device: torch.device) -> torch.Tensor:
    """Signs of rotations, uint8 ``[rotations, 3, size / 8]``, bit 1 = negate. Not to be written: it is kept."""
    return constant(_signs_on(rotations, size, seed, device))
