# SPDX-License-Identifier: Apache-2.0
"""Every CUDA launcher of the bucket tables, run on the CPU, against NumPy: all bits equal."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_emulation.emulated import EmulatedKernels, EmulationError

FOLDER = "csrc/lsh/buckets"
FILES = ("place", "bucket_sort", "bucket_query", "bucket_sums")
KERNELS = [*(f"{FOLDER}/{name}.cu" for name in FILES), "csrc/common/scan.cu"]
SOURCES = [*KERNELS, "tests/lsh/emulated_buckets.cpp"]

VALUE_TYPES = {"float16": 0, "bfloat16": 1, "float32": 2, "float64": 3}


def test_running_sums(emulated_kernels: EmulatedKernels) -> None:
    generator = np.random.default_rng(0)
    for count in (0, 1, 31, 512, 513, 3 * 512 + 7):
        values = generator.integers(0, 2**40, count)
        expected = np.cumsum(values)
        emulated_kernels.running_sums(values, count)
        np.testing.assert_array_equal(values, expected)
    ones = np.ones(512 * 513, np.int64)  # three levels of tiles
    emulated_kernels.running_sums(ones, len(ones))
    np.testing.assert_array_equal(ones, np.arange(1, len(ones) + 1))


# ---- Sort -----------------------------------------------------------------------------------------------------------


def sort(kernels: EmulatedKernels, codes: np.ndarray, buckets: int, *, with_inverse: bool = True) -> list[np.ndarray]:
    tables, items = codes.shape
    order, offsets = np.full((tables, items), -7, np.int64), np.full((tables, buckets + 1), -7, np.int64)
    inverse = np.full((tables, items), -7, np.int64) if with_inverse else None
    kernels.bucket_sort(codes, codes.itemsize, tables, items, buckets, order, inverse, offsets)
    return [order, offsets] if inverse is None else [order, offsets, inverse]


def sorted_by_numpy(codes: np.ndarray, buckets: int) -> list[np.ndarray]:
    order = np.argsort(codes, axis=1, kind="stable")
    offsets = np.stack([np.searchsorted(np.sort(row), np.arange(buckets + 1)) for row in codes.astype(np.int64)])
    return [order, offsets, np.argsort(order, axis=1, kind="stable")]


def check_sort(kernels: EmulatedKernels, codes: np.ndarray, buckets: int, *, with_inverse: bool = True) -> None:
    found = sort(kernels, codes, buckets, with_inverse=with_inverse)
    for a, b in zip(found, sorted_by_numpy(codes, buckets), strict=False):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64])
def test_one_pass(emulated_kernels: EmulatedKernels, dtype: type) -> None:
    generator = np.random.default_rng(0)
    most = min(4096, np.iinfo(dtype).max)
    for tables, items, buckets in ((1, 1, 1), (3, 33, 7), (2, 1700, most), (5, 512, 33)):
        codes = generator.integers(0, min(buckets, most), (tables, items)).astype(dtype)
        check_sort(emulated_kernels, codes, buckets)


def test_one_pass_of_skewed_codes(emulated_kernels: EmulatedKernels) -> None:
    codes = np.zeros((2, 1300), np.int32)
    check_sort(emulated_kernels, codes, 300, with_inverse=False)
    codes[1] = np.arange(1300)[::-1]
    codes[0, 700:] = 299
    check_sort(emulated_kernels, codes, 1300)


def test_one_pass_of_wide_counts(emulated_kernels: EmulatedKernels) -> None:
    codes = np.random.default_rng(1).integers(0, 200, (2, 3001)).astype(np.uint8)
    check_sort(emulated_kernels, codes, 256)


# Two passes, and three with 2^17 + 1 buckets; there codes are too wide, for the emulation, to be written in order.
@pytest.mark.parametrize(
    ("buckets", "dtype"),
    [(4097, np.int16), (1 << 16, np.int32), ((1 << 17) + 1, np.int64), (1 << 13, np.uint8)],
)
def test_radix_passes(emulated_kernels: EmulatedKernels, buckets: int, dtype: type) -> None:
    generator = np.random.default_rng(0)
    for tables, items in ((1, 1), (3, 600)):
        codes = generator.integers(0, min(buckets, np.iinfo(dtype).max), (tables, items)).astype(dtype)
        check_sort(emulated_kernels, codes, buckets)
    skewed = np.where(generator.random((2, 1100)) < 0.7, min(buckets - 1, 255), generator.integers(0, 99, (2, 1100)))
    check_sort(emulated_kernels, skewed.astype(dtype), buckets, with_inverse=False)


def test_radix_passes_of_wide_counts(emulated_kernels: EmulatedKernels) -> None:
    check_sort(emulated_kernels, np.random.default_rng(1).integers(0, 5000, (1, 3001)).astype(np.int32), 5000)


@pytest.mark.parametrize("buckets", [10, 5000])
def test_sort_of_wrong_codes(emulated_kernels: EmulatedKernels, buckets: int) -> None:
    codes = np.random.default_rng(0).integers(-(2**62), 2**62, (2, 700))
    codes[:, ::3] = np.arange(2 * 234).reshape(2, 234) % buckets
    inside = np.where((codes < 0) | (codes >= buckets), buckets - 1, codes)
    for a, b in zip(sort(emulated_kernels, codes, buckets), sorted_by_numpy(inside, buckets), strict=True):
        np.testing.assert_array_equal(a, b)


def test_sort_of_nothing(emulated_kernels: EmulatedKernels) -> None:
    for tables, items, buckets in ((2, 0, 5), (0, 5, 5), (2, 0, 0), (3, 0, 5000)):
        order, offsets, inverse = sort(emulated_kernels, np.zeros((tables, items), np.int64), buckets)
        assert order.size == inverse.size == 0
        assert not offsets.any()
    with pytest.raises(EmulationError):
        sort(emulated_kernels, np.zeros((1, 1), np.int64), 0)


# ---- Query ----------------------------------------------------------------------------------------------------------


def query(
    kernels: EmulatedKernels, order: np.ndarray, offsets: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    (tables, items), queries = order.shape, codes.shape[1]
    arguments = (order, offsets, tables, items, offsets.shape[1] - 1, codes, queries)
    row_starts = np.full(queries + 1, -7, np.int64)
    kernels.bucket_query_count(*arguments, row_starts)
    candidates = np.full(row_starts[-1], -7, np.int64)
    kernels.bucket_query_fill(*arguments, row_starts, candidates)
    return row_starts, candidates


def check_query(kernels: EmulatedKernels, codes: np.ndarray, buckets: int, queries: np.ndarray) -> None:
    order, offsets, _ = sorted_by_numpy(codes, buckets)
    starts, candidates = query(kernels, order, offsets, queries)
    for number, of_query in enumerate(queries.T):
        expected = np.flatnonzero((codes == of_query[:, None]).any(0))
        np.testing.assert_array_equal(candidates[starts[number] : starts[number + 1]], expected)


# Lists of 64 and more candidates are marked in windows of 4096 items.
@pytest.mark.parametrize(
    ("tables", "items", "buckets", "queries"),
    [(1, 1, 1, 1), (3, 40, 5, 4), (8, 300, 40, 3), (4, 1000, 9, 2), (2, 9000, 100, 2), (130, 50, 20, 2), (3, 0, 4, 2)],
)
def test_query(emulated_kernels: EmulatedKernels, tables: int, items: int, buckets: int, queries: int) -> None:
    generator = np.random.default_rng(0)
    codes = generator.integers(0, buckets, (tables, items))
    check_query(emulated_kernels, codes, buckets, generator.integers(0, buckets, (tables, queries)))


def test_query_skips_empty_windows(emulated_kernels: EmulatedKernels) -> None:
    codes = np.ones((1, 30000), np.int64)
    codes[0, 5:40] = codes[0, 29950:] = 0
    check_query(emulated_kernels, codes, 3, np.array([[0, 2, 0]]))


def test_query_of_nothing(emulated_kernels: EmulatedKernels) -> None:
    for tables, queries in ((2, 0), (0, 3), (0, 0)):
        order, offsets = np.zeros((tables, 4), np.int64), np.zeros((tables, 3), np.int64)
        starts, candidates = query(emulated_kernels, order, offsets, np.zeros((tables, queries), np.int64))
        assert not starts.any()
        assert len(candidates) == 0


def test_query_of_wrong_data(emulated_kernels: EmulatedKernels) -> None:
    """Nothing outside of the arrays is touched (mode asan), and every launch ends."""
    generator = np.random.default_rng(0)
    order = generator.integers(-(2**40), 2**40, (2, 200))
    for offsets in (generator.integers(-500, 500, (2, 8)), np.tile([0, 200, 0, 150, -1, 2**40, 7, 300], (2, 1))):
        codes = generator.integers(-3, 12, (2, 9))
        query(emulated_kernels, order, offsets, codes)
        query(emulated_kernels, np.abs(order) % 200, offsets, codes)


# ---- Sums -----------------------------------------------------------------------------------------------------------


def rounded(sums: np.ndarray, name: str) -> np.ndarray:
    """float32 sums as the bits of the named half type."""
    if name == "float16":
        return sums.astype(np.float16).view(np.uint16)
    bits = sums.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def values_for(generator: np.random.Generator, name: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Values as they are stored, and as they are added up."""
    values = generator.standard_normal(shape).astype(np.float64 if name == "float64" else np.float32)
    if name in ("float32", "float64"):
        return values, values
    stored = rounded(values, name)
    if name == "float16":
        return stored, stored.view(np.float16).astype(np.float32)
    return stored, (stored.astype(np.uint32) << 16).view(np.float32)


SUMS = [(1, 1, 1, 1, 1), (2, 3, 5, 8, 40), (1, 2, 4, 7, 33), (2, 1, 40, 16, 9), (1, 2, 3, 4, 0), (1, 0, 3, 4, 5)]


@pytest.mark.parametrize("name", list(VALUE_TYPES))
@pytest.mark.parametrize("long_codes", [False, True])
def test_bucket_sum(emulated_kernels: EmulatedKernels, name: str, long_codes: bool) -> None:
    generator = np.random.default_rng(0)
    for batch, tables, buckets, width, count in SUMS:
        codes = generator.integers(-1, buckets, (batch, tables, count)).astype(np.int64 if long_codes else np.int32)
        stored, values = values_for(generator, name, (batch, count, width))
        expected = np.zeros((batch, tables, buckets, width), values.dtype)
        for (b, t, i), code in np.ndenumerate(codes):
            if code >= 0:
                expected[b, t, code] += values[b, i]
        sums = np.full(expected.shape, 77, stored.dtype)
        sizes = (VALUE_TYPES[name], batch, tables, buckets, width, count)
        emulated_kernels.bucket_sum(*sizes, codes, long_codes, stored, sums)
        np.testing.assert_array_equal(sums, rounded(expected, name) if stored.dtype == np.uint16 else expected)


@pytest.mark.parametrize("name", list(VALUE_TYPES))
@pytest.mark.parametrize("long_codes", [False, True])
def test_bucket_gather_sum(emulated_kernels: EmulatedKernels, name: str, long_codes: bool) -> None:
    generator = np.random.default_rng(0)
    for batch, tables, buckets, width, count in SUMS:
        codes = generator.integers(-1, buckets, (batch, tables, count)).astype(np.int64 if long_codes else np.int32)
        stored, values = values_for(generator, name, (batch, tables, buckets, width))
        expected = np.zeros((batch, count, width), values.dtype)
        for (b, t, i), code in np.ndenumerate(codes):  # tables in turn
            if code >= 0:
                expected[b, i] += values[b, t, code]
        sums = np.full(expected.shape, 77, stored.dtype)
        sizes = (VALUE_TYPES[name], batch, tables, buckets, width, count)
        emulated_kernels.bucket_gather_sum(*sizes, codes, long_codes, stored, sums)
        np.testing.assert_array_equal(sums, rounded(expected, name) if stored.dtype == np.uint16 else expected)


def test_sums_of_wrong_codes(emulated_kernels: EmulatedKernels) -> None:
    codes = np.array([[[0, 5, 2**40, -(2**40), 4, 1]]])
    values = np.arange(12, dtype=np.float32).reshape(1, 6, 2)
    sums = np.full((1, 1, 5, 2), 7, np.float32)
    emulated_kernels.bucket_sum(2, 1, 1, 5, 2, 6, codes, True, values, sums)
    np.testing.assert_array_equal(sums[0, 0], [[0, 1], [10, 11], [0, 0], [0, 0], [8, 9]])
    gathered = np.full((1, 6, 2), 7, np.float32)
    emulated_kernels.bucket_gather_sum(2, 1, 1, 5, 2, 6, codes, True, sums, gathered)
    np.testing.assert_array_equal(gathered[0], [[0, 1], [0, 0], [0, 0], [0, 0], [8, 9], [10, 11]])


def test_sums_of_nothing(emulated_kernels: EmulatedKernels) -> None:
    codes, empty = np.zeros((1, 1, 3), np.int32), np.zeros(0, np.float32)
    for buckets, width in ((0, 4), (4, 0)):
        emulated_kernels.bucket_sum(2, 1, 1, buckets, width, 3, codes, False, empty, empty)
    gathered = np.full((1, 3, 4), 7, np.float32)
    emulated_kernels.bucket_gather_sum(2, 1, 1, 0, 4, 3, codes, False, empty, gathered)
    assert not gathered.any()
