# SPDX-License-Identifier: Apache-2.0
"""The device probes do the work that their rates count."""

from __future__ import annotations

import numpy as np
import pytest

from .emulated import EmulatedKernels

SOURCES = ["csrc/common/probes_cuda.cu", "csrc/common/probes_cuda_memory.cu"]
SOURCES += ["tests/cuda_emulation/emulated_probes.cpp"]

THREADS, UNROLL, WORDS = 1024, 8, 4096
SINGLE, PAIR, QUAD, HALVES = range(4)


def aligned(shape: object, dtype: object) -> np.ndarray:
    """Zeros that begin at a line of 128 bytes, as device memory does."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.zeros(size + 128, np.uint8)
    start = -room.ctypes.data % 128
    return room[start : start + size].view(dtype).reshape(shape)


def mixed(numbers: np.ndarray) -> np.ndarray:
    numbers = numbers.astype(np.uint32) * np.uint32(0x9E3779B1)
    return (numbers ^ numbers >> np.uint32(15)) * np.uint32(0x85EBCA6B)


def places(readers: int, rounds: int, count: int) -> np.ndarray:
    """[accesses, readers]: what each reads, one access after the other."""
    numbers = np.arange(rounds * UNROLL * readers).reshape(-1, readers)
    return (mixed(numbers).astype(np.uint64) * np.uint64(count) >> np.uint64(32)).astype(np.int64)


def test_copies(emulated_kernels: EmulatedKernels) -> None:
    source = aligned(16 * 9001, np.uint8)
    source[:] = np.random.default_rng(0).integers(0, 256, len(source))
    copy = aligned(len(source), np.uint8)
    emulated_kernels.probe_copy(source, copy, len(source), 1)
    np.testing.assert_array_equal(copy, source)


def test_popcounts(emulated_kernels: EmulatedKernels) -> None:
    sink, lanes = np.zeros(THREADS, np.uint32), np.arange(THREADS, dtype=np.uint32)
    emulated_kernels.probe_popc(1, 2, sink)
    values = np.bitwise_count(lanes[:, None] + np.arange(UNROLL, dtype=np.uint32))
    np.testing.assert_array_equal(sink, (np.bitwise_count(values).astype(np.uint32) + 1).sum(1))


@pytest.mark.parametrize("name", ["probe_mma_b1", "probe_mma_s8"])
def test_tensor_products(emulated_kernels: EmulatedKernels, name: str) -> None:
    once, twice = np.zeros(THREADS, np.uint32), np.zeros(THREADS, np.uint32)
    getattr(emulated_kernels, name)(1, 1, once)
    getattr(emulated_kernels, name)(1, 2, twice)
    assert once.any()
    np.testing.assert_array_equal(twice, 2 * once)


def test_minima(emulated_kernels: EmulatedKernels) -> None:
    sink, threads = np.zeros(THREADS, np.uint32), np.arange(THREADS, dtype=np.uint32)
    emulated_kernels.probe_affine_min(1, 3, sink)
    a = threads[:, None] ^ np.arange(1, 17, dtype=np.uint32) * np.uint32(0x9E3779B1) | np.uint32(1)
    b = (threads ^ np.uint32(0x85EBCA6B))[:, None]
    x, least = threads, np.full(a.shape, ~np.uint32(0))
    for number in range(3):
        x = x * np.uint32(0x9E3779B1) + np.uint32(number)
        least = np.minimum(least, a * x[:, None] + b)
    np.testing.assert_array_equal(sink, least.sum(1, dtype=np.uint32))


@pytest.mark.parametrize(("name", "row_words", "lanes"), [("probe_gather_rows", 2, 1), ("probe_gather_lines", 16, 4)])
def test_rows_are_read(emulated_kernels: EmulatedKernels, name: str, row_words: int, lanes: int) -> None:
    rows, rounds, blocks = 37, 2, 2
    table = aligned((rows, row_words), np.uint32)
    table[:] = np.random.default_rng(1).integers(0, 1 << 32, table.shape)
    sink = np.zeros(blocks * THREADS, np.uint32)
    getattr(emulated_kernels, name)(table, table.nbytes, blocks, rounds, sink)
    parts = table.reshape(rows, lanes, -1).sum(2, dtype=np.uint32)  # what each lane reads of a row
    expected = parts[places(len(sink) // lanes, rounds, rows)].sum(0, dtype=np.uint32)
    np.testing.assert_array_equal(sink, expected.reshape(-1))


@pytest.mark.parametrize(("addition", "width"), [(SINGLE, 2), (PAIR, 2), (QUAD, 4), (HALVES, 2)])
def test_rows_are_added_to(emulated_kernels: EmulatedKernels, addition: int, width: int) -> None:
    rows, rounds, blocks = 29, 1, 2
    table = aligned((rows, width), np.float16 if addition == HALVES else np.float32)
    emulated_kernels.probe_add(addition, table.view(np.uint8), table.nbytes, blocks, rounds)
    added = np.bincount(places(blocks * THREADS, rounds, rows).reshape(-1), minlength=rows)
    np.testing.assert_array_equal(table, np.repeat(added[:, None], width, 1))


def test_words_are_counted(emulated_kernels: EmulatedKernels) -> None:
    counts, rounds, blocks = np.zeros(WORDS, np.uint32), 2, 2
    emulated_kernels.probe_count(blocks, rounds, counts)
    numbers = mixed(np.arange(rounds * UNROLL * blocks * THREADS)) % WORDS
    np.testing.assert_array_equal(counts, np.bincount(numbers, minlength=WORDS))


@pytest.mark.parametrize("sums_a_warp", [32, 48])
def test_products_are_accumulated(emulated_kernels: EmulatedKernels, sums_a_warp: int) -> None:
    generator = np.random.default_rng(2)
    steps, rounds, blocks = 3, 8, 2
    columns = np.concatenate([generator.permutation(sums_a_warp)[:32] for _ in range(steps * 32)]).astype(np.uint32)
    values = generator.integers(0, 50, steps * THREADS).astype(np.float32)
    totals = np.zeros(blocks, np.float32)
    emulated_kernels.probe_accumulate(columns, values, len(columns), sums_a_warp, blocks, rounds, totals)
    a_step = 0.5 * values.reshape(steps, THREADS).sum(1)
    expected = [sum(a_step[(steps * block // blocks + i) % steps] for i in range(rounds)) for block in range(blocks)]
    np.testing.assert_array_equal(totals, expected)
