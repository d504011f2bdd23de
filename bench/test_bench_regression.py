# SPDX-License-Identifier: Apache-2.0
"""Our operators alone, at small sizes, for pytest-benchmark: to see a regression within a minute.

pytest bench/test_bench_regression.py --benchmark-autosave
pytest bench/test_bench_regression.py --benchmark-compare --benchmark-compare-fail=median:10%
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import warphash

from bench import hamming_inputs as make
from bench import hashgrid_inputs, hashgrid_ours, spgemm_inputs, spgemm_ours
from bench.hashgrid_inputs import Shape

pytest.importorskip("pytest_benchmark")

CPU = torch.device("cpu")
CODES = 1 << 16


@pytest.mark.parametrize("bits", [64, 256, 1024])
@pytest.mark.parametrize("queries", [1, 32, 256])
def test_topk(benchmark: Any, queries: int, bits: int) -> None:
    search = make.random_search(CPU, queries, CODES, bits)
    distances, _ = benchmark(warphash.hamming.topk, search.queries, search.database, 10)
    assert distances.shape == (queries, 10)


def test_topk_falling(benchmark: Any) -> None:
    search = make.falling_search(CPU, 32, CODES, 256)
    distances, _ = benchmark(warphash.hamming.topk, search.queries, search.database, 10)
    assert distances[0, 0] < 10


@pytest.mark.parametrize("k", [100, 1000])
def test_topk_large_k(benchmark: Any, k: int) -> None:
    search = make.random_search(CPU, 32, CODES, 256)
    distances, _ = benchmark(warphash.hamming.topk, search.queries, search.database, k)
    assert distances.shape == (32, k)


def test_range_search(benchmark: Any) -> None:
    search = make.range_search(CPU, 32, CODES, 256, 32)
    offsets, distances, _ = benchmark(warphash.hamming.range_search, search.queries, search.database, 32)
    assert offsets[-1] == len(distances)


def test_histogram(benchmark: Any) -> None:
    search = make.random_search(CPU, 32, CODES, 256)
    counts = benchmark(warphash.hamming.histogram, search.queries, search.database)
    assert (counts.sum(1) == CODES).all()


def test_cdist(benchmark: Any) -> None:
    search = make.random_search(CPU, 128, 8192, 256)
    assert benchmark(warphash.hamming.cdist, search.queries, search.database).shape == (128, 8192)


def test_asymmetric_topk(benchmark: Any) -> None:
    search = make.asymmetric_search(CPU, 32, CODES, 256)
    scores, _ = benchmark(warphash.hamming.asymmetric_topk, search.queries, search.database, 10)
    assert scores.shape == (32, 10)


def test_jaccard_topk(benchmark: Any) -> None:
    search = make.random_search(CPU, 32, CODES, 256)
    similarities, _ = benchmark(warphash.hamming.jaccard_topk, search.queries, search.database, 10)
    assert similarities.shape == (32, 10)


def test_pack(benchmark: Any) -> None:
    x = torch.randn(CODES // 4, 256, generator=torch.Generator().manual_seed(5))
    assert benchmark(warphash.hamming.pack, x).shape == (CODES // 4, 32)


def test_unpack(benchmark: Any) -> None:
    codes = make.random_database(CODES, 256)
    assert benchmark(warphash.hamming.unpack, codes, 256).shape == (CODES, 256)


GRIDS = pytest.mark.parametrize(
    "grid",
    [Shape(points=CODES), Shape(points=CODES, log2_rows=14), Shape(points=CODES, dims=2, log2_rows=15)],
    ids=["3d-large", "3d-small", "2d"],
)


@GRIDS
def test_hashgrid_encode(benchmark: Any, grid: Shape) -> None:
    problem = hashgrid_inputs.encoding(CPU, grid)
    assert benchmark(hashgrid_ours.solve_encode, problem).shape == (CODES, 32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_hashgrid_encode_half(benchmark: Any, dtype: torch.dtype) -> None:
    problem = hashgrid_inputs.encoding(CPU, Shape(points=CODES, dtype=dtype))
    assert benchmark(hashgrid_ours.solve_encode, problem).dtype == dtype


@GRIDS
def test_hashgrid_backward(benchmark: Any, grid: Shape) -> None:
    problem = hashgrid_inputs.encoding(CPU, grid)
    to_x, to_table = benchmark(hashgrid_ours.solve_both_backward, problem)
    assert to_x.shape == problem.x.shape
    assert to_table.shape == problem.table.shape


@GRIDS
def test_hashgrid_double_backward(benchmark: Any, grid: Shape) -> None:
    problem = hashgrid_inputs.encoding(CPU, grid)
    to_gradient, to_x, to_table, _ = benchmark(
        torch.ops.warphash.hashgrid_double_backward,
        problem.x,
        problem.gradient,
        problem.x,
        problem.table,
        None,
        problem.spec.text,
        *(True, True, True, False),
        False,
    )
    assert to_gradient.shape == problem.gradient.shape
    assert to_x.shape == problem.x.shape
    assert to_table.shape == problem.table.shape


GRAPHS = pytest.mark.parametrize(
    "graph",
    [partial(spgemm_inputs.rmat, 11), partial(spgemm_inputs.erdos_renyi, 14, 8), partial(spgemm_inputs.stencil, 16)],
    ids=["R-MAT", "random", "stencil"],
)


@GRAPHS
def test_spgemm_matmul(benchmark: Any, graph: Any) -> None:
    problem = spgemm_inputs.square(CPU, graph=graph)
    assert benchmark(spgemm_ours.solve_matmul, problem).shape == problem.a.shape


@GRAPHS
def test_spgemm_gradients(benchmark: Any, graph: Any) -> None:
    problem = spgemm_inputs.backward(CPU, graph=graph)
    to_a, to_b = benchmark(spgemm_ours.backward_call(problem))
    assert to_a.shape == to_b.shape == problem.a.shape


@GRAPHS
def test_spgemm_reuse(benchmark: Any, graph: Any) -> None:
    problem = spgemm_inputs.reuse(CPU, graph=graph)
    assert benchmark(spgemm_ours.solve_reuse, problem).shape == (problem.plan.nnz,)


def test_spgemm_masked(benchmark: Any) -> None:
    problem = spgemm_inputs.triangles(CPU, scale=11)
    assert benchmark(spgemm_ours.solve_matmul, problem).values().min() >= 1


def test_spgemm_topk(benchmark: Any) -> None:
    problem = spgemm_inputs.wide(CPU, queries=32, documents=10_000, k=100)
    assert benchmark(spgemm_ours.solve_topk, problem)[0].shape == (32, 100)
