# SPDX-License-Identifier: Apache-2.0
"""The public functions of bucket tables: checks of arguments, then one operator each."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ... import _checks
from ...interop import as_tensor, like
from ..projections.functional import simhash, simhash_codes
from .registration import gathered, summed

__all__ = ["BucketTable", "bucket_gather_mean", "bucket_query", "bucket_sort", "bucket_sum", "sort_lsh"]

_CODES = (torch.uint8, torch.int16, torch.int32, torch.int64)
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MOST_BUCKETS = 2**40
MOST_PLANES = 16


class BucketTable(NamedTuple):
    """Items by bucket, of one table or of many.

    Bucket k of a table holds the items ``order[offsets[k] : offsets[k + 1]]``, in ascending order.
    """

    order: Any
    """int64 [..., N]: the items by (code, index)."""
    inverse: Any
    """int64 [..., N]: the place of each item in ``order``."""
    offsets: Any
    """int64 [..., num_buckets + 1]: where each bucket begins; from 0 to N."""

    @property
    def num_buckets(self) -> int:
        """Buckets of one table."""
        return int(self.offsets.shape[-1]) - 1


def _codes(name: str, codes: Any, shape: str, least: int) -> Tensor:
    """Codes of an integer dtype and at least so many dimensions."""
    values = _checks.dense(name, as_tensor(codes, name))
    if values.dtype not in _CODES:
        raise TypeError(f"{name} must be uint8, int16, int32 or int64, got {values.dtype}")
    if values.dim() < least:
        raise ValueError(f"{name} must be {shape}, got shape {tuple(values.shape)}")
    _checks.device_served(name, values)
    return values


def _bucket_count(value: Any) -> int:
    buckets = _checks.count("num_buckets", value)
    if isinstance(buckets, int) and buckets > MOST_BUCKETS:
        raise ValueError(f"num_buckets must be at most 2^40, got {buckets}")
    return buckets


def bucket_sort(codes: Any, num_buckets: int, *, validate: bool = True) -> BucketTable:
    """Sorts items into buckets by their codes, stably: the items of a bucket stay in ascending order.

    Args:
        codes: uint8, int16, int32 or int64 ``[..., N]`` in [0, num_buckets); each row is a table of its own.
        num_buckets: of each table.
        validate: on CUDA: check the range, which waits for the device. On the CPU the sort itself finds codes outside.

    Returns:
        :class:`BucketTable` of int64 ``order`` [..., N], ``inverse`` [..., N] and ``offsets`` [..., num_buckets + 1].

    Raises:
        TypeError: ``codes`` are no integers, ``num_buckets`` no int.
        ValueError: ``codes`` is 0-dimensional, ``num_buckets`` is negative.
        IndexError: a code is outside of [0, num_buckets).

    Complexity: O(N + num_buckets) a table. Workspace of the tables in work: 4 bytes a bucket, and 4 bytes an item above
    2^10 buckets, 12 above 2^20.
    """
    values = _codes("codes", codes, "[..., N]", 1)
    buckets = _bucket_count(num_buckets)
    _checks.on_card_within("codes must be", values, buckets, validate)
    return BucketTable(*(like(codes, part) for part in torch.ops.warphash.lsh_bucket_sort(values, buckets)))


def _table(table: Any) -> tuple[Tensor, Tensor]:
    """Order [T, N] and offsets [T, K + 1]."""
    if not isinstance(table, BucketTable):
        raise TypeError(f"table must be a BucketTable, as bucket_sort gives it, got {type(table).__name__}")
    order, offsets = as_tensor(table.order, "table.order"), as_tensor(table.offsets, "table.offsets")
    for name, part in (("table.order", order), ("table.offsets", offsets)):
        if part.dtype != torch.int64:
            raise TypeError(f"{name} must be int64, got {part.dtype}")
    if order.dim() not in (1, 2) or offsets.dim() != order.dim() or offsets.shape[:-1] != order.shape[:-1]:
        raise ValueError(
            f"table must be of codes [N] or [T, N], got order {tuple(order.shape)} and offsets {tuple(offsets.shape)}"
        )
    if offsets.shape[-1] < 1:
        raise ValueError("table.offsets must have num_buckets + 1 entries, got none")
    _checks.same_device("table.order", order, "table.offsets", offsets)
    return (order, offsets) if order.dim() == 2 else (order.unsqueeze(0), offsets.unsqueeze(0))


def bucket_query(table: BucketTable, query_codes: Any, *, validate: bool = True) -> tuple[Any, Any]:
    """All items that share a bucket with a query in any table.

    Args:
        table: of codes [T, N], or [N] for a single table. In one made by hand the items of a bucket must ascend.
        query_codes: integers ``[T, Q]``, the queries' code in each table; ``[Q]`` beside a table of codes [N].
        validate: on CUDA: check the range of codes, which waits for the device.

    Returns:
        (offsets int64 [Q + 1], candidates int64 [R]): those of query q are ``candidates[offsets[q] : offsets[q + 1]]``,
        distinct and ascending.

    Raises:
        TypeError: ``table`` is none, ``query_codes`` are no integers.
        ValueError: shapes do not fit, or the tensors are on different devices.
        IndexError: a code is outside of [0, num_buckets).

    Complexity: O(C log T) a query of C candidates before equal ones are taken out. Workspace: the candidates twice.
    """
    order, offsets = _table(table)
    codes = _codes("query_codes", query_codes, "[T, Q]", 1)
    if codes.dim() == 1 and order.shape[0] == 1:
        codes = codes.unsqueeze(0)
    if codes.dim() != 2 or codes.shape[0] != order.shape[0]:
        raise ValueError(f"query_codes must be [T, Q] with T = {order.shape[0]}, got shape {tuple(codes.shape)}")
    _checks.same_device("table", order, "query_codes", codes)
    _checks.on_card_within("query_codes must be", codes, offsets.shape[1] - 1, validate)
    found = torch.ops.warphash.lsh_bucket_query(order, offsets, codes.long())
    return like(query_codes, found[0]), like(query_codes, found[1])


def sort_lsh(x: Any, planes: Any) -> BucketTable:
    """Sorts vectors by the rank of their SimHash code in Gray order, so that neighbouring buckets differ in one sign.

    What attention by hashing needs: see :class:`warphash.nn.HyperAttention` (Han et al., "HyperAttention", 2023).

    Args:
        x: floating point ``[..., N, dim]``.
        planes: float32 ``[dim, bits]``, 0 to 16 bits, such as of :func:`random_planes`.

    Returns:
        :class:`BucketTable` of ``order`` [..., N], ``inverse`` [..., N], ``offsets`` [..., 2^bits + 1].

    Raises:
        TypeError, ValueError: as :func:`simhash_codes`; more than 16 planes.

    Complexity: O(N dim bits + 2^bits) a row of x. Workspace: 8 bytes a vector.
    """
    vectors = _checks.dense("x", as_tensor(x, "x"))
    normals = _checks.dense("planes", as_tensor(planes, "planes"))
    if vectors.dim() < 2:
        raise ValueError(f"x must be [..., N, dim], got shape {tuple(vectors.shape)}")
    if normals.dim() != 2 or normals.shape[1] > MOST_PLANES:
        raise ValueError(f"planes must be [dim, bits] with at most 16 bits, got shape {tuple(normals.shape)}")
    bits = normals.shape[1]
    if bits == 0:
        simhash(vectors, normals)  # its checks
        ranks = vectors.new_zeros(vectors.shape[:-1], dtype=torch.int32)
    else:
        ranks = simhash_codes(vectors, normals.unsqueeze(1), order="gray").squeeze(-1)
    return BucketTable(*(like(x, part) for part in torch.ops.warphash.lsh_bucket_sort(ranks, 1 << bits)))


def _named(codes: Any, shape: str, least: int) -> Tensor:
    named = _codes("codes", codes, shape, least)
    return named if named.dtype in (torch.int32, torch.int64) else named.to(torch.int32)


def _values(name: str, values: Any, shape: str, least: int) -> Tensor:
    found = _checks.dense(name, as_tensor(values, name))
    if found.dtype not in _FLOATS:
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64, got {found.dtype}")
    if found.dim() < least:
        raise ValueError(f"{name} must be {shape}, got shape {tuple(found.shape)}")
    _checks.device_served(name, found)
    return found


def _broadcast(first: str, a: tuple[int, ...], second: str, b: tuple[int, ...]) -> tuple[int, ...]:
    if not torch.compiler.is_compiling() and a == b:
        return a  # what torch does takes as long as a small call of the kernel
    try:
        return tuple(torch.broadcast_shapes(a, b))
    except RuntimeError:
        raise ValueError(f"{second} must have leading dimensions that fit {first}, got {b} and {a}") from None


def bucket_sum(values: Any, codes: Any, num_buckets: int, *, validate: bool = True) -> Any:
    """Sums of rows by bucket.

    Args:
        values: float16, bfloat16, float32 or float64 ``[..., N, d]``.
        codes: integers ``[..., N]`` below num_buckets; a row with a negative code is left out. Leading dimensions of
            both are broadcast; one set of values against many tables (``[..., 1, N, d]``) is not repeated in memory.
        num_buckets: of each table.
        validate: on CUDA: check the range of codes, which waits for the device.

    Returns:
        ``[..., num_buckets, d]`` in the dtype of values, summed in the order of the items, half types in float32
        (a float16 sum beyond 65504 comes back as infinity). Differentiable in values, any number of times.

    Raises:
        TypeError: ``values`` are not floating point, ``codes`` no integers.
        ValueError: shapes do not fit, ``num_buckets`` is negative.
        IndexError: a code is not below num_buckets.

    Complexity: O(N d) a table. Workspace: for half types the sums in float32, a few tables at a time.
    """
    rows = _values("values", values, "[..., N, d]", 2)
    named = _named(codes, "[..., N]", 1)
    buckets = _bucket_count(num_buckets)
    _checks.same_device("values", rows, "codes", named)
    count, width = rows.shape[-2:]
    if named.shape[-1] != count:
        raise ValueError(f"codes must name N = {count} rows of values, got shape {tuple(named.shape)}")
    leading = _broadcast("values", tuple(rows.shape[:-2]), "codes", tuple(named.shape[:-1]))
    _checks.on_card_within("codes must be", named, buckets, validate, lowest=-(2**63))
    # The last leading dimensions in which values do not differ are tables over the same values.
    own = (*(1,) * (len(leading) - rows.dim() + 2), *rows.shape[:-2])
    shared = len(leading)
    while shared > 0 and own[shared - 1] == 1:
        shared -= 1
    batch, tables = math.prod(leading[:shared]), math.prod(leading[shared:])
    flat = rows.reshape(*own[:shared], count, width).expand(*leading[:shared], count, width)
    sums = summed(
        flat.reshape(batch, count, width), named.expand(*leading, count).reshape(batch, tables, count), buckets
    )
    return like(values, sums.reshape(*leading, buckets, width))


def bucket_gather_mean(table: Any, codes: Any, *, validate: bool = True) -> Any:
    """Means over tables of the rows that codes name.

    Args:
        table: float16, bfloat16, float32 or float64 ``[..., H, K, d]``: H tables of K buckets.
        codes: integers ``[..., H, C]`` below K; a negative code stands for a row of zeros.
        validate: on CUDA: check the range of codes, which waits for the device.

    Returns:
        ``[..., C, d]`` in the dtype of table: 1/H times the sum over h, in order, of ``table[..., h, codes[h, c]]``;
        half types are summed in float32. Differentiable in table, any number of times.

    Raises:
        TypeError: ``table`` is not floating point, ``codes`` no integers.
        ValueError: shapes do not fit.
        IndexError: a code is not below K.

    Complexity: O(C H d); no workspace.
    """
    rows = _values("table", table, "[..., H, K, d]", 3)
    named = _named(codes, "[..., H, C]", 2)
    _checks.same_device("table", rows, "codes", named)
    tables, buckets, width = rows.shape[-3:]
    count = named.shape[-1]
    if named.shape[-2] != tables:
        raise ValueError(f"codes must be [..., H, C] with H = {tables} tables, got shape {tuple(named.shape)}")
    leading = _broadcast("table", tuple(rows.shape[:-3]), "codes", tuple(named.shape[:-2]))
    _checks.on_card_within("codes must be", named, buckets, validate, lowest=-(2**63))
    batch = math.prod(leading)
    sums = gathered(
        rows.expand(*leading, tables, buckets, width).reshape(batch, tables, buckets, width),
        named.expand(*leading, tables, count).reshape(batch, tables, count),
    )
    return like(table, sums.reshape(*leading, count, width) / max(tables, 1))
