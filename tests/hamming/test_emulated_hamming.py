# SPDX-License-Identifier: Apache-2.0
"""Every CUDA launcher of the room, run on the CPU, against NumPy: all bits equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cuda_emulation.emulated import EmulatedKernels, EmulationError

from .emulated_oracle import (
    ALGORITHMS,
    DISTANCE,
    JACCARD,
    MISSING,
    SCORE,
    VALUE_TYPES,
    keys_of,
    packed,
    rows_in_order,
    scores_of,
    topk_of,
    value_of_keys,
)

ROOM = "csrc/hamming"
FILES = ("prepare", "pack", "dense", "count", "select", "topk", "topk_scan", "topk_mma", "merge")
KERNELS = [f"{ROOM}/{name}.cu" for name in FILES]
SOURCES = [*KERNELS, "tests/hamming/emulated_hamming.cpp"]

METRICS = [DISTANCE, JACCARD, SCORE]
METRIC_NAMES = {DISTANCE: "distance", JACCARD: "jaccard", SCORE: "score"}


def codes(generator: np.random.Generator, count: int, width: int, offset: int = 0) -> np.ndarray:
    """Random codes whose first byte lies `offset` bytes behind an aligned address."""
    room = np.zeros(count * width + 64, np.uint8)
    start = -room.ctypes.data % 32 + offset
    rows = room[start : start + count * width].reshape(count, width)
    rows[:] = generator.integers(0, 256, (count, width))
    return rows


def queries_for(metric: int, generator: np.random.Generator, count: int, width: int) -> np.ndarray:
    if metric == SCORE:
        return generator.standard_normal((count, 8 * width)).astype(np.float32)
    return codes(generator, count, width)


def mask_for(kind: str, generator: np.random.Generator, queries: int, count: int) -> np.ndarray | None:
    shape = {"none": None, "shared": (count,), "own": (queries, count)}[kind]
    return None if shape is None else generator.random(shape) < 0.6


def run_topk(
    kernels: EmulatedKernels,
    metric: int,
    algorithm: str,
    queries: np.ndarray,
    database: np.ndarray,
    k: int,
    mask: np.ndarray | None = None,
    multiprocessors: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
    values = np.full((len(queries), k), 77, np.int32 if metric == DISTANCE else np.float32)
    indices = np.full((len(queries), k), -77, np.int64)
    own = mask is not None and mask.ndim == 2
    sizes = (len(queries), database, len(database), database.shape[1])
    kernels.topk(metric, ALGORITHMS[algorithm], queries, *sizes, mask, own, k, multiprocessors, values, indices)
    return values, indices


def check_topk(
    kernels: EmulatedKernels,
    metric: int,
    algorithm: str,
    queries: np.ndarray,
    database: np.ndarray,
    k: int,
    **rest: Any,
) -> None:
    values, indices = run_topk(kernels, metric, algorithm, queries, database, k, **rest)
    expected_values, expected_indices = topk_of(metric, queries, database, k, rest.get("mask"))
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_array_equal(values.view(np.int32), expected_values.view(np.int32))


# Each width of a load (16, 8, 4, 1 bytes), tails behind it, and codes of more than one step of the tensor cores.
@pytest.mark.parametrize("width", [1, 3, 8, 20, 32, 40])
@pytest.mark.parametrize(("metric", "algorithm"), [(m, a) for m in METRICS for a in ("stream", "tile")])
def test_topk_scans(emulated_kernels: EmulatedKernels, metric: int, algorithm: str, width: int) -> None:
    generator = np.random.default_rng(width)
    database = codes(generator, 261, width)
    for count in (1, 3) if algorithm == "stream" else (9,):
        check_topk(emulated_kernels, metric, algorithm, queries_for(metric, generator, count, width), database, 5)


@pytest.mark.parametrize("width", [2, 8, 20, 33, 64])
@pytest.mark.parametrize(("metric", "algorithm"), [(m, a) for m in (DISTANCE, JACCARD) for a in ("mma_b1", "mma_s8")])
def test_topk_tensor_cores(emulated_kernels: EmulatedKernels, metric: int, algorithm: str, width: int) -> None:
    generator = np.random.default_rng(width)
    database = codes(generator, 300, width)
    check_topk(emulated_kernels, metric, algorithm, codes(generator, 3 if width != 8 else 67, width), database, 4)


@pytest.mark.parametrize("kind", ["none", "shared", "own"])
@pytest.mark.parametrize("algorithm", ["stream", "tile", "mma_b1"])
def test_topk_masks_and_ties(emulated_kernels: EmulatedKernels, algorithm: str, kind: str) -> None:
    generator = np.random.default_rng(3)
    database = np.repeat(codes(generator, 3, 4), 120, axis=0)  # three different codes alone
    mask = mask_for(kind, generator, 5, len(database))
    check_topk(emulated_kernels, DISTANCE, algorithm, codes(generator, 5, 4), database, 33, mask=mask)


@pytest.mark.parametrize("algorithm", ["stream", "tile", "mma_b1"])
def test_topk_codes_ever_nearer(emulated_kernels: EmulatedKernels, algorithm: str) -> None:
    """Every code beats the limit, so lists fill and are sorted again and again; splits see different distances."""
    generator = np.random.default_rng(4)
    database = codes(generator, 2300, 16)
    queries = codes(generator, 2, 16)
    order = np.argsort(-keys_of(DISTANCE, queries[:1], database)[0].astype(np.int64), kind="stable")
    check_topk(
        emulated_kernels, DISTANCE, algorithm, queries, np.ascontiguousarray(database[order]), 10, multiprocessors=1
    )
    check_topk(emulated_kernels, DISTANCE, algorithm, queries, database[order], 150, multiprocessors=1)


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 65])
@pytest.mark.parametrize("algorithm", ["stream", "tile", "mma_b1"])
def test_topk_edges(emulated_kernels: EmulatedKernels, algorithm: str, count: int) -> None:
    generator = np.random.default_rng(count)
    database, queries = codes(generator, count, 5), codes(generator, 2, 5)
    for k in (0, 1, count, count + 3):
        check_topk(emulated_kernels, DISTANCE, algorithm, queries, database, k)
    check_topk(emulated_kernels, DISTANCE, algorithm, queries, database, 2, mask=np.zeros(count, np.bool_))
    check_topk(emulated_kernels, DISTANCE, algorithm, queries[:0], database, 2)


@pytest.mark.parametrize("offset", [1, 2, 4, 8, 12])
def test_unaligned_bases(emulated_kernels: EmulatedKernels, offset: int) -> None:
    generator = np.random.default_rng(offset)
    database, queries = codes(generator, 70, 16, offset), codes(generator, 5, 16)
    for algorithm in ("stream", "tile", "mma_b1"):
        check_topk(emulated_kernels, DISTANCE, algorithm, queries, database, 3)


def test_many_queries_and_empty_codes(emulated_kernels: EmulatedKernels) -> None:
    generator = np.random.default_rng(9)
    check_topk(emulated_kernels, DISTANCE, "automatic", codes(generator, 70, 8), codes(generator, 40, 8), 2)
    empty = np.zeros((40, 8), np.uint8)
    for algorithm in ("stream", "mma_b1", "mma_s8"):
        check_topk(emulated_kernels, JACCARD, algorithm, empty[:2], empty, 3)  # no bit at all: similarity 1
    no_bits = np.zeros((40, 0), np.uint8)
    for metric in METRICS:
        check_topk(emulated_kernels, metric, "automatic", queries_for(metric, generator, 2, 0), no_bits, 3)


def test_codes_too_wide_for_tensor_cores(emulated_kernels: EmulatedKernels) -> None:
    generator = np.random.default_rng(6)
    database, queries = codes(generator, 20, 4100), codes(generator, 35, 4100)
    check_topk(emulated_kernels, DISTANCE, "automatic", queries, database, 3)
    check_topk(
        emulated_kernels, SCORE, "automatic", queries_for(SCORE, generator, 1, 600), codes(generator, 20, 600), 3
    )
    with pytest.raises(EmulationError, match="801"):
        run_topk(emulated_kernels, DISTANCE, "mma_b1", queries, database, 3)


@pytest.mark.parametrize("metric", METRICS)
def test_batches_of_queries(emulated_kernels: EmulatedKernels, metric: int) -> None:
    """More queries than a batch has, which is 64 here: pointers to queries, masks and results move on."""
    generator = np.random.default_rng(7)
    database, queries = codes(generator, 6, 2), queries_for(metric, generator, 70, 2)
    mask = mask_for("own", generator, len(queries), len(database))
    check_topk(emulated_kernels, metric, "automatic", queries, database, 2, mask=mask)
    keys, indices = np.zeros((2, 70, 3), np.int64)
    emulated_kernels.select_topk(metric, queries, 70, database, 6, 2, mask, True, 3, keys, indices)
    expected = topk_of(metric, queries, database, 3, mask)[1]
    np.testing.assert_array_equal(np.sort(indices, axis=1), np.sort(expected, axis=1))


def test_scores_that_are_not_numbers(emulated_kernels: EmulatedKernels) -> None:
    generator = np.random.default_rng(5)
    database = codes(generator, 50, 2)
    queries = generator.standard_normal((5, 16)).astype(np.float32)
    queries[0, 3] = np.nan
    queries[1, 2] = np.inf
    queries[2, :2] = np.inf  # infinity minus infinity in some codes
    queries[3] = -0.0
    for algorithm in ("stream", "tile"):
        check_topk(emulated_kernels, SCORE, algorithm, queries, database, 60)


def test_refusals(emulated_kernels: EmulatedKernels) -> None:
    generator = np.random.default_rng(0)
    database = codes(generator, 10, 4)
    with pytest.raises(EmulationError, match="801"):
        run_topk(emulated_kernels, SCORE, "mma_b1", queries_for(SCORE, generator, 2, 4), database, 2)
    with pytest.raises(EmulationError, match="801"):
        run_topk(emulated_kernels, DISTANCE, "wgmma_b1", database, database, 2)
    with pytest.raises(EmulationError, match="cudaError_t 1"):
        run_topk(emulated_kernels, DISTANCE, "stream", database, database, 257)


@pytest.mark.parametrize("kind", ["none", "shared", "own"])
@pytest.mark.parametrize("metric", METRICS)
def test_selection(emulated_kernels: EmulatedKernels, metric: int, kind: str) -> None:
    generator = np.random.default_rng(11)
    database = np.concatenate([codes(generator, 1100, 2), codes(generator, 1, 2).repeat(300, axis=0)])
    queries = queries_for(metric, generator, 5, 2)
    mask = mask_for(kind, generator, 5, len(database))
    own = kind == "own"
    for k in (1, 700, 1400, 1500):
        keys, unsorted = np.zeros((5, k), np.int64), np.zeros((5, k), np.int64)
        emulated_kernels.select_topk(metric, queries, 5, database, len(database), 2, mask, own, k, keys, unsorted)
        order = np.argsort(keys, axis=1, kind="stable")
        values = np.zeros((5, k), np.int32 if metric == DISTANCE else np.float32)
        indices = np.zeros((5, k), np.int64)
        in_order = np.take_along_axis(keys, order, 1)
        emulated_kernels.rank(metric, in_order, order, unsorted, 5 * k, k, values, indices)
        expected_values, expected_indices = topk_of(metric, queries, database, k, mask)
        np.testing.assert_array_equal(indices, expected_indices)
        np.testing.assert_array_equal(values.view(np.int32), expected_values.view(np.int32))
        for row in unsorted:  # in the order of their indices, ended by -1
            taken = row[row >= 0]
            assert (np.diff(taken) > 0).all()
            assert (row[len(taken) :] == -1).all()


@pytest.mark.parametrize("width", [1, 4, 17, 300])
def test_selection_widths(emulated_kernels: EmulatedKernels, width: int) -> None:
    """300 bytes: distances of more than 11 bits, so two passes."""
    generator = np.random.default_rng(width)
    database, queries = codes(generator, 90, width), codes(generator, 2, width)
    keys, indices = np.zeros((2, 40), np.int64), np.zeros((2, 40), np.int64)
    emulated_kernels.select_topk(DISTANCE, queries, 2, database, 90, width, None, False, 40, keys, indices)
    expected = np.sort(topk_of(DISTANCE, queries, database, 40, None)[1], axis=1)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(keys, np.take_along_axis(keys_of(DISTANCE, queries, database), indices, 1))


@pytest.mark.parametrize("kind", ["none", "shared", "own"])
@pytest.mark.parametrize(("queries", "count", "width"), [(5, 1300, 4), (1, 33, 3), (3, 0, 2), (0, 7, 2), (2, 40, 0)])
def test_range_search(emulated_kernels: EmulatedKernels, queries: int, count: int, width: int, kind: str) -> None:
    generator = np.random.default_rng(queries)
    a, b = codes(generator, queries, width), codes(generator, count, width)
    mask = mask_for(kind, generator, queries, count)
    for radius in (0, 4 * width, 8 * width):
        distances = keys_of(DISTANCE, a, b)
        allowed = np.ones_like(distances, np.bool_) if mask is None else np.broadcast_to(mask, distances.shape)
        expected = allowed & (distances <= radius)
        offsets = np.full(queries + 1, -1, np.int64)
        keys, indices = np.full((2, int(expected.sum())), -1, np.int64)
        pointers = (offsets, keys.size, keys, indices)
        emulated_kernels.range_search(a, queries, b, count, width, mask, kind == "own", radius, *pointers)
        np.testing.assert_array_equal(offsets, np.concatenate([[0], expected.sum(1).cumsum()]))
        rows, places = np.nonzero(expected)
        np.testing.assert_array_equal(indices, places)
        np.testing.assert_array_equal(keys, rows << 32 | distances[rows, places].astype(np.int64))


@pytest.mark.parametrize("kind", ["none", "shared", "own"])
@pytest.mark.parametrize(
    ("queries", "count", "width"), [(6, 700, 4), (70, 33, 3), (1, 0, 2), (0, 5, 2), (3, 9, 0), (2, 90, 400)]
)
def test_histogram(emulated_kernels: EmulatedKernels, queries: int, count: int, width: int, kind: str) -> None:
    generator = np.random.default_rng(width)
    a, b = codes(generator, queries, width), codes(generator, count, width)
    mask = mask_for(kind, generator, queries, count)
    out = np.full((queries, 8 * width + 1), -1, np.int64)
    emulated_kernels.histogram(a, queries, b, count, width, mask, kind == "own", out)
    distances = keys_of(DISTANCE, a, b)
    allowed = np.ones_like(distances, np.bool_) if mask is None else np.broadcast_to(mask, distances.shape)
    rows = zip(distances, allowed, strict=True)
    expected = [np.bincount(row[chosen].astype(np.int64), minlength=8 * width + 1) for row, chosen in rows]
    np.testing.assert_array_equal(out, np.array(expected, np.int64).reshape(out.shape))


@pytest.mark.parametrize("width", [0, 1, 2, 4, 7, 8, 16, 33])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (9, 257), (70, 5), (0, 3), (3, 0)])
def test_cdist(emulated_kernels: EmulatedKernels, m: int, n: int, width: int) -> None:
    generator = np.random.default_rng(width)
    a, b = codes(generator, m, width), codes(generator, n, width, offset=width % 3)
    out = np.full((m, n), -1, np.int32)
    emulated_kernels.cdist(a, m, b, n, width, out)
    np.testing.assert_array_equal(out, keys_of(DISTANCE, a, b).astype(np.int32))


@pytest.mark.parametrize("name", VALUE_TYPES)
@pytest.mark.parametrize("threshold", [0.0, -0.0, 0.3, -1.5, 1e30, -1e30, np.inf, -np.inf])
def test_pack(emulated_kernels: EmulatedKernels, name: str, threshold: float) -> None:
    generator = np.random.default_rng(1)
    for rows, bits in ((3, 37), (1, 1), (2, 64), (0, 5), (4, 0)):
        values, expected_bits = VALUE_TYPES[name].draw(generator, (rows, bits), threshold)
        out = np.full((rows, (bits + 7) // 8), 0xA5, np.uint8)
        emulated_kernels.pack(VALUE_TYPES[name].number, values, rows, bits, threshold, out)
        np.testing.assert_array_equal(out, packed(expected_bits))


def test_unpack(emulated_kernels: EmulatedKernels) -> None:
    generator = np.random.default_rng(2)
    for rows, width, bits in ((5, 3, 24), (5, 3, 17), (1, 1, 1), (0, 2, 9), (4, 2, 0)):
        a = codes(generator, rows, width)
        out = np.zeros((rows, bits), np.bool_)
        emulated_kernels.unpack(a, rows, width, bits, out)
        np.testing.assert_array_equal(out, np.unpackbits(a, axis=1, bitorder="little")[:, :bits].astype(np.bool_))


def test_the_oracle_itself() -> None:
    """By hand: keys order as values do, short rows end as documented."""
    query = np.array([[1.0, -2.0, 0.5, 4.0] + [0.0] * 4], np.float32)
    database = np.array([[0b1001], [0b0010], [0b1111]], np.uint8)
    np.testing.assert_array_equal(scores_of(query, database), np.array([[6.5, -7.5, 3.5]], np.float32))
    values, indices = topk_of(SCORE, query, database, 4, None)
    np.testing.assert_array_equal(indices, [[0, 2, 1, -1]])
    np.testing.assert_array_equal(values, np.array([[6.5, 3.5, -7.5, MISSING[SCORE]]], np.float32))
    values, indices = topk_of(JACCARD, database[:1], database, 3, np.array([True, True, False]))
    np.testing.assert_array_equal(values, np.array([[1.0, 0.0, -np.inf]], np.float32))
    assert rows_in_order(np.array([[3, 1, 1]], np.int64)).tolist() == [[1, 2, 0]]
    assert value_of_keys(JACCARD, np.array([0], np.uint32))[0] == 1.0
