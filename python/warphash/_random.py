# SPDX-License-Identifier: Apache-2.0
"""Parameters of hash functions from a seed: the same numbers on every machine and for ever.

The generator is counter-based, SplitMix64's output function of key + counter · golden ratio (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", 2014): integers alone, no state, no library's distribution. A stream
keeps parameters of different purposes apart. Normal values come from 52 bits by Wichura's inverse of the normal
distribution (Algorithm AS 241, 1988), whose logarithm is our own, since a libm's differs from another's in last bits:
every step is one correctly rounded float64 operation.
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _checks

_Words = npt.NDArray[np.uint64]
_Floats = npt.NDArray[np.float64]
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


class Stream(enum.IntEnum):
    """What the numbers are for. A stream's number never changes: saved hashes depend on it."""

    PLANES = 1
    ROTATIONS = 2
    DIRECTIONS = 3
    OFFSETS = 4
    MINHASH = 5
    ONE_PERMUTATION = 6
    SAMPLES = 7
    WALKS = 8


def checked_seed(seed: Any) -> int:
    """A seed: any int from 0 to 2^63 - 1."""
    value = _checks.count("seed", seed)
    if value >= 2**63:
        raise ValueError(f"seed must be below 2^63, got {value}")
    return value


def _mixed(x: _Words) -> _Words:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def words(seed: int, stream: Stream, count: int, first: int = 0) -> _Words:
    """The ``count`` 64-bit words of a seed's stream from number ``first`` on."""
    return words_at(seed, stream, np.arange(first, first + count, dtype=np.uint64))


def words_at(seed: int, stream: Stream, numbers: npt.NDArray[Any]) -> _Words:
    """The 64-bit words of a seed's stream with these numbers, which are integers >= 0 in any shape."""
    start = np.array([(seed * 2 + 1) * _GOLDEN & _MASK], np.uint64)
    key = _mixed(_mixed(start) + np.uint64(int(stream) * 0xD1342543DE82EF95 & _MASK))
    return _mixed(key + (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN))


def uniform(seed: int, stream: Stream, count: int) -> _Floats:
    """Float64 in the open interval (0, 1): odd multiples of 2^-53."""
    return ((words(seed, stream, count) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def signs(seed: int, stream: Stream, count: int) -> npt.NDArray[np.bool_]:
    """Fair bits: bit ``i % 64`` of word ``i // 64``."""
    packed = words(seed, stream, -(-count // 64))
    return np.unpackbits(packed.astype("<u8").view(np.uint8), count=count, bitorder="little").astype(np.bool_)


def normal(seed: int, stream: Stream, count: int) -> _Floats:
    """Standard normal values, float64."""
    return _inverse_normal(uniform(seed, stream, count))


def cauchy(seed: int, stream: Stream, count: int) -> _Floats:
    """Standard Cauchy values, float64: quotients of two independent normal values."""
    pairs = normal(seed, stream, 2 * count).reshape(count, 2)
    below: _Floats = pairs[:, 0] / pairs[:, 1]
    return below


def _logarithm(x: _Floats) -> _Floats:
    """Natural logarithm of normal numbers x = m · 2^e, m in [√½, √2): ln m = 2 artanh((m - 1) / (m + 1))."""
    m, e = np.frexp(x)
    low = m < 0.7071067811865476
    m, e = np.where(low, m * 2.0, m), np.where(low, e - 1, e)
    t = (m - 1.0) / (m + 1.0)
    square = t * t
    series = np.zeros_like(t)
    for k in range(23, 0, -2):  # |t| < 0.172: the next term is below 2^-60
        series = series * square + 1.0 / k
    ln2: _Floats = e.astype(np.float64) * 0.6931471805599453 + 2.0 * t * series
    return ln2


# Wichura's coefficients, constant term first: |q| <= 0.425, r <= 5, r > 5.
_CENTRE = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
_MIDDLE = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
_TAIL = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)  # fmt: skip


def _quotient(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: _Floats) -> _Floats:
    above, below = (np.zeros_like(x) for _ in range(2))
    for a, b in zip(reversed(coefficients[0]), reversed(coefficients[1]), strict=True):
        above, below = above * x + a, below * x + b
    ratio: _Floats = above / below
    return ratio


def _inverse_normal(p: _Floats) -> _Floats:
    q = p - 0.5
    out: _Floats = q * _quotient(_CENTRE, 0.180625 - q * q)
    far = np.abs(q) > 0.425
    r = np.sqrt(-_logarithm(np.minimum(p[far], 1.0 - p[far])))
    tail = np.where(r <= 5.0, _quotient(_MIDDLE, r - 1.6), _quotient(_TAIL, r - 5.0))
    out[far] = np.copysign(tail, q[far])
    return out
