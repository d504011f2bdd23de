# SPDX-License-Identifier: Apache-2.0
"""The public functions of sketches: checks of arguments, then one operator each.

Sets come as rows of CSR: set i holds ``tokens[offsets[i] : offsets[i + 1]]``. Neither the order of tokens nor their
repetition matters. Every result is of integers and equal bit for bit on every machine and device.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor

from ... import _checks
from ..._random import checked_seed
from ...interop import as_tensor, like
from .parameters import SCHEMES, minhash_parameters, one_permutation_parameters

__all__ = [
    "band_keys",
    "bbit_jaccard",
    "bbit_pack",
    "densify",
    "minhash",
    "minhash_jaccard",
    "one_permutation_minhash",
]

MOST_PERMUTATIONS = 2**20
_BBITS = (1, 2, 4, 8, 16)


# ---- Checks ---------------------------------------------------------------------------------------------------------
def _sets(tokens: Any, offsets: Any, validate: bool) -> tuple[Tensor, Tensor]:
    """Sets in CSR: tokens int32 or int64 [T], offsets int64 [N + 1]."""
    members = _checks.dense("tokens", as_tensor(tokens, "tokens"))
    bounds = _checks.dense("offsets", as_tensor(offsets, "offsets"))
    if members.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"tokens must be int32 or int64, got {members.dtype}")
    if bounds.dtype != torch.int64:
        raise TypeError(f"offsets must be int64, got {bounds.dtype}")
    if members.dim() != 1:
        raise ValueError(f"tokens must be 1-D [T], got shape {tuple(members.shape)}")
    if bounds.dim() != 1 or bounds.shape[0] < 1:
        raise ValueError(f"offsets must be 1-D [N + 1], got shape {tuple(bounds.shape)}")
    _checks.device_served("tokens", members)
    _checks.same_device("tokens", members, "offsets", bounds)
    if bounds.device.type == "cuda" and _checks.data_is_checked(validate):  # the CPU's kernels check on their way
        ends = bounds[:: max(1, bounds.shape[0] - 1)].tolist()
        if ends[0] != 0 or ends[-1] != members.shape[0] or bool((bounds.diff() < 0).any()):
            raise ValueError(
                f"offsets must ascend from 0 to {members.shape[0]}, the number of tokens, got {ends[0]} to {ends[-1]}"
            )
    return members, bounds


def _signatures(name: str, signatures: Any) -> Tensor:
    values = _checks.dense(name, as_tensor(signatures, name))
    if values.dtype != torch.int32:
        raise TypeError(f"{name} must be int32, got {values.dtype}")
    if values.dim() != 2:
        raise ValueError(f"{name} must be 2-D [N, num_perm], got shape {tuple(values.shape)}")
    _checks.device_served(name, values)
    return values


def _permutations(name: str, value: Any, sets: int) -> int:
    count = operator.index(_checks.result_count(name, _checks.count(name, value, 1), sets))
    if count > MOST_PERMUTATIONS:
        raise ValueError(f"{name} must be at most {MOST_PERMUTATIONS}, got {count}")
    return count


def _bits(value: Any) -> int:
    bits = operator.index(_checks.count("bits", value))
    if bits not in _BBITS:
        raise ValueError(f"bits must be 1, 2, 4, 8 or 16, got {bits}")
    return bits


# ---- Sketches -------------------------------------------------------------------------------------------------------
def minhash(
    tokens: Any, offsets: Any, num_perm: int, *, seed: int, scheme: str = "affine32", validate: bool = True
) -> Any:
    """MinHash: for each set and each of several random permutations of all tokens, the least permuted token.

    Two sets have the same value in a column with a probability that is their Jaccard similarity; see
    :func:`minhash_jaccard`. The signature of a union is the least of both signatures, as unsigned numbers.

    Args:
        tokens: int32 or int64 ``[T]``, any numbers. They are mixed first, by the finishers of MurmurHash3, fmix32 or
            the low half of fmix64, without which consecutive numbers would be hashed badly.
        offsets: int64 ``[N + 1]``, ascending from 0 to T.
        num_perm: how many permutations, 1 to 2^20.
        seed: 0 to 2^63 - 1; below 2^32 for datasketch's schemes.
        scheme: of a mixed token x, with random a and b:

            - ``"affine32"``: a x + b mod 2^32 with an odd a, a bijection; the fastest.
            - ``"multiply_shift64"``: the high half of a x + b mod 2^64, strongly universal (Dietzfelbinger, 1996).
            - ``"mersenne61"``: the low half of a x + b mod 2^61 - 1.
            - ``"datasketch"``, ``"datasketch_legacy"``: what datasketch 2.0.0 computes for the same seed as "affine32"
              and "legacy", bit for bit, if tokens are its hash values: "datasketch" takes their low 32 bits,
              "datasketch_legacy" int32 as uint32 and int64 as uint64, without mixing.
        validate: on CUDA: check ``offsets``, which waits for the device. On the CPU the kernel checks them anyway.

    Returns:
        int32 ``[N, num_perm]`` with the bits of uint32; all -1 for an empty set.

    Raises:
        TypeError: ``tokens`` are neither int32 nor int64, ``offsets`` not int64, ``num_perm`` or ``seed`` no int.
        ValueError: shapes or devices do not fit, ``offsets`` do not ascend from 0 to T, ``num_perm`` or ``seed`` is out
            of range, ``scheme`` is another word.

    Complexity: O(T num_perm). Source: Broder, "On the resemblance and containment of documents", 1997.
    """
    members, bounds = _sets(tokens, offsets, validate)
    count = _permutations("num_perm", num_perm, bounds.shape[0])
    start = operator.index(checked_seed(seed))
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        raise ValueError(f"scheme must be one of {', '.join(map(repr, SCHEMES))}, got {scheme!r}")
    if scheme.startswith("datasketch") and start >= 2**32:
        raise ValueError(f"seed must be below 2^32 for scheme {scheme!r}, got {start}")
    a, b = minhash_parameters(count, start, scheme, members.device)
    return like(tokens, torch.ops.warphash.lsh_minhash(members, bounds, a, b, SCHEMES.index(scheme)))


def one_permutation_minhash(
    tokens: Any, offsets: Any, num_bins: int, *, seed: int, densify: bool = True, validate: bool = True
) -> Any:
    """MinHash by one permutation: the least hash in each of ``num_bins`` equal parts of the range of hashes.

    One hash a token instead of num_perm. Bins that no token fell into are filled from others by :func:`densify`, after
    which the estimate of the Jaccard similarity is unbiased, as that of :func:`minhash`, for small sets too (of a
    somewhat larger variance). Sketches of parts of a set must be merged before that: take them with ``densify=False``,
    their least as unsigned numbers, then :func:`densify`.

    Args:
        tokens: int32 or int64 ``[T]``, any numbers, mixed first as for :func:`minhash`.
        offsets: int64 ``[N + 1]``, ascending from 0 to T.
        num_bins: 1 to 2^20.
        seed: 0 to 2^63 - 1.
        densify: whether to fill empty bins; without, they are -1.
        validate: on CUDA: check ``offsets``, which waits for the device.

    Returns:
        int32 ``[N, num_bins]`` with the bits of uint32; all -1 for an empty set.

    Raises:
        TypeError, ValueError: as for :func:`minhash`.

    Complexity: O(T + N num_bins). Sources: Li, Owen and Zhang, "One permutation hashing", 2012; Shrivastava, "Optimal
    densification for fast and accurate minwise hashing", 2017.
    """
    members, bounds = _sets(tokens, offsets, validate)
    count = _permutations("num_bins", num_bins, bounds.shape[0])
    start = operator.index(checked_seed(seed))
    a, b = one_permutation_parameters(start)
    sketch = torch.ops.warphash.lsh_one_permutation(members, bounds, count, a, b)
    return like(tokens, torch.ops.warphash.lsh_densify(sketch, start) if densify else sketch)


def densify(signatures: Any, *, seed: int) -> Any:
    """Fills the empty bins of one-permutation sketches from other bins of their row.

    Args:
        signatures: int32 ``[N, num_bins]`` of :func:`one_permutation_minhash` with ``densify=False``, -1 = empty.
        seed: that of the sketches: rows that are to be compared must be filled alike.

    Returns:
        int32 ``[N, num_bins]``. An empty bin has the value of the first bin with a token among 256 that depend on seed
        and bin alone, else of the next one in order. Rows without any token stay -1.

    Raises:
        TypeError: ``signatures`` are not int32, ``seed`` is no int.
        ValueError: ``signatures`` are not 2-D, ``seed`` is out of range.

    Complexity: O(N num_bins) where at least a share of the bins is filled.
    """
    values = _signatures("signatures", signatures)
    return like(signatures, torch.ops.warphash.lsh_densify(values, operator.index(checked_seed(seed))))


# ---- What is made of sketches ---------------------------------------------------------------------------------------
def band_keys(signatures: Any, bands: int) -> Any:
    """One key for each band of a signature: sets whose keys are equal in a column are candidates for being similar.

    With r = num_perm / bands values a band, sets of the Jaccard similarity J meet with the probability
    1 - (1 - J^r)^bands.

    Args:
        signatures: int32 ``[N, num_perm]``.
        bands: how many; it must divide num_perm.

    Returns:
        int64 ``[N, bands]``, not negative, but -1 in the rows of empty sets, whose values are all -1.

    Raises:
        TypeError: ``signatures`` are not int32, ``bands`` is no int.
        ValueError: ``signatures`` are not 2-D, ``bands`` does not divide their width.

    Complexity: O(N num_perm), bound by memory.
    """
    values = _signatures("signatures", signatures)
    count = _checks.count("bands", bands, 1)
    if values.shape[1] % count or values.shape[1] == 0:
        raise ValueError(f"bands must divide the {values.shape[1]} values of a signature, got {count}")
    return like(signatures, torch.ops.warphash.lsh_band_keys(values, count))


def bbit_pack(signatures: Any, bits: int) -> Any:
    """b-bit MinHash: the low bits of each mixed value, packed. See :func:`bbit_jaccard`.

    Args:
        signatures: int32 ``[N, num_perm]``.
        bits: to keep of a value: 1, 2, 4, 8 or 16.

    Returns:
        uint8 ``[N, ceil(num_perm bits / 8)]``: value j lies in the bits from ``j * bits`` on, the lowest first, of
        bytes counted from their lowest bit; spare bits are 0. The bits are those of fmix32 of the value, since the low
        bits of affine permutations depend on each other. Empty sets are not marked.

    Raises:
        TypeError: ``signatures`` are not int32, ``bits`` is no int.
        ValueError: ``signatures`` are not 2-D, ``bits`` is another number.

    Complexity: O(N num_perm), bound by memory. Source: Li and König, "b-Bit minwise hashing", 2010.
    """
    values = _signatures("signatures", signatures)
    return like(signatures, torch.ops.warphash.lsh_bbit_pack(values, _bits(bits)))


def _pair(first: Any, second: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    pair = []
    for name, x in (("a", first), ("b", second)):
        values = _checks.dense(name, as_tensor(x, name))
        if values.dtype != dtype:
            raise TypeError(f"{name} must be {str(dtype).removeprefix('torch.')}, got {values.dtype}")
        if values.dim() == 0 or values.shape[-1] == 0:
            raise ValueError(f"{name} must hold signatures [..., width], got shape {tuple(values.shape)}")
        pair.append(values)
    _checks.same_device("a", pair[0], "b", pair[1])
    if pair[0].shape[-1] != pair[1].shape[-1]:
        raise ValueError(f"b must have signatures as wide as those of a, {pair[0].shape[-1]}, got {pair[1].shape[-1]}")
    try:
        torch.broadcast_shapes(pair[0].shape, pair[1].shape)
    except RuntimeError:
        shapes = f"{tuple(pair[1].shape)} and {tuple(pair[0].shape)}"
        raise ValueError(f"b must have leading dimensions that fit a, got shapes {shapes}") from None
    return pair[0], pair[1]


def minhash_jaccard(a: Any, b: Any) -> Any:
    """The Jaccard similarity of sets, estimated by the share of equal values of their signatures.

    Args:
        a: int32 ``[..., num_perm]``.
        b: the same of the same function, seed and scheme; leading dimensions broadcast.

    Returns:
        float32 ``[...]``: unbiased, of variance J (1 - J) / num_perm. An empty set, all -1, is like nothing: 0.

    Raises:
        TypeError: ``a`` or ``b`` is not int32.
        ValueError: shapes or devices do not fit.

    Complexity: O(pairs num_perm).
    """
    first, second = _pair(a, b, torch.int32)
    share = (first == second).sum(-1).to(torch.float32) / first.shape[-1]
    return like(a, share.masked_fill((first == -1).all(-1), 0.0))


def bbit_jaccard(a: Any, b: Any, bits: int, num_perm: int) -> Any:
    """The Jaccard similarity of sets, estimated from the b-bit codes of their signatures.

    Args:
        a: uint8 ``[..., ceil(num_perm bits / 8)]`` of :func:`bbit_pack`.
        b: the same; leading dimensions broadcast.
        bits: of a value: 1, 2, 4, 8 or 16.
        num_perm: how many values.

    Returns:
        float32 ``[...]``, (m - c) / (1 - c) of the share m of equal codes and the chance c = 2^-bits that different
        values have equal ones: unbiased, therefore at times below 0. Empty sets are not known from codes: two of them
        seem equal.

    Raises:
        TypeError: ``a`` or ``b`` is not uint8, ``bits`` or ``num_perm`` no int.
        ValueError: shapes or devices do not fit, ``bits`` is another number.

    Complexity: O(pairs num_perm bits / 8).
    """
    first, second = _pair(a, b, torch.uint8)
    width, count = _bits(bits), _checks.count("num_perm", num_perm, 1)
    if first.shape[-1] != (count * width + 7) // 8:
        raise ValueError(f"a must have {(count * width + 7) // 8} bytes for {count} values, got {first.shape[-1]}")
    differing = first ^ second
    if width == 16:
        equal = (differing.unflatten(-1, (-1, 2)) == 0).all(-1).sum(-1)
    else:
        parts = [differing >> shift & 2**width - 1 for shift in range(0, 8, width)]
        equal = sum((part == 0).sum(-1) for part in parts) - (first.shape[-1] * (8 // width) - count)
    chance = 2.0**-width
    return like(a, (equal.to(torch.float32) / count - chance) / (1.0 - chance))
