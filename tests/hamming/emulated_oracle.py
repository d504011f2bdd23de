# SPDX-License-Identifier: Apache-2.0
"""Hamming search by definition, in NumPy: keys, orders and values to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# The C++ enumerations' numbers.
DISTANCE, JACCARD, SCORE = 0, 1, 2
ALGORITHMS = {
    name: number
    for number, name in enumerate(("automatic", "stream", "tile", "mma_b1", "mma_s8", "wgmma_b1", "wgmma_s8"))
}
MISSING = {DISTANCE: np.int32(2**31 - 1), JACCARD: np.float32(-np.inf), SCORE: np.float32(-np.inf)}
REJECTED = np.uint32(0xFFFFFFFF)


def scores_of(queries: np.ndarray, database: np.ndarray) -> np.ndarray:
    """float32 [Q, N]: sums of nibbles in order, each ((s0 + s1) + s2) + s3, without fused multiply-adds."""
    bits = np.unpackbits(database, axis=1, bitorder="little").astype(np.bool_)
    total = np.zeros((len(queries), len(database)), np.float32)
    with np.errstate(invalid="ignore"):
        for first in range(0, queries.shape[1], 4):
            partial = None
            for bit in range(first, first + 4):
                signed = np.where(bits[None, :, bit], queries[:, bit, None], -queries[:, bit, None])
                partial = signed if partial is None else partial + signed
            total = total + partial
        return total + np.float32(0.0)


def keys_of(metric: int, queries: np.ndarray, database: np.ndarray) -> np.ndarray:
    """uint32 [Q, N], the smaller the better."""
    if metric == SCORE:
        scores = scores_of(queries, database)
        raw = np.ascontiguousarray(scores).view(np.uint32)
        keys = np.where(raw >> 31 != 0, raw, ~(raw | np.uint32(0x80000000)))
        return np.where(np.isnan(scores), REJECTED, keys)
    a, b = queries[:, None, :], database[None, :, :]
    if metric == DISTANCE:
        return np.bitwise_count(a ^ b).sum(-1, dtype=np.uint32)
    common, united = (np.bitwise_count(x).sum(-1, dtype=np.uint32) for x in (a & b, a | b))
    similarity = np.ones(common.shape, np.float32)
    np.divide(common.astype(np.float32), united.astype(np.float32), out=similarity, where=united != 0)
    return np.float32(1.0).view(np.uint32) - similarity.view(np.uint32)


def value_of_keys(metric: int, keys: np.ndarray) -> np.ndarray:
    if metric == DISTANCE:
        return keys.astype(np.int32)
    if metric == JACCARD:
        return (np.float32(1.0).view(np.uint32) - keys).view(np.float32)
    return np.where(keys >> 31 != 0, keys, ~keys & np.uint32(0x7FFFFFFF)).view(np.float32)


def rows_in_order(keys: np.ndarray) -> np.ndarray:
    return np.argsort(keys, axis=1, kind="stable")


def topk_of(
    metric: int, queries: np.ndarray, database: np.ndarray, k: int, mask: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The definition of a top-k: order by (key, index), cut at k, fill up short rows."""
    keys = keys_of(metric, queries, database)
    if mask is not None:
        keys = np.where(mask, keys, REJECTED)
    order = rows_in_order(keys)[:, :k]
    found = np.take_along_axis(keys, order, 1)
    values = np.full((len(queries), k), MISSING[metric])
    indices = np.full((len(queries), k), -1, np.int64)
    width = order.shape[1]
    values[:, :width] = np.where(found == REJECTED, MISSING[metric], value_of_keys(metric, found))
    indices[:, :width] = np.where(found == REJECTED, -1, order)
    return values, indices


def packed(bits: np.ndarray) -> np.ndarray:
    return np.packbits(bits, axis=1, bitorder="little")


Draw = Callable[[np.random.Generator, tuple[int, int], float], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class ValueType:
    """A dtype that can be packed: its number in C++, and random values of it with the bits they are."""

    number: int
    draw: Draw


def _integers(dtype: type[np.integer]) -> Draw:
    def draw(generator: np.random.Generator, shape: tuple[int, int], threshold: float) -> tuple[np.ndarray, np.ndarray]:
        limits = np.iinfo(dtype)
        values = generator.integers(-3, 4, shape).clip(max(limits.min, -3), 3).astype(dtype)
        values.flat[::5] = limits.max
        values.flat[1::5] = limits.min
        return values, np.array([[int(v) >= threshold for v in row] for row in values], np.bool_).reshape(shape)

    return draw


def _floats(dtype: type[np.floating]) -> Draw:
    def draw(generator: np.random.Generator, shape: tuple[int, int], threshold: float) -> tuple[np.ndarray, np.ndarray]:
        values = generator.standard_normal(shape).astype(dtype)
        with np.errstate(over="ignore"):
            rounded = dtype(np.float32(threshold)) if dtype is np.float16 else dtype(threshold)
        special = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, rounded], dtype)
        values.flat[: len(special)] = special[: values.size]
        return values, values >= rounded

    return draw


def _bfloat16(
    generator: np.random.Generator, shape: tuple[int, int], threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    values, _ = _floats(np.float32)(generator, shape, threshold)
    short = (values.view(np.uint32) >> 16).astype(np.uint16)
    with np.errstate(over="ignore"):
        bits = int(np.float32(threshold).view(np.uint32))
    rounded = np.uint32((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).view(np.float32)
    return short, (short.astype(np.uint32) << 16).view(np.float32) >= rounded


def _booleans(generator: np.random.Generator, shape: tuple[int, int], _: float) -> tuple[np.ndarray, np.ndarray]:
    values = generator.random(shape) < 0.5
    return values, values


VALUE_TYPES = {
    name: ValueType(number, draw)
    for number, (name, draw) in enumerate(
        {
            "bool": _booleans,
            "uint8": _integers(np.uint8),
            "int8": _integers(np.int8),
            "int16": _integers(np.int16),
            "int32": _integers(np.int32),
            "int64": _integers(np.int64),
            "uint16": _integers(np.uint16),
            "uint32": _integers(np.uint32),
            "uint64": _integers(np.uint64),
            "float16": _floats(np.float16),
            "bfloat16": _bfloat16,
            "float32": _floats(np.float32),
            "float64": _floats(np.float64),
        }.items()
    )
}
