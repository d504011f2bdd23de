# SPDX-License-Identifier: Apache-2.0
"""Contestants for what stands around the product: top-k, gradients, values on a known pattern, masks."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch

from bench.harness.workload import Contestant, Prepared, Settings
from bench.spgemm_inputs import Csr, Product, csr_of, sample
from bench.spgemm_ours import BOTH, as_arrays, as_matrix, solve_matmul, values_of
from bench.spgemm_peers import BLOCKS, blocks_of, from_graphblas, graphblas, mkl, scipy_operands, to_graphblas

# ---- top-k -----------------------------------------------------------------------------------------------


PARTITION = "the product, then argpartition"


def _best_of(product: Csr, k: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The k largest entries of each row by partition; of rows with fewer, all."""
    rows = product.shape[0]
    values = np.full((rows, k), -np.inf, np.float32)
    columns = np.full((rows, k), -1, np.int64)
    crow, col, data = product.crow, product.col, product.values
    for i in range(rows):
        row = data[crow[i] : crow[i + 1]]
        kept = np.argpartition(row, len(row) - k)[len(row) - k :] if len(row) > k else np.arange(len(row))
        kept = kept[np.argsort(-row[kept])]
        values[i, : len(kept)], columns[i, : len(kept)] = row[kept], col[crow[i] + kept]
    return values, columns


def topn(problem: Product, settings: Settings) -> Prepared:
    from sparse_dot_topn import sp_matmul_topn

    a, b = scipy_operands(problem)
    threads = settings.threads if settings.threads > 1 else None
    return Prepared(
        lambda: sp_matmul_topn(a, b, top_n=problem.k, sort=True, n_threads=threads),
        lambda found: _best_of(csr_of(found), problem.k),
    )


def mkl_topk(problem: Product, settings: Settings) -> Prepared:
    product = mkl(settings)
    a, b = scipy_operands(problem)
    return Prepared(lambda: _best_of(csr_of(product(a, b)), problem.k), as_arrays, note=PARTITION)


def scipy_topk(problem: Product, settings: Settings) -> Prepared:
    a, b = scipy_operands(problem)
    return Prepared(lambda: _best_of(csr_of(a @ b), problem.k), as_arrays, note=PARTITION)


def torch_topk(problem: Product, settings: Settings) -> Prepared:
    """Documents in CSR by dense queries: torch's fastest way to the scores."""
    documents = csr_of(problem.b).transposed().torch(problem.b.device)
    queries = problem.a.to_dense().T.contiguous()

    def call() -> Any:
        values, columns = torch.topk(documents @ queries, problem.k, dim=0)
        return values.T, columns.T

    return Prepared(call, as_arrays, note="documents in CSR by dense queries, then topk")


TOPK_PEERS = (
    Contestant("sparse_dot_topn", topn),
    Contestant("MKL", mkl_topk),
    Contestant("SciPy", scipy_topk, baseline=True),
    Contestant("torch CSR", torch_topk, devices=BOTH, baseline=True),
)

# ---- gradients -------------------------------------------------------------------------------------------


def torch_backward(problem: Product, settings: Settings) -> Prepared:
    """Of the product of two COO matrices: torch has no gradient of one of CSR matrices."""
    given, inputs, share = sample(problem, settings, 4e7)
    a, b, gradient = (matrix.to_sparse_coo().coalesce() for matrix in (given.a, given.b, given.gradient))
    a, b = a.requires_grad_(), b.requires_grad_()
    product = torch.sparse.mm(a, b)
    return Prepared(
        lambda: torch.autograd.grad(product, (a, b), grad_outputs=gradient, retain_graph=True),
        values_of,
        inputs,
        share,
        note="two products without masks, then masks",
    )


def _at(found: Csr, pattern: Csr) -> np.ndarray[Any, Any]:
    """Values at the pattern's places, zero where there is none."""
    values = np.zeros_like(pattern.values)
    keys = [matrix.rows_of_entries * matrix.shape[1] + matrix.col for matrix in (pattern, found)]
    values[np.searchsorted(*keys)] = found.values
    return values


def graphblas_backward(problem: Product, settings: Settings) -> Prepared:
    """Both masked products."""
    library = graphblas(settings)
    patterns = problem.csr
    a, b, gradient = (to_graphblas(library, matrix) for matrix in (*patterns, csr_of(problem.gradient)))
    plus_times = library.semiring.plus_times

    def call() -> Any:
        return gradient.mxm(b.T, plus_times).new(mask=a.S), a.T.mxm(gradient, plus_times).new(mask=b.S)

    def answer(found: Any) -> Any:
        return tuple(
            _at(from_graphblas(library, matrix), pattern) for matrix, pattern in zip(found, patterns, strict=True)
        )

    return Prepared(call, answer, note="G·Bᵀ masked by A, Aᵀ·G masked by B")


@lru_cache
def _numba_backward() -> Callable[..., None]:
    from numba import njit, prange

    @njit(parallel=True, nogil=True, fastmath=True)
    def backward(blocks, a_crow, a_col, a_values, b_crow, b_col, b_values, crow, col, gradient, columns, da, db):  # type: ignore[no-untyped-def]
        for block in prange(len(blocks) - 1):
            dense = np.zeros(columns, np.float32)
            own = db[block]
            own[:] = 0
            for i in range(blocks[block], blocks[block + 1]):
                for p in range(crow[i], crow[i + 1]):
                    dense[col[p]] = gradient[p]
                for p in range(a_crow[i], a_crow[i + 1]):
                    k, factor = a_col[p], a_values[p]
                    total = np.float32(0)
                    for q in range(b_crow[k], b_crow[k + 1]):
                        value = dense[b_col[q]]
                        total += value * b_values[q]
                        own[q] += value * factor
                    da[p] = total

    return backward


def numba_backward(problem: Product, settings: Settings) -> Prepared:
    """As ours: the gradient's row in a dense array, one walk for both; sums of b a thread."""
    kernel = _numba_backward()
    (a, b), gradient = problem.csr, csr_of(problem.gradient)
    blocks = blocks_of(a, b, settings.threads)

    def call() -> Any:
        da = np.empty_like(a.values)
        db = np.empty((len(blocks) - 1, len(b.col)), np.float32)
        columns = b.shape[1]
        kernel(
            blocks, a.crow, a.col, a.values, b.crow, b.col, b.values,
            gradient.crow, gradient.col, gradient.values, columns, da, db,
        )  # fmt: skip
        return da, db[0] if len(db) == 1 else db.sum(0)

    return Prepared(call, as_arrays, note="the fused walk, compiled by Numba; sums of b a thread")


BACKWARD_PEERS = (
    Contestant("torch COO", torch_backward, baseline=True),
    Contestant("GraphBLAS, masked", graphblas_backward),
    Contestant("Numba", numba_backward, baseline=True),
)

# ---- values on a known pattern ---------------------------------------------------------------------------


@lru_cache
def _numba_numeric() -> Callable[..., None]:
    from numba import njit, prange

    @njit(parallel=True, nogil=True)
    def numeric(blocks, a_crow, a_col, a_values, b_crow, b_col, b_values, crow, col, columns, values):  # type: ignore[no-untyped-def]
        for block in prange(len(blocks) - 1):
            dense = np.zeros(columns, np.float32)
            for i in range(blocks[block], blocks[block + 1]):
                for p in range(a_crow[i], a_crow[i + 1]):
                    k, factor = a_col[p], a_values[p]
                    for q in range(b_crow[k], b_crow[k + 1]):
                        dense[b_col[q]] += factor * b_values[q]
                for p in range(crow[i], crow[i + 1]):
                    values[p] = dense[col[p]]
                    dense[col[p]] = 0

    return numeric


def numba_numeric(problem: Product, settings: Settings) -> Prepared:
    kernel = _numba_numeric()
    a, b = problem.csr
    pattern = csr_of(solve_matmul(problem))
    crow, col, columns = pattern.crow, pattern.col, b.shape[1]
    blocks = blocks_of(a, b, BLOCKS * settings.threads)

    def call() -> Any:
        values = np.empty(len(col), np.float32)
        kernel(
            blocks, a.crow, a.col, a.values, b.crow, b.col, b.values, crow, col, columns, values,
        )  # fmt: skip
        return values

    return Prepared(call, as_arrays, note="dense sums, gathered at the known pattern")


def our_product(problem: Product, settings: Settings) -> Prepared:
    return Prepared(lambda: solve_matmul(problem), lambda found: as_arrays(found.values()))


def scipy_values(problem: Product, settings: Settings) -> Prepared:
    a, b = scipy_operands(problem)
    return Prepared(lambda: a @ b, lambda found: as_arrays(as_matrix(found).values), note="no plans: the full product")


REUSE_PEERS = (
    Contestant("warphash (matmul)", our_product, devices=BOTH),
    Contestant("SciPy", scipy_values),
    Contestant("Numba", numba_numeric, baseline=True),
)

# ---- masks -----------------------------------------------------------------------------------------------


def graphblas_masked(problem: Product, settings: Settings, transposed: bool = False) -> Prepared:
    """As its own triangle counts: pairs are counted, values are not read. transposed: dot products of rows."""
    library = graphblas(settings)
    a, mask = (to_graphblas(library, csr_of(matrix)) for matrix in (problem.a, problem.mask))
    right = to_graphblas(library, csr_of(problem.b).transposed()).T if transposed else a
    pairs = library.semiring.plus_pair["FP32"]
    return Prepared(lambda: a.mxm(right, pairs).new(mask=mask.S), partial(from_graphblas, library))


def scipy_masked(problem: Product, settings: Settings) -> Prepared:
    a, b = scipy_operands(problem)
    mask = csr_of(problem.mask).scipy()
    return Prepared(lambda: (a @ b).multiply(mask), lambda found: as_matrix(found.tocsr()), note="product, then mask")


@lru_cache
def _numba_masked() -> Callable[..., int]:
    from numba import njit, prange

    @njit(parallel=True, nogil=True)
    def masked(blocks, a_crow, a_col, a_values, b_crow, b_col, b_values, crow, col, columns, values, hit):  # type: ignore[no-untyped-def]
        for block in prange(len(blocks) - 1):
            slots = np.full(columns, -1, np.int32)
            for i in range(blocks[block], blocks[block + 1]):
                first = crow[i]
                for p in range(first, crow[i + 1]):
                    slots[col[p]] = p - first
                    values[p] = 0
                    hit[p] = False
                for p in range(a_crow[i], a_crow[i + 1]):
                    k, factor = a_col[p], a_values[p]
                    for q in range(b_crow[k], b_crow[k + 1]):
                        slot = slots[b_col[q]]
                        if slot >= 0:
                            values[first + slot] += factor * b_values[q]
                            hit[first + slot] = True
                for p in range(first, crow[i + 1]):
                    slots[col[p]] = -1

    return masked


def numba_masked(problem: Product, settings: Settings) -> Prepared:
    kernel = _numba_masked()
    (a, b), mask = problem.csr, csr_of(problem.mask)
    blocks = blocks_of(a, b, BLOCKS * settings.threads)

    def call() -> Any:
        values, hit = np.empty_like(mask.values), np.empty(len(mask.col), np.bool_)
        kernel(
            blocks, a.crow, a.col, a.values, b.crow, b.col, b.values,
            mask.crow, mask.col, b.shape[1], values, hit,
        )  # fmt: skip
        kept = np.concatenate([[0], np.cumsum(hit)])[mask.crow]
        return kept.astype(np.int32), mask.col[hit], values[hit]

    return Prepared(call, lambda found: Csr(*found, mask.shape), note="the mask's row as a dense array")


MASKED_PEERS = (
    Contestant("GraphBLAS", graphblas_masked),
    Contestant("GraphBLAS, dot products", partial(graphblas_masked, transposed=True)),
    Contestant("SciPy", scipy_masked, baseline=True),
    Contestant("Numba", numba_masked, baseline=True),
)
