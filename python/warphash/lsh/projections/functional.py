# SPDX-License-Identifier: Apache-2.0
"""The public functions of projections: checks of arguments, then one operator each.

Codes are integers and have no derivative. Except in the mode ``"fast"`` of :func:`simhash` they are equal bit for bit
on every instruction set, thread count and device: a projection is one chain of fused multiply-adds in the order of the
dimensions, in float64 for float64 vectors and in float32 for all others. NaN gives bit 0, both zeros give 1.
"""

from __future__ import annotations

import operator
from typing import Any

import torch

from ... import _checks
from ..._random import checked_seed
from ...interop import as_tensor, like
from .parameters import (
    checked_width,
    random_directions,
    random_offsets,
    random_planes,
    rotation_signs,
    rotation_size,
)

__all__ = [
    "cross_polytope",
    "hd3_simhash",
    "pstable",
    "random_directions",
    "random_offsets",
    "random_planes",
    "simhash",
    "simhash_codes",
]

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MOST_BITS_A_CODE = 30


def _vectors(x: Any) -> torch.Tensor:
    """Vectors ``[..., dim]``, without their derivative: codes are constants."""
    vectors = _checks.dense("x", as_tensor(x, "x")).detach()
    if vectors.dtype not in _FLOATS:
        raise TypeError(f"x must be float16, bfloat16, float32 or float64, got {vectors.dtype}")
    if vectors.dim() == 0:
        raise ValueError("x must be [..., dim], got a 0-dimensional tensor")
    _checks.device_served("x", vectors)
    return vectors


def _weights(name: str, weights: Any, x: torch.Tensor, shape: str) -> torch.Tensor:
    """Planes, directions or offsets of the rank that ``shape`` tells, float32, or float64 beside float64 vectors."""
    values = _checks.dense(name, as_tensor(weights, name)).detach()
    allowed = (torch.float32, torch.float64) if x.dtype == torch.float64 else (torch.float32,)
    if values.dtype not in allowed:
        wanted = " or ".join(str(dtype).removeprefix("torch.") for dtype in allowed)
        raise TypeError(f"{name} must be {wanted} beside x of {x.dtype}, got {values.dtype}")
    if values.dim() != shape.count(",") + 1:
        raise ValueError(f"{name} must be {shape}, got shape {tuple(values.shape)}")
    _checks.same_device("x", x, name, values)
    return values


def _rows_fit(name: str, weights: torch.Tensor, x: torch.Tensor) -> None:
    if weights.shape[0] != x.shape[-1]:
        raise ValueError(f"{name} must have {x.shape[-1]} rows, the dimensions of x, got {weights.shape[0]}")


def _one_of(name: str, value: Any, choices: tuple[str, str]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be {choices[0]!r} or {choices[1]!r}, got {value!r}")
    return value


def simhash(x: Any, planes: Any, *, precision: str = "exact") -> Any:
    """SimHash: on which side of random planes vectors lie, as packed bits.

    Two vectors at the angle t agree in a bit of Gaussian planes with probability ``1 - t / pi``. The codes are those of
    :mod:`warphash.hamming`.

    Args:
        x: ``[..., dim]``, float16, bfloat16, float32 or float64.
        planes: ``[dim, bits]``, float32 (beside a float64 ``x`` float64 too), as from :func:`random_planes`.
        precision: ``"exact"``, or ``"fast"``: values and planes rounded to bfloat16 and summed in float32, where the
            machine has instructions for it (AMX-BF16, AVX512_BF16, tensor cores), else as exact. It may flip bits of
            vectors that nearly lie on a plane. What bfloat16 holds exactly, such as integers to 256 against Rademacher
            planes, gives the exact bits. A float64 ``x`` is always hashed exactly.

    Returns:
        uint8 ``[..., ceil(bits / 8)]``: bit ``j % 8`` of byte ``j // 8`` is 1 where ``x · planes[:, j] >= 0``; NaN
        gives 0, spare bits are 0. Without dimensions all bits are 1.

    Raises:
        TypeError: wrong dtypes.
        ValueError: shapes or devices do not fit, ``precision`` is another word.

    Complexity: O(rows dim bits). Workspace: the planes once more, laid out anew in each call, and for each thread at
    most 64 KiB and 96 rows of codes; half types 24 to 96 rows of ``x`` in float32 too. Source: Charikar, "Similarity
    estimation techniques from rounding algorithms", 2002.
    """
    vectors = _vectors(x)
    columns = _weights("planes", planes, vectors, "[dim, bits]")
    _rows_fit("planes", columns, vectors)
    fast = _one_of("precision", precision, ("exact", "fast")) == "fast"
    return like(x, torch.ops.warphash.lsh_simhash(vectors, columns, fast))


def simhash_codes(x: Any, planes: Any, *, order: str = "binary") -> Any:
    """SimHash as one integer for each of several hashes: numbers of buckets.

    Args:
        x: ``[..., dim]``, float16, bfloat16, float32 or float64.
        planes: ``[dim, hashes, bits]`` with 1 to 30 bits, float32 (beside a float64 ``x`` float64 too).
        order: ``"binary"``: bit ``t`` of hash ``h`` is the side of ``planes[:, h, t]``. ``"gray"``: that code's rank in
            the order of Gray codes, so that neighbouring numbers differ in one side alone.

    Returns:
        int32 ``[..., hashes]`` in ``[0, 2^bits)``; NaN gives bit 0.

    Raises:
        TypeError: wrong dtypes.
        ValueError: shapes or devices do not fit, bits are not 1 to 30, ``order`` is another word.

    Complexity: as for :func:`simhash`.
    """
    vectors = _vectors(x)
    columns = _weights("planes", planes, vectors, "[dim, hashes, bits]")
    _rows_fit("planes", columns, vectors)
    bits = columns.shape[2]
    if not 1 <= bits <= MOST_BITS_A_CODE:
        raise ValueError(f"planes must have 1 to {MOST_BITS_A_CODE} bits a hash, got {bits}")
    gray = _one_of("order", order, ("binary", "gray")) == "gray"
    return like(x, torch.ops.warphash.lsh_simhash_codes(vectors, columns.flatten(1), bits, gray))


def hd3_simhash(x: Any, bits: int, *, seed: int) -> Any:
    """SimHash by structured rotations: 3 log2 D additions a bit in the place of ``dim`` multiplications.

    In the place of dense planes stand rotations of D = the next power of two of ``dim`` (at least 8): three rounds of
    random signs and a fast Hadamard transform. Each gives D bits.

    Args:
        x: ``[..., dim]``, float16, bfloat16, float32 or float64; padded with zeros to D.
        bits: how many, >= 0; the first ``bits`` of as many rotations as needed.
        seed: 0 to 2^63 - 1.

    Returns:
        uint8 ``[..., ceil(bits / 8)]``, as from :func:`simhash`. A rotated value that is NaN gives 0.

    Raises:
        TypeError: ``x`` is not floating point, ``bits`` or ``seed`` no int.
        ValueError: ``x`` is 0-dimensional or has more than 2^30 dimensions, a number is out of range.

    Complexity: O(rows bits log D) additions. Workspace: 12 D bytes a rotation where D is at most 256, and for each
    thread 4 D bytes and a block of padded rows, 64 KiB or one row (twice as much for float64). Source: Andoni, Indyk,
    Laarhoven, Razenshteyn and Schmidt, "Practical and optimal LSH for angular distance", 2015.
    """
    vectors, count = _vectors(x), operator.index(_checks.count("bits", bits))
    size = rotation_size(vectors.shape[-1])
    signs = rotation_signs(-(-count // size), size, operator.index(checked_seed(seed)), vectors.device)
    return like(x, torch.ops.warphash.lsh_hd3(vectors, signs, count))


def cross_polytope(x: Any, *, tables: int, seed: int) -> Any:
    """Cross-polytope codes: which of the 2 D signed axes is nearest after a random rotation.

    Args:
        x: ``[..., dim]``, float16, bfloat16, float32 or float64; padded with zeros to D, the next power of two (at
            least 8). Lengths play no part.
        tables: how many rotations, >= 0.
        seed: 0 to 2^63 - 1. The rotations are those of :func:`hd3_simhash`.

    Returns:
        int32 ``[..., tables]`` in ``[0, 2 D)``: the place of the largest absolute value, the lowest of equals, plus D
        if it is negative. NaN never is the largest; of NaN alone the code is 0.

    Raises:
        TypeError: ``x`` is not floating point, ``tables`` or ``seed`` no int.
        ValueError: ``x`` is 0-dimensional or has more than 2^30 dimensions, a number is out of range.

    Complexity: O(rows tables D log D) additions; workspace as for :func:`hd3_simhash`. Source: as there.
    """
    vectors, count = _vectors(x), operator.index(_checks.count("tables", tables))
    size = rotation_size(vectors.shape[-1])
    signs = rotation_signs(count, size, operator.index(checked_seed(seed)), vectors.device)
    return like(x, torch.ops.warphash.lsh_cross_polytope(vectors, signs))


def pstable(x: Any, directions: Any, offsets: Any, width: float) -> Any:
    """p-stable codes (E2LSH): the interval of a random line into which a vector falls.

    Args:
        x: ``[..., dim]``, float16, bfloat16, float32 or float64.
        directions: ``[dim, hashes]``, float32 (beside a float64 ``x`` float64 too), as from :func:`random_directions`.
        offsets: ``[hashes]``, likewise, as from :func:`random_offsets`.
        width: of the intervals, > 0; rounded to the dtype of the computation.

    Returns:
        int32 ``[..., hashes]`` = ``floor((x · direction + offset) / width)``: the sum and the quotient are each rounded
        once; beyond int32 its ends, NaN gives -2147483648.

    Raises:
        TypeError: wrong dtypes, ``width`` is no number.
        ValueError: shapes or devices do not fit, ``width`` is not above 0 or not finite.

    Complexity: as for :func:`simhash` with ``hashes`` bits. Source: Datar, Immorlica, Indyk and Mirrokni,
    "Locality-sensitive hashing scheme based on p-stable distributions", 2004.
    """
    vectors = _vectors(x)
    columns = _weights("directions", directions, vectors, "[dim, hashes]")
    _rows_fit("directions", columns, vectors)
    shifts = _weights("offsets", offsets, vectors, "[hashes]")
    if shifts.shape[0] != columns.shape[1]:
        raise ValueError(f"offsets must have {columns.shape[1]} values, one a direction, got {shifts.shape[0]}")
    value = checked_width(width, wide=vectors.dtype == torch.float64)
    return like(x, torch.ops.warphash.lsh_pstable(vectors, columns, shifts, value))
