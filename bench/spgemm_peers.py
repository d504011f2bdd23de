# SPDX-License-Identifier: Apache-2.0
"""Contestants for sparse products: SciPy, MKL, torch, GraphBLAS, CuPy, cuSPARSE, and a hash product in Numba."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch

from bench.harness.workload import Contestant, Prepared, Settings, Unavailable
from bench.spgemm_cusparse import CUSPARSE_PEERS
from bench.spgemm_inputs import Csr, Product
from bench.spgemm_ours import BOTH, as_matrix

# ---- SciPy and torch -------------------------------------------------------------------------------------


def scipy_operands(problem: Product) -> tuple[Any, Any]:
    a, b = problem.csr
    return a.scipy(), b.scipy()


def scipy_product(problem: Product, settings: Settings) -> Prepared:
    a, b = scipy_operands(problem)
    return Prepared(lambda: a @ b, as_matrix, note="one thread always, columns unsorted")


def torch_product(problem: Product, settings: Settings) -> Prepared:
    return Prepared(lambda: torch.sparse.mm(problem.a, problem.b), as_matrix)


# ---- MKL -------------------------------------------------------------------------------------------------


@lru_cache
def _mkl() -> Any:
    # Its threads would spin for 200 ms after each call, on the cores of whoever comes next.
    os.environ.setdefault("KMP_BLOCKTIME", "1")
    if "MKL_RT" not in os.environ:
        # The binding looks for names of older versions only.
        try:
            package = importlib.metadata.distribution("mkl")
        except importlib.metadata.PackageNotFoundError as error:
            raise Unavailable("MKL is not installed") from error
        for file in package.files or ():
            if "libmkl_rt.so" in file.name:
                os.environ["MKL_RT"] = str(package.locate_file(file))
    import sparse_dot_mkl

    return sparse_dot_mkl


def mkl(settings: Settings) -> Callable[..., Any]:
    """Its product, on as many threads as all have."""
    binding = _mkl()
    binding.mkl_set_num_threads(settings.threads)
    return binding.dot_product_mkl


def mkl_product(problem: Product, settings: Settings, ordered: bool = False) -> Prepared:
    product = mkl(settings)
    a, b = scipy_operands(problem)
    note = "" if ordered else "through sparse_dot_mkl, columns unsorted"
    return Prepared(lambda: product(a, b, reorder_output=ordered), as_matrix, note=note)


# ---- GraphBLAS -------------------------------------------------------------------------------------------


def graphblas(settings: Settings) -> Any:
    """The module, on as many threads as all have; results may stay unsorted until somebody looks."""
    import graphblas

    graphblas.init("suitesparse", blocking=False)
    graphblas.ss.config["nthreads"] = settings.threads
    return graphblas


def to_graphblas(library: Any, matrix: Csr) -> Any:
    return library.io.from_scipy_sparse(matrix.scipy())


def from_graphblas(library: Any, found: Any) -> Csr:
    return as_matrix(library.io.to_scipy_sparse(found, format="csr"))


def graphblas_product(problem: Product, settings: Settings) -> Prepared:
    library = graphblas(settings)
    a, b = (to_graphblas(library, matrix) for matrix in problem.csr)
    semiring = getattr(library.semiring, problem.semiring)
    return Prepared(
        lambda: a.mxm(b, semiring).new(), partial(from_graphblas, library), note="64-bit indices, sorted lazily"
    )


# ---- CuPy ------------------------------------------------------------------------------------------------


def cupy_product(problem: Product, settings: Settings) -> Prepared:
    import cupy
    from cupyx.scipy import sparse

    a, b = (
        sparse.csr_matrix(
            tuple(cupy.from_dlpack(part) for part in (matrix.values(), matrix.col_indices(), matrix.crow_indices())),
            shape=tuple(matrix.shape),
        )
        for matrix in (problem.a, problem.b)
    )
    return Prepared(lambda: a @ b, lambda found: as_matrix(found.get()), note="cuSPARSE, its default")


# ---- Numba -----------------------------------------------------------------------------------------------

BLOCKS = 64  # a thread, so that none waits for the last


@lru_cache
def _numba_bits() -> Any:
    """Of the size of a row's table: at least twice as many places as the row can have entries."""
    from numba import njit

    @njit(inline="always")
    def bits_of(i, a_crow, a_col, b_crow, columns):  # type: ignore[no-untyped-def]
        most = 0
        for p in range(a_crow[i], a_crow[i + 1]):
            most += b_crow[a_col[p] + 1] - b_crow[a_col[p]]
        most = min(most, columns)
        bits = 3
        while (1 << bits) < 2 * most:
            bits += 1
        return bits

    return bits_of


@lru_cache
def _numba_count() -> Callable[..., None]:
    from numba import njit, prange

    bits_of = _numba_bits()

    @njit(parallel=True, nogil=True)
    def count(blocks, a_crow, a_col, b_crow, b_col, columns, counts):  # type: ignore[no-untyped-def]
        for block in prange(len(blocks) - 1):
            largest = 3
            for i in range(blocks[block], blocks[block + 1]):
                largest = max(largest, bits_of(i, a_crow, a_col, b_crow, columns))
            table = np.full(1 << largest, -1, np.int32)
            for i in range(blocks[block], blocks[block + 1]):
                mask = (1 << bits_of(i, a_crow, a_col, b_crow, columns)) - 1
                table[: mask + 1] = -1
                found = 0
                for p in range(a_crow[i], a_crow[i + 1]):
                    k = a_col[p]
                    for q in range(b_crow[k], b_crow[k + 1]):
                        column = b_col[q]
                        place = (column * 107) & mask
                        while table[place] != column:
                            if table[place] == -1:
                                table[place] = column
                                found += 1
                                break
                            place = (place + 1) & mask
                counts[i] = found

    return count


@lru_cache
def _numba_fill(semiring: str) -> Callable[..., None]:
    """Linear probing."""
    from numba import njit, prange

    bits_of, tropical = _numba_bits(), semiring == "min_plus"

    @njit(parallel=True, nogil=True)
    def fill(blocks, a_crow, a_col, a_values, b_crow, b_col, b_values, columns, crow, col, values):  # type: ignore[no-untyped-def]
        for block in prange(len(blocks) - 1):
            largest = 3
            for i in range(blocks[block], blocks[block + 1]):
                largest = max(largest, bits_of(i, a_crow, a_col, b_crow, columns))
            keys = np.full(1 << largest, -1, np.int32)
            sums = np.empty(1 << largest, np.float32)
            taken = np.empty(min(1 << largest, columns), np.int32)
            for i in range(blocks[block], blocks[block + 1]):
                mask = (1 << bits_of(i, a_crow, a_col, b_crow, columns)) - 1
                found = 0
                for p in range(a_crow[i], a_crow[i + 1]):
                    k, factor = a_col[p], a_values[p]
                    for q in range(b_crow[k], b_crow[k + 1]):
                        column = b_col[q]
                        product = factor + b_values[q] if tropical else factor * b_values[q]
                        place = (column * 107) & mask
                        while True:
                            key = keys[place]
                            if key == column:
                                sums[place] = min(sums[place], product) if tropical else sums[place] + product
                                break
                            if key == -1:
                                keys[place] = column
                                sums[place] = product
                                taken[found] = place
                                found += 1
                                break
                            place = (place + 1) & mask
                first = crow[i]
                for slot in range(found):
                    place = taken[slot]
                    col[first + slot] = keys[place]
                    values[first + slot] = sums[place]
                    keys[place] = -1

    return fill


def blocks_of(a: Csr, b: Csr, count: int) -> np.ndarray[Any, Any]:
    """Boundaries of blocks of rows with about equal products."""
    products = np.concatenate([[0], np.cumsum(np.diff(b.crow)[a.col], dtype=np.int64)])[a.crow]
    inner = np.searchsorted(products, np.linspace(0, products[-1], count + 1)[1:-1])
    return np.unique(np.concatenate([[0], inner, [len(products) - 1]])).astype(np.int64)


def numba_product(problem: Product, settings: Settings) -> Prepared:
    count, fill = _numba_count(), _numba_fill(problem.semiring)
    a, b = problem.csr
    rows, columns = a.shape[0], b.shape[1]
    blocks = blocks_of(a, b, BLOCKS * settings.threads)

    def call() -> Any:
        counts = np.empty(rows, np.int64)
        count(blocks, a.crow, a.col, b.crow, b.col, columns, counts)
        crow = np.zeros(rows + 1, np.int64)
        np.cumsum(counts, out=crow[1:])
        col, values = np.empty(crow[-1], np.int32), np.empty(crow[-1], np.float32)
        fill(blocks, a.crow, a.col, a.values, b.crow, b.col, b.values, columns, crow, col, values)
        return crow, col, values

    def answer(found: Any) -> Csr:
        return Csr(*found, (rows, columns)).sorted()

    return Prepared(call, answer, note="hash tables, two passes, parallel over rows, columns unsorted")


PRODUCT_PEERS = (
    Contestant("SciPy", scipy_product, baseline=True),
    Contestant("MKL", mkl_product),
    Contestant("MKL, sorted", partial(mkl_product, ordered=True)),
    Contestant("torch CSR", torch_product, devices=BOTH, baseline=True),
    Contestant("GraphBLAS", graphblas_product),
    Contestant("Numba", numba_product),
    Contestant("CuPy", cupy_product, devices=("cuda",)),
    *CUSPARSE_PEERS,
)
SEMIRING_PEERS = (Contestant("GraphBLAS", graphblas_product), Contestant("Numba", numba_product, baseline=True))
