# SPDX-License-Identifier: Apache-2.0
"""The kernels of each instruction set on NumPy arrays: equal among themselves and to oracles made by others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import warphash as wh
from numpy.typing import NDArray
from warphash import _C

from .samples import codes, values

kernels = _C.kernels
Array = NDArray[np.uint8]


def pair(queries: int, count: int, bytes_: int) -> tuple[Array, Array]:
    """Random queries and database."""
    return codes(queries, bytes_, 1).numpy(), codes(count, bytes_, 2).numpy()


def counted(q: Array, d: Array) -> NDArray[np.int64]:
    """All distances by NumPy's own popcount."""
    return np.stack([np.bitwise_count(row ^ d).sum(1, dtype=np.int64) for row in q])


def first_k(costs: NDArray[np.int64], k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The k smallest of each row by (cost, index)."""
    order = np.argsort(costs, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(costs, order, 1), order


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Several thread counts, more than the machine's among them."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("bytes_", [1, 3, 8, 12, 16, 20, 32, 64, 72, 128, 200])
def test_distances_are_numpys(isa: str, bytes_: int) -> None:
    q, d = pair(7, 1000, bytes_)
    expected = counted(q, d)
    assert np.array_equal(kernels.hamming_cdist(isa, q, d), expected)
    distances, indices = first_k(expected, 20)
    keys, found = kernels.hamming_topk(isa, q, d, 20)
    assert np.array_equal(keys, distances)
    assert np.array_equal(found, indices)


@pytest.mark.parametrize("queries", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 47, 48, 49, 64, 257, 1100])
def test_query_blocks_are_as_numpy(isa: str, queries: int, threads: int) -> None:
    q, d = pair(queries, 700, 16)
    distances, indices = first_k(counted(q, d), 9)
    keys, found = kernels.hamming_topk(isa, q, d, 9)
    assert np.array_equal(keys, distances)
    assert np.array_equal(found, indices)


@pytest.mark.parametrize("queries", [1, 6, 60])
@pytest.mark.parametrize("bytes_", [8, 32, 40])
def test_large_databases_are_as_numpy(isa: str, queries: int, bytes_: int, threads: int) -> None:
    q, d = pair(queries, 50_001, bytes_)
    d[20_000:20_100] = d[:100]  # ties across parts
    distances, indices = first_k(counted(q[:3], d), 50)
    keys, found = kernels.hamming_topk(isa, q, d, 50)
    assert np.array_equal(keys[:3], distances)
    assert np.array_equal(found[:3], indices)


@pytest.mark.parametrize("k", [0, 1, 2, 100, 1000, 5000, 5001])
def test_every_k_is_as_numpy(isa: str, k: int) -> None:
    q, d = pair(5, 5000, 4)
    distances, indices = first_k(counted(q, d), k)
    keys, found = kernels.hamming_topk(isa, q, d, k)
    assert keys.shape == found.shape == (5, k)
    assert np.array_equal(keys[:, :5000], distances)
    assert np.array_equal(found[:, :5000], indices)
    assert (keys[:, 5000:] == 2**32 - 1).all()
    assert (found[:, 5000:] == -1).all()


@pytest.mark.parametrize("bytes_", [1, 2, 5, 8, 13, 16, 32, 65])
@pytest.mark.parametrize("queries", [1, 5, 70])
def test_levels_agree_on_jaccard_and_scores(isa: str, bytes_: int, queries: int, threads: int) -> None:
    q, d = pair(queries, 9000, bytes_)
    q[0] = 0
    d[::7] = 0
    weights = values(queries, 8 * bytes_).numpy()
    for run in (
        lambda level: kernels.hamming_jaccard_topk(level, q, d, 33),
        lambda level: kernels.hamming_asymmetric_topk(level, weights, d, 33),
    ):
        for a, b in zip(run(isa), run("scalar"), strict=True):
            assert np.array_equal(a, b)


def test_jaccard_is_as_numpy(isa: str) -> None:
    q, d = pair(4, 800, 24)
    both = np.stack([np.bitwise_count(row & d).sum(1) for row in q]).astype(np.float32)
    union = np.stack([np.bitwise_count(row | d).sum(1) for row in q]).astype(np.float32)
    order = np.argsort(-(both / union), axis=1, kind="stable")[:, :30]
    assert np.array_equal(kernels.hamming_jaccard_topk(isa, q, d, 30)[1], order)


def test_scores_are_near_the_matrix_product(isa: str) -> None:
    """In float64 the ranking is another only where scores are as good as equal."""
    weights, d = values(4, 96).numpy(), codes(800, 12).numpy()
    signs = 2.0 * np.unpackbits(d, axis=1, bitorder="little") - 1
    scores = weights.astype(np.float64) @ signs.T
    found = kernels.hamming_asymmetric_topk(isa, weights, d, 800)[1]
    assert np.array_equal(np.sort(found, axis=1), np.tile(np.arange(800), (4, 1)))
    assert (np.diff(np.take_along_axis(scores, found, 1), axis=1) < 1e-4).all()


def test_kernels_refuse_what_does_not_fit() -> None:
    q, d = pair(2, 5, 4)
    with pytest.raises(ValueError, match="isa must be scalar, avx2, avx512 or amx, got 'neon'"):
        kernels.hamming_topk("neon", q, d, 1)
    with pytest.raises(ValueError, match="one width"):
        kernels.hamming_topk("scalar", q, d[:, :3], 1)
    with pytest.raises(ValueError, match="k must not be negative"):
        kernels.hamming_topk("scalar", q, d, -1)
    with pytest.raises(ValueError, match=r"float32 \[Q, 8 \* bytes\]"):
        kernels.hamming_asymmetric_topk("scalar", np.zeros((2, 31), np.float32), d, 1)
    best = wh.build_info()["machine_isa"]
    if best != "amx":
        with pytest.raises(RuntimeError, match="this machine has no amx"):
            kernels.hamming_topk("amx", q, d, 1)


@pytest.mark.parametrize("bytes_", [8, 16, 20, 32, 128])
def test_faiss_finds_the_same(bytes_: int) -> None:
    """A library of others: equal distances, and equal indices but among equal distances at the end of a row."""
    faiss = pytest.importorskip("faiss")
    q, d = pair(9, 3000, bytes_)
    index = faiss.IndexBinaryFlat(8 * bytes_)
    index.add(d)
    theirs, their_indices = index.search(q, 25)
    ours, indices = wh.hamming.topk(q, d, 25)
    assert np.array_equal(ours, theirs)
    for row in range(9):
        last = ours[row, -1]
        sure = ours[row] < last
        assert set(indices[row][sure]) == set(their_indices[row][theirs[row] < last])
    limits, near, _ = index.range_search(q, 3 * bytes_ + 1)  # theirs is strict
    offsets, distances, _ = wh.hamming.range_search(q, d, 3 * bytes_)
    assert np.array_equal(offsets, limits.astype(np.int64))
    for begin, end in itertools.pairwise(offsets):
        assert np.array_equal(distances[begin:end], np.sort(near[begin:end]))
