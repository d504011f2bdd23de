# SPDX-License-Identifier: Apache-2.0
"""What each demo kernel must compute: every check runs the kernel on small input and compares with NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .emulated import EmulatedKernels

KERNELS = "tests/cuda_emulation/kernels"
NAMES = ("block_sum", "scan", "histogram", "hamming_topk", "mma_tiles", "hash_grid", "spgemm", "intrinsics")
NAMES += ("clusters", "copy_out")
SOURCES = [*(f"{KERNELS}/{name}.cu" for name in NAMES), f"{KERNELS}/launchers.cpp"]


def _popcount(x: np.ndarray) -> np.ndarray:
    return np.unpackbits(x.view(np.uint8), axis=-1).sum(-1, dtype=np.int64)


def _integers(seed: int, low: int, high: int, shape: object, dtype: object) -> np.ndarray:
    widest = np.int64 if low < 0 else np.uint64
    return np.random.default_rng(seed).integers(low, high, shape, dtype=widest).astype(dtype)


def block_sum(kernels: EmulatedKernels) -> None:
    for n in (1, 127, 1000):
        x = _integers(0, 0, 100, n, np.float32)
        sums = np.zeros(3, np.float32)
        kernels.block_sum(x, sums, n, 3)
        assert sums.sum() == x.sum(), n


def scan(kernels: EmulatedKernels) -> None:
    x = _integers(0, 0, 10, 1500, np.uint32)
    y, state = np.zeros_like(x), np.zeros(13, np.uint32)
    kernels.scan(x, y, state, len(x))
    np.testing.assert_array_equal(y, np.cumsum(x))


def histogram(kernels: EmulatedKernels) -> None:
    x = _integers(0, 0, 20, 1999, np.uint8)
    bins = np.zeros(256, np.uint32)
    kernels.histogram(x, bins, len(x), 3)
    np.testing.assert_array_equal(bins, np.bincount(x, minlength=256))


def hamming_topk(kernels: EmulatedKernels) -> None:
    for q, n, words, k in ((5, 333, 2, 10), (4, 7, 1, 10), (1, 200, 4, 64)):
        queries, codes = _integers(0, 0, 2**64, (q, words), np.uint64), _integers(1, 0, 2**64, (n, words), np.uint64)
        best = np.zeros((q, k), np.uint64)
        kernels.hamming_topk(queries, codes, best, q, n, words, k)
        distances = _popcount(queries[:, None] ^ codes[None]).astype(np.uint64)
        keys = np.sort(distances << np.uint64(32) | np.arange(n, dtype=np.uint64), axis=1)[:, :k]
        expected = np.full((q, k), 2**64 - 1, np.uint64)
        expected[:, : keys.shape[1]] = keys
        np.testing.assert_array_equal(best, expected)


def hamming_tiles(kernels: EmulatedKernels) -> None:
    queries, codes = _integers(0, 0, 2**32, (21, 8), np.uint32), _integers(1, 0, 2**32, (19, 8), np.uint32)
    distances = np.full((21, 19), -1, np.int32)
    kernels.hamming_tiles(queries, codes, distances, 21, 19)
    np.testing.assert_array_equal(distances, _popcount(queries[:, None] ^ codes[None]))


def byte_tiles(kernels: EmulatedKernels) -> None:
    b = _integers(1, -128, 128, (8, 32), np.int8)
    for launch, a in (
        (kernels.tile_s8, _integers(0, -128, 128, (16, 32), np.int8)),
        (kernels.tile_u8_s8, _integers(0, 0, 256, (16, 32), np.uint8)),
    ):
        d = np.zeros((16, 8), np.int32)
        launch(a, b, d)
        np.testing.assert_array_equal(d, a.astype(np.int32) @ b.astype(np.int32).T)


def _to_bf16(x: np.ndarray) -> np.ndarray:
    bits = x.view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32).astype(np.float64)


def bf16_tiles(kernels: EmulatedKernels) -> None:
    random = np.random.default_rng(0)
    for values in (lambda shape: random.integers(-8, 9, shape), random.standard_normal):
        a, b, d = (values(shape).astype(np.float32) for shape in ((16, 16), (8, 16), (16, 8)))
        expected = d + _to_bf16(a) @ _to_bf16(b).T
        kernels.tile_bf16(a, b, d)
        np.testing.assert_allclose(d, expected, rtol=1e-5, atol=1e-5)
    a, b, d = np.zeros((16, 16), np.float32), np.ones((8, 16), np.float32), np.ones((16, 8), np.float32)
    a[3, 5], a[4, 6] = np.nan, np.inf
    kernels.tile_bf16(a, b, d)
    assert np.isnan(d[3]).all()
    assert (d[4] == np.inf).all()
    assert (np.delete(d, [3, 4], 0) == 1).all()


def hash_grid(kernels: EmulatedKernels) -> None:
    n, levels, slots = 203, 3, 64
    random = np.random.default_rng(0)
    points = random.random((n, 3), dtype=np.float32)
    table = random.standard_normal((levels, slots, 2)).astype(np.float32)
    dy = random.standard_normal((n, levels, 2)).astype(np.float32)
    y, dtable = np.zeros_like(dy), np.zeros_like(table)
    kernels.grid_forward(points, table, y, n, levels, slots)
    kernels.grid_backward(points, dy, dtable, n, levels, slots)
    expected_y, expected_dtable = np.zeros(dy.shape), np.zeros(table.shape)
    for level in range(levels):
        x = points * np.float32(4 << level)
        low = np.floor(x)
        for corner in range(8):
            bits = np.array([corner >> axis & 1 for axis in range(3)])
            hashed = (low.astype(np.int64) + bits) * np.array([1, 2654435761, 805459861]) % 2**32
            slot = np.bitwise_xor.reduce(hashed, axis=1) & (slots - 1)
            weight = np.where(bits, x - low, 1 - (x - low)).astype(np.float64).prod(1)[:, None]
            expected_y[:, level] += weight * table[level, slot]
            np.add.at(expected_dtable[level], slot, weight * dy[:, level])
    np.testing.assert_allclose(y, expected_y, atol=1e-5)
    np.testing.assert_allclose(dtable, expected_dtable, atol=1e-4)


def _csr(dense: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = np.concatenate([[0], (dense != 0).sum(1).cumsum()]).astype(np.int32)
    return rows, np.nonzero(dense)[1].astype(np.int32), dense[dense != 0].astype(np.float32)


def spgemm(kernels: EmulatedKernels) -> None:
    random = np.random.default_rng(0)
    a = random.integers(1, 5, (20, 30)) * (random.random((20, 30)) < 0.3)
    b = random.integers(1, 5, (30, 40)) * (random.random((30, 40)) < 0.2)
    rows, columns, values = _csr(a @ b)
    counts, got_columns, got_values = np.zeros(20, np.int32), np.zeros_like(columns), np.zeros_like(values)
    kernels.spgemm(*_csr(a), *_csr(b), counts, None, None, None, 20, 128)
    np.testing.assert_array_equal(counts, np.diff(rows))
    kernels.spgemm(*_csr(a), *_csr(b), counts, rows, got_columns, got_values, 20, 128)
    np.testing.assert_array_equal(got_columns, columns)
    np.testing.assert_array_equal(got_values, values)


def integers(kernels: EmulatedKernels) -> None:
    x, y = (_integers(seed, 0, 2**32, 32, np.uint32) for seed in (0, 1))
    got = np.zeros((32, 20), np.uint32)
    kernels.integers(x, y, got)
    of_all = [
        min(map(int, x)),
        max(map(int, x.view(np.int32))),
        sum(map(int, x)),
        int(np.bitwise_or.reduce(x & 0xFF0) ^ np.bitwise_and.reduce(x | 0xFF)),
        sum(int(v & 1) << i for i, v in enumerate(x)),
    ]
    for lane, (a, b) in enumerate(zip(map(int, x), map(int, y), strict=True)):
        wide, signed = a << 32 | b, [np.frombuffer(v.to_bytes(4, "little"), np.int8).astype(int) for v in (a, b)]
        first, pair = (v & -v for v in (a, wide))
        third = a >> 16 & 0xFF
        expected = [
            a.bit_count() + 100 * wide.bit_count(),
            32 - a.bit_length() + 100 * (64 - wide.bit_length()),
            first.bit_length() + 100 * pair.bit_length(),
            int(f"{a:032b}"[::-1], 2),
            int(f"{b:032b}"[::-1], 2),
            a & 0xFF | third << 8 | (0xFF0000 if third & 0x80 else 0) | b >> 24 << 24,
            a * b >> 32,
            (b << 32 | a) << 9 >> 32,
            (b << 32 | a) >> 9,
            int(signed[0] @ signed[1]) - 5,
            *of_all,
            sum(int(v & 3 == a & 3) << i for i, v in enumerate(x)),
            int(x[(lane & ~7) | (lane + 3) % 8] ^ y[5]),
            int(x[lane ^ 5]),
            3,
            int(np.bitwise_xor.reduce(y[lane // 4 * 4 :][:4])),
        ]
        assert [int(v) for v in got[lane]] == [v % 2**32 for v in expected], lane


def atomics(kernels: EmulatedKernels) -> None:
    x = _integers(0, 0, 2**32, 32, np.uint32)
    narrow, wide = np.array([2**32 - 1, 0, 0, 0, 0], np.uint32), np.array([2**64 - 1, 0, 0], np.uint64)
    kernels.atomics(x, narrow, wide)
    total = int(x.sum(dtype=np.uint64))
    assert narrow.tolist() == [x.min(), x.max(), total % 2**32, np.bitwise_xor.reduce(x), total % 2**32]
    assert wide.tolist() == [int(x.min()) << 32, int(x.max()) << 32, (total << 32) % 2**64]


def floats(kernels: EmulatedKernels) -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 32)).astype(np.float32)
    got = np.zeros((32, 6), np.float32)
    kernels.floats(x, y, got)
    bits = x.view(np.uint32)
    bfloat16 = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).view(np.float32)
    fused = (x.astype(np.float64) * y + x).astype(np.float32)  # off by a last bit only where float64 rounds to a tie
    expected = [x / y, x * y + x, fused, x.astype(np.float16).astype(np.float32), bfloat16, -x]
    np.testing.assert_array_equal(got, np.stack(expected, axis=1))


def group_adds(kernels: EmulatedKernels) -> None:
    x = _integers(0, 0, 100, 32, np.float32)
    sums = np.zeros(11, np.float32)
    sums = sums[-sums.ctypes.data % 16 // 4 :][:8]
    kernels.group_adds(x, sums)
    even, odd = x[::2].sum(), x[1::2].sum()
    np.testing.assert_array_equal(sums, [even, 2 * even, odd, 2 * odd, *(x.sum() * factor for factor in (1, 2, 3, 4))])


def halves_adds(kernels: EmulatedKernels) -> None:
    """Sums of small integers are exact in any order; denormals count."""
    halves = _integers(0, 0, 60, (32, 2), np.float16)
    halves[::2, 1] = 0
    halves[6, 1] = 2**-24
    sums = np.zeros((2, 2), np.float16)
    kernels.halves_adds(halves.view(np.uint32), sums.view(np.uint32))
    np.testing.assert_array_equal(sums, [halves[::2].sum(0), halves[1::2].sum(0)])


def relaxed_words(kernels: EmulatedKernels) -> None:
    narrow, wide = np.zeros(5, np.uint32), np.zeros(5, np.uint64)
    kernels.relaxed_words(narrow, wide, 5)
    assert narrow.tolist() == [1, 2, 3, 4, 5]
    assert wide.tolist() == [(i + 1) << 40 for i in range(5)]


def cluster_scan(kernels: EmulatedKernels) -> None:
    for size in (1, 2, 4, 8):
        x = _integers(size, 0, 10, (3, 1000), np.uint32)
        y = np.zeros_like(x)
        kernels.cluster_scan(x, y, 3, 1000, size, 2)
        np.testing.assert_array_equal(y, np.cumsum(x, axis=1))


def copy_out(kernels: EmulatedKernels) -> None:
    for n in (3, 64, 1000):
        for phase in range(4):
            x = _integers(n, 0, 100, n, np.uint32)
            room = np.zeros(n + 8, np.uint32)
            y = room[-room.ctypes.data % 16 // 4 + phase :][:n]
            kernels.copy_out(x, y, n, 2)
            np.testing.assert_array_equal(y, 2 * x + 1)
            assert room.sum() == y.sum()


CHECKS: dict[str, Callable[[EmulatedKernels], None]] = {
    check.__name__: check
    for check in (
        block_sum,
        scan,
        histogram,
        hamming_topk,
        hamming_tiles,
        byte_tiles,
        bf16_tiles,
        hash_grid,
        spgemm,
        integers,
        atomics,
        floats,
        group_adds,
        halves_adds,
        relaxed_words,
        cluster_scan,
        copy_out,
    )
}
