# SPDX-License-Identifier: Apache-2.0
"""The public functions of Hamming search: checks of arguments, then one operator each.

A code is a row of bytes; bit ``j`` of a code is bit ``j % 8`` of byte ``j // 8``, and the bits past a code's width are
zero. All functions take torch tensors (CPU or CUDA), NumPy arrays and arrays that speak DLPack, and answer in the
caller's kind. Nothing of size queries x database is ever stored, but by :func:`cdist`, whose result it is.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import torch

from .. import _checks
from ..interop import as_tensor, like
from .registration import AsymmetricTopk

_PACKABLE = frozenset(
    {
        torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32,
        torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64,
    }
)  # fmt: skip
_SHORT_FLOATS = frozenset(
    {torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz}
)  # fmt: skip
_LARGEST_SCORE = torch.finfo(torch.float32).max / 2


def _pair(
    queries: Any, database: Any, names: tuple[str, str] = ("queries", "database")
) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = _checks.codes(names[0], queries), _checks.codes(names[1], database)
    _checks.same_device(names[0], a, names[1], b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{names[1]} must have codes of {a.shape[1]} bytes as {names[0]} has, got {b.shape[1]}")
    return a, b


def _mask(mask: Any, queries: torch.Tensor, database: torch.Tensor) -> torch.Tensor | None:
    if mask is None:
        return None
    allowed = _checks.dense("mask", as_tensor(mask, "mask"))
    if allowed.dtype != torch.bool:
        raise TypeError(f"mask must be bool, got {allowed.dtype}")
    shapes = [(database.shape[0],), (queries.shape[0], database.shape[0])]
    if tuple(allowed.shape) not in shapes:
        raise ValueError(f"mask must be [N] or [Q, N], here {shapes[0]} or {shapes[1]}, got {tuple(allowed.shape)}")
    _checks.same_device("database", database, "mask", allowed)
    return allowed


def _threshold(threshold: Any) -> float:
    """A threshold as the float64 that the operator takes."""
    value = _checks.number("threshold", threshold)
    if value != value:  # torch.compile cannot trace math.isnan of a symbolic float
        raise ValueError("threshold must not be NaN")
    return value


def _inexact_integer(threshold: Any, value: float, dtype: torch.dtype) -> int | None:
    """An integer threshold beside integers that float64 would round, else None."""
    if dtype.is_floating_point or dtype == torch.bool or abs(value) < 2**53 or not hasattr(threshold, "__index__"):
        return None
    exact = operator.index(threshold)
    return exact if exact != value else None


def _reaches(values: torch.Tensor, threshold: int) -> torch.Tensor:
    """``values >= threshold`` of integers, exactly."""
    limits = torch.iinfo(values.dtype)
    if not limits.min < threshold <= limits.max:
        return torch.full_like(values, threshold <= limits.min, dtype=torch.bool)
    if values.dtype == torch.uint64:  # ordered as int64 once the highest bit is turned
        return (values.view(torch.int64) ^ -(2**63)) >= threshold - 2**63
    return values >= threshold


def pack(x: Any, threshold: float = 0.0) -> Any:
    """Packs the signs of values into codes: ``bit = x >= threshold``.

    The comparison is made in the dtype of ``x``: for floating-point values the threshold is first rounded to it
    (through float32 for 16-bit types), integers are compared exactly. A bool ``x`` holds the bits themselves. NaN gives
    0, and both zeros reach a threshold of 0.

    Args:
        x: ``[..., bits]``, any real dtype or bool.
        threshold: not NaN; for a bool ``x`` a value in [0, 1], which changes nothing.

    Returns:
        uint8 ``[..., ceil(bits / 8)]``, on the device of ``x``. It has no derivative.

    Raises:
        TypeError: ``x`` is complex or quantised, ``threshold`` no real number.
        ValueError: ``x`` is 0-dimensional, ``threshold`` is NaN or outside of float64's range.

    Complexity: one pass over ``x``; no workspace.
    """
    values = _checks.dense("x", as_tensor(x, "x")).detach()  # bits are constants under every derivative
    bound = _threshold(threshold)
    if (exact := _inexact_integer(threshold, bound, values.dtype)) is not None:
        values, bound = _reaches(values, exact), 0.0
    if values.dtype in _SHORT_FLOATS:
        limits = torch.finfo(values.dtype)
        within = limits.min <= bound <= limits.max
        bound = float(torch.tensor(bound).to(values.dtype)) if within else math.copysign(math.inf, bound)
        values = values.float()  # exact
    if values.dtype not in _PACKABLE:
        raise TypeError(f"x must have a real dtype or bool, got {values.dtype}")
    if values.dim() == 0:
        raise ValueError("x must be [..., bits], got a 0-dimensional tensor")
    if values.dtype == torch.bool and not 0.0 <= bound <= 1.0:
        raise ValueError(f"threshold must be in [0, 1] for a bool x, got {threshold}")
    _checks.device_served("x", values)
    return like(x, torch.ops.warphash.hamming_pack(values, bound))


def unpack(codes: Any, bits: int) -> Any:
    """The bits of codes.

    Args:
        codes: uint8 ``[..., bytes]``.
        bits: how many bits of each code, 0 to ``8 * bytes``.

    Returns:
        bool ``[..., bits]``.

    Raises:
        TypeError: ``codes`` is not uint8, ``bits`` no int.
        ValueError: ``codes`` is 0-dimensional, ``bits`` is negative or more than the codes hold.

    Complexity: one pass; no workspace.
    """
    packed = _checks.dense("codes", as_tensor(codes, "codes"))
    if packed.dtype != torch.uint8:
        raise TypeError(f"codes must be uint8, got {packed.dtype}")
    if packed.dim() == 0:
        raise ValueError("codes must be [..., bytes], got a 0-dimensional tensor")
    bits = _checks.count("bits", bits)
    if bits > 8 * packed.shape[-1]:
        width = packed.shape[-1]
        raise ValueError(f"bits must be at most {8 * width} for codes of {width} bytes, got {bits}")
    _checks.device_served("codes", packed)
    return like(codes, torch.ops.warphash.hamming_unpack(packed, bits))


def cdist(a: Any, b: Any) -> Any:
    """All Hamming distances between two sets of codes.

    Args:
        a: uint8 ``[M, bytes]``.
        b: uint8 ``[N, bytes]``.

    Returns:
        int32 ``[M, N]``, the number of differing bits.

    Raises:
        TypeError, ValueError: dtype, shape, width or device do not fit.

    Complexity: O(M N bytes); workspace one tile of codes a thread (docs/hamming.md).
    """
    left, right = _pair(a, b, ("a", "b"))
    return like(a, torch.ops.warphash.hamming_cdist(left, right))


def topk(queries: Any, database: Any, k: int, *, mask: Any = None) -> tuple[Any, Any]:
    """The k nearest codes of each query, exactly, by (distance, index).

    Args:
        queries: uint8 ``[Q, bytes]``.
        database: uint8 ``[N, bytes]``.
        k: any number >= 0, also beyond N.
        mask: bool ``[N]`` or ``[Q, N]``; only codes where it is True are returned.

    Returns:
        (distances int32 ``[Q, k]``, indices int64 ``[Q, k]``). A row with fewer than k admitted codes ends with
        distance 2147483647 and index -1.

    Raises:
        TypeError, ValueError: dtype, shape, width or device do not fit, or k is negative.

    Complexity: O(Q N bytes), independent of k and of the order of the database but for the output; workspace 16 k bytes
    for each query in work (at most 64 MiB a thread, or one query's). Equal results for any number of threads and
    instruction set.
    """
    q, d = _pair(queries, database)
    k = _checks.result_count("k", k, q.shape[0])
    distances, indices = torch.ops.warphash.hamming_topk(q, d, k, _mask(mask, q, d))
    return like(queries, distances), like(queries, indices)


def range_search(queries: Any, database: Any, radius: int, *, mask: Any = None) -> tuple[Any, Any, Any]:
    """All codes within a Hamming radius of each query.

    Args:
        queries: uint8 ``[Q, bytes]``.
        database: uint8 ``[N, bytes]``.
        radius: >= 0; codes at ``distance <= radius`` are found.
        mask: as for :func:`topk`.

    Returns:
        (offsets int64 ``[Q + 1]``, distances int32 ``[R]``, indices int64 ``[R]``): the results of query ``i`` stand at
        ``offsets[i]:offsets[i + 1]``, by (distance, index).

    Raises:
        TypeError, ValueError: as for :func:`topk`; the radius is negative.

    Complexity: O(Q N bytes + R log R); workspace up to 40 R bytes. R depends on the data, so vmap is refused.
    """
    q, d = _pair(queries, database)
    radius = _checks.count("radius", radius)
    out = torch.ops.warphash.hamming_range_search(q, d, min(radius, 8 * d.shape[1]), _mask(mask, q, d))
    offsets, distances, indices = (like(queries, part) for part in out)
    return offsets, distances, indices


def histogram(queries: Any, database: Any, *, mask: Any = None) -> Any:
    """How many database codes lie at each distance of each query.

    Args:
        queries: uint8 ``[Q, bytes]``.
        database: uint8 ``[N, bytes]``.
        mask: as for :func:`topk`; codes where it is False are not counted.

    Returns:
        int64 ``[Q, 8 * bytes + 1]``. Its cumulative sums are the sizes of range searches; two of them (all codes,
        relevant codes) give tie-aware average precision without sorting.

    Raises:
        TypeError, ValueError: as for :func:`topk`.

    Complexity: O(Q N bytes); workspace at most 64 MiB beside the output.
    """
    q, d = _pair(queries, database)
    return like(queries, torch.ops.warphash.hamming_histogram(q, d, _mask(mask, q, d)))


def asymmetric_topk(queries: Any, database: Any, k: int, *, validate: bool = True) -> tuple[Any, Any]:
    """The k codes of highest asymmetric score: float queries against packed codes.

    The score of a code with bits ``b`` is ``sum_j q_j (2 b_j - 1)``, the inner product with its signs, summed in
    float32 in one order on every machine: sums of four bits first, then from the first nibble to the last. So scores
    are equal bit for bit on CPU and CUDA.

    Args:
        queries: floating point ``[Q, bits]``, finite in float32, in which all is computed; the absolute values of a row
            sum to at most 1.7e38.
        database: uint8 ``[N, ceil(bits / 8)]``.
        k: any number >= 0.
        validate: whether the values of queries are checked (eager calls; on CUDA it synchronises). Unchecked, a score
            of NaN is never returned.

    Returns:
        (scores float32 ``[Q, k]``, largest first, ties by index; indices int64 ``[Q, k]``). Short rows end with -inf
        and -1. Scores are differentiable in the queries.

    Raises:
        TypeError: queries are not floating point, database is not uint8.
        ValueError: shapes or devices do not fit, k is negative, a query is not finite or too large.

    Complexity: O(Q N bits / 4); workspace 20 bytes a bit of each query in work, and 16 k. The backward pass gathers the
    returned codes, 5 Q k bits bytes of them (in eager calls at most 80 MiB at a time).
    """
    q, d = _checks.dense("queries", as_tensor(queries, "queries")), _checks.codes("database", database)
    if not q.dtype.is_floating_point:
        raise TypeError(f"queries must be floating point, got {q.dtype}")
    if q.dim() != 2:
        raise ValueError(f"queries must be 2-D [Q, bits], got shape {tuple(q.shape)}")
    _checks.same_device("queries", q, "database", d)
    bits, bytes_ = q.shape[1], d.shape[1]
    if (bits + 7) // 8 != bytes_:
        raise ValueError(f"database must have codes of {(bits + 7) // 8} bytes for {bits} bits, got {bytes_}")
    k = _checks.result_count("k", k, q.shape[0])
    wide = torch.nn.functional.pad(q.float(), (0, 8 * bytes_ - bits))
    if _checks.data_is_checked(validate) and q.device.type != "meta":
        # A NaN or an infinity, also of a sum on the way, fails the comparison.
        sums = torch.linalg.vector_norm(wide.detach(), ord=1, dim=1, dtype=torch.float64)
        if not bool((sums <= _LARGEST_SCORE).all()):
            raise ValueError(
                f"queries must be finite in float32, with absolute values that sum to at most {_LARGEST_SCORE:.3g} a "
                "row, got NaN, infinity or more"
            )
    scores, indices = AsymmetricTopk.apply(wide, d, k)  # type: ignore[no-untyped-call]
    return like(queries, scores), like(queries, indices)


def jaccard_topk(queries: Any, database: Any, k: int, *, mask: Any = None) -> tuple[Any, Any]:
    """The k codes of highest Jaccard (Tanimoto) similarity, exactly.

    The similarity is ``popcount(a & b) / popcount(a | b)``, one float32 division, and 1 where both codes are empty.

    Args:
        queries: uint8 ``[Q, bytes]``.
        database: uint8 ``[N, bytes]``.
        k: any number >= 0.
        mask: as for :func:`topk`.

    Returns:
        (similarities float32 ``[Q, k]``, largest first, ties by index; indices int64 ``[Q, k]``). Short rows end with
        -inf and -1.

    Raises:
        TypeError, ValueError: as for :func:`topk`.

    Complexity: O(Q N bytes); workspace as for :func:`topk`.
    """
    q, d = _pair(queries, database)
    k = _checks.result_count("k", k, q.shape[0])
    similarities, indices = torch.ops.warphash.hamming_jaccard_topk(q, d, k, _mask(mask, q, d))
    return like(queries, similarities), like(queries, indices)
