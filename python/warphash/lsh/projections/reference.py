# SPDX-License-Identifier: Apache-2.0
"""The definitions in plain torch: the oracle of the tests, exact to the last bit and slow."""

from __future__ import annotations

import torch
from torch import Tensor

from .parameters import rotation_signs, rotation_size

__all__ = ["cross_polytope", "fma", "hd3_simhash", "projections", "pstable", "rotations", "simhash", "simhash_codes"]


def _two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The rounded sum and its error, exact (Knuth)."""
    s = a + b
    rest = s - a
    return s, (a - (s - rest)) + (b - rest)


def _two_product(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The rounded product of float64 and its error, exact where nothing over- or underflows (Dekker, Veltkamp)."""
    p = a * b
    halves = []
    for x in (a, b):
        high = (scaled := x * 134217729.0) - (scaled - x)
        halves.append((high, x - high))
    (ah, al), (bh, bl) = halves
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def _to_odd(s: Tensor, error: Tensor) -> Tensor:
    """A rounded sum and its error, rounded to odd: a later rounding to fewer bits is then as of the exact sum."""
    bits = s.view(torch.int64)
    away = torch.where((error > 0) == (s > 0), 1, -1)
    moved = (error != 0) & error.isfinite() & s.isfinite() & (bits % 2 == 0)
    return torch.where(moved, (bits + away).view(torch.float64), s)


def fma(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The sum a b + c rounded once: of float32, or within the normal range of float64 (Boldo and Melquiond, 2008)."""
    if a.dtype == torch.float32:
        product = a.double() * b.double()  # exact
        return _to_odd(*_two_sum(product, c.double())).float()
    high, low = _two_product(a, b)
    sum_low, error_low = _two_sum(c, low)
    total, error = _two_sum(high, sum_low)
    exact = total + _to_odd(*_two_sum(error_low, error))
    return torch.where(exact.isfinite(), exact, a * b + c)


def projections(x: Tensor, columns: Tensor) -> Tensor:
    """Sums x · column: one chain of fused multiply-adds in the order of the dimensions."""
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    x, columns = x.to(wide), columns.to(wide)
    sums = x.new_zeros((*x.shape[:-1], columns.shape[1]))
    for j in range(x.shape[-1]):
        sums = fma(*torch.broadcast_tensors(x[..., j, None], columns[j], sums))
    return sums


def _packed(bits: Tensor) -> Tensor:
    padded = torch.nn.functional.pad(bits.to(torch.uint8), (0, -bits.shape[-1] % 8))
    places = torch.tensor([1 << i for i in range(8)], dtype=torch.uint8)
    packed: Tensor = (padded.unflatten(-1, (-1, 8)) * places).sum(-1, dtype=torch.uint8)
    return packed


def simhash(x: Tensor, planes: Tensor, *, precision: str = "exact") -> Tensor:
    """Packed bits of projections >= 0, the exact ones."""
    return _packed(projections(x, planes) >= 0)


def simhash_codes(x: Tensor, planes: Tensor, *, order: str = "binary") -> Tensor:
    """Bits of each hash as an integer, or the rank of that code among Gray codes."""
    hashes, bits = planes.shape[1:]
    set_bits = (projections(x, planes.flatten(1)) >= 0).unflatten(-1, (hashes, bits))
    if order == "gray":  # bit t of the rank: the parity of bits t and above
        set_bits = set_bits.flip(-1).cumsum(-1).flip(-1) % 2 == 1
    codes: Tensor = (set_bits * 2 ** torch.arange(bits)).sum(-1).to(torch.int32)
    return codes


def rotations(x: Tensor, signs: Tensor) -> Tensor:
    """[..., rotations, D]: three rounds of signs, Hadamard transform and a power of two, of x padded to D."""
    size = 8 * signs.shape[-1]
    x = x if x.dtype == torch.float64 else x.float()
    y = torch.nn.functional.pad(x, (0, size - x.shape[-1]))[..., None, :]
    negative = (signs[..., None] >> torch.arange(8, dtype=torch.uint8) & 1).flatten(-2).bool()
    for step in range(3):
        y = torch.where(negative[:, step], -y, y)
        h = 1
        while h < size:
            pairs = y.unflatten(-1, (-1, 2, h))
            a, b = pairs[..., 0, :], pairs[..., 1, :]
            y = torch.stack([a + b, a - b], -2).flatten(-3)
            h *= 2
        y = y * 2.0 ** -(size.bit_length() // 2)
    return y


def hd3_simhash(x: Tensor, bits: int, *, seed: int) -> Tensor:
    """The first packed bits of rotated values >= 0."""
    size = rotation_size(x.shape[-1])
    signs = rotation_signs(-(-bits // size), size, seed, torch.device("cpu"))
    return _packed(rotations(x, signs).flatten(-2)[..., :bits] >= 0)


def cross_polytope(x: Tensor, *, tables: int, seed: int) -> Tensor:
    """The first place of the largest absolute value, plus D where the value is negative."""
    size = rotation_size(x.shape[-1])
    y = rotations(x, rotation_signs(tables, size, seed, torch.device("cpu")))
    magnitude = y.abs().nan_to_num(-1.0, torch.inf)
    places = torch.arange(size).expand(y.shape)
    first = torch.where(magnitude == magnitude.amax(-1, keepdim=True), places, size).amin(-1, keepdim=True)
    return (first + size * (y.gather(-1, first) < 0)).squeeze(-1).to(torch.int32)


def pstable(x: Tensor, directions: Tensor, offsets: Tensor, width: float) -> Tensor:
    """floor((projection + offset) / width), saturated to int32."""
    sums = projections(x, directions)
    floors = torch.floor((sums + offsets.to(sums.dtype)) / torch.tensor(width, dtype=sums.dtype))
    inside = floors.double().nan_to_num(-torch.inf).clamp(-(2.0**31), 2.0**31 - 1)
    return inside.to(torch.int32)
