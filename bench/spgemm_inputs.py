# SPDX-License-Identifier: Apache-2.0
"""Matrices for the benches of sparse products: graphs, a stencil, learned sparse queries and documents.

Values lie between 0.5 and 1.5, so that no sum of products is zero: SciPy leaves such entries out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy import sparse

from bench.harness.workload import Settings

Matrix = sparse.csr_matrix  # what the peers take: neither MKL's binding nor sparse_dot_topn has heard of csr_array


@dataclass(frozen=True)
class Size:
    """What a product needs: written down, since needs are stated before a matrix is made; the tests count them."""

    products: int  # pairs of entries that meet
    entries: int  # of the result

    @property
    def written(self) -> int:
        """Bytes of the result's columns and values, 32 bits each."""
        return 8 * self.entries


@dataclass(frozen=True)
class Product:
    """a @ b; k: only so many of each row. plan: the pattern's, where only values are to be computed."""

    a: torch.Tensor  # sparse CSR, int32 indices
    b: torch.Tensor
    semiring: str = "plus_times"
    k: int = 0
    gradient: torch.Tensor | None = None  # sparse CSR on the product's pattern
    mask: torch.Tensor | None = None  # sparse CSR
    plan: Any = None

    @property
    def scipy(self) -> tuple[Matrix, Matrix]:
        """The operands, on the same memory."""
        return to_scipy(self.a), to_scipy(self.b)

    def part(self, rows: int) -> tuple[Product, float]:
        """Some rows of a, evenly taken (the first of an R-MAT graph are its hubs), and their part of the products."""
        whole, b = self.scipy
        a = whole[np.linspace(0, whole.shape[0], rows, endpoint=False).astype(np.int64)]
        share = count_products(a, b) / max(count_products(whole, b), 1)
        gradient = None
        if self.gradient is not None:
            gradient = to_torch(values_on_pattern(a, b), self.a.device)
        return Product(to_torch(a, self.a.device), self.b, self.semiring, self.k, gradient), share


def sample(problem: Product, settings: Settings, products: float, per_second: float) -> tuple[Product, Any, float]:
    """(what a slow peer gets, the same if it is less than all, its share)."""
    rows = problem.a.shape[0]
    share = min(1.0, settings.seconds_per_call * per_second / products)
    if share >= 1.0:
        return problem, None, 1.0
    part, share = problem.part(max(1, int(rows * share)))
    return part, part, share


# ---- between libraries -----------------------------------------------------------------------------------


def to_torch(matrix: Matrix, device: torch.device | None = None) -> torch.Tensor:
    """On the same memory, where the device is the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls CSR a beta feature, once
        parts = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
        return torch.sparse_csr_tensor(*parts, size=matrix.shape, check_invariants=False).to(device)


def to_scipy(matrix: torch.Tensor) -> Matrix:
    parts = (part.cpu().numpy() for part in (matrix.values(), matrix.col_indices(), matrix.crow_indices()))
    values, col, crow = parts
    # SciPy's own constructor would look through all indices.
    out = Matrix(tuple(matrix.shape), dtype=values.dtype)
    out.indptr, out.indices, out.data = crow, col, values
    return out


def count_products(a: Matrix, b: Matrix) -> int:
    return int(np.diff(b.indptr)[a.indices].sum(dtype=np.int64))


def values_on_pattern(a: Matrix, b: Matrix, seed: int = 9) -> Matrix:
    """Random values on the pattern of a @ b, columns sorted."""
    product = a @ b
    product.sort_indices()
    product.data = _values(np.random.default_rng(seed), product.nnz)
    return product


# ---- graphs ----------------------------------------------------------------------------------------------


def _values(generator: np.random.Generator, count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return generator.random(count, dtype=np.float32) + np.float32(0.5)


def _from_edges(row: Any, col: Any, shape: tuple[int, int], generator: np.random.Generator) -> Matrix:
    """Repeated edges count once."""
    places = np.unique(row.astype(np.int64) * shape[1] + col)
    crow = np.searchsorted(places, np.arange(shape[0] + 1, dtype=np.int64) * shape[1])
    col = (places % shape[1]).astype(np.int32)
    return Matrix((_values(generator, len(places)), col, crow.astype(np.int32)), shape=shape)


@lru_cache(maxsize=2)
def rmat(scale: int, edge_factor: int = 16) -> Matrix:
    """A directed R-MAT graph with the usual parameters 0.57, 0.19, 0.19, 0.05."""
    generator = np.random.default_rng(1)
    count = edge_factor << scale
    row, col = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for _ in range(scale):
        quadrant = np.searchsorted([0.57, 0.76, 0.95], generator.random(count), side="right")
        row, col = 2 * row + (quadrant >> 1), 2 * col + (quadrant & 1)
    return _from_edges(row, col, (1 << scale, 1 << scale), generator)


@lru_cache(maxsize=1)
def erdos_renyi(scale: int, degree: int) -> Matrix:
    """Every row has about `degree` columns, drawn evenly."""
    generator = np.random.default_rng(2)
    rows = 1 << scale
    col = generator.integers(0, rows, rows * degree)
    return _from_edges(np.repeat(np.arange(rows), degree), col, (rows, rows), generator)


@lru_cache(maxsize=1)
def stencil(side: int) -> Matrix:
    """Every point of a cube of side³ points and its neighbours, 27 with itself."""
    band = sparse.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(side, side))
    matrix = Matrix(sparse.kron(sparse.kron(band, band), band))
    matrix.sort_indices()
    return Matrix((_values(np.random.default_rng(3), matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)


@lru_cache(maxsize=1)
def lower_triangle(scale: int) -> Matrix:
    """Of an R-MAT graph without directions: every edge once, from the vertex of the higher number. Values are 1."""
    graph = rmat(scale)
    lower = Matrix(sparse.tril(graph + graph.T, -1))
    lower.sort_indices()
    lower.data = np.ones(lower.nnz, np.float32)
    return lower


# ---- learned sparse retrieval ----------------------------------------------------------------------------

VOCABULARY, QUERY_TERMS, DOCUMENT_TERMS = 30_000, 30, 128


def _terms(rows: int, drawn: int, generator: np.random.Generator) -> Matrix:
    """Terms of texts: frequencies fall as 1 / (rank + 30), as those of SPLADE's expansions do; a term counts once."""
    weight = np.cumsum(1 / (np.arange(VOCABULARY) + 30.0))
    table = np.searchsorted(weight, (np.arange(1 << 18) + 0.5) / (1 << 18) * weight[-1]).astype(np.int32)
    col = table[generator.integers(0, len(table), (rows, drawn), dtype=np.int32)]
    col.sort(axis=1)
    first = np.diff(col, axis=1, prepend=-1) != 0
    crow = np.concatenate([[0], np.cumsum(first.sum(axis=1))]).astype(np.int32)
    return Matrix((_values(generator, int(crow[-1])), col[first], crow), shape=(rows, VOCABULARY))


@lru_cache(maxsize=1)
def _documents(count: int) -> Matrix:
    documents = _terms(count, DOCUMENT_TERMS, np.random.default_rng(4)).T.tocsr()
    documents.sort_indices()
    return documents


@lru_cache(maxsize=2)
def queries_and_documents(queries: int, documents: int) -> tuple[Matrix, Matrix]:
    """[queries, vocabulary] and [vocabulary, documents]."""
    return _terms(queries, QUERY_TERMS, np.random.default_rng(5)), _documents(documents)


# ---- problems --------------------------------------------------------------------------------------------


def square(device: torch.device, *, graph: Callable[[], Matrix], semiring: str = "plus_times") -> Product:
    """A graph's matrix by itself."""
    matrix = to_torch(graph(), device)
    return Product(matrix, matrix, semiring)


def wide(device: torch.device, *, queries: int, documents: int, k: int = 0) -> Product:
    a, b = (to_torch(matrix, device) for matrix in queries_and_documents(queries, documents))
    return Product(a, b, k=k)


def backward(device: torch.device, *, graph: Callable[[], Matrix]) -> Product:
    """Gradients of the product's values are given, of both operands' values are wanted."""
    matrix = graph()
    gradient = to_torch(values_on_pattern(matrix, matrix), device)
    operand = to_torch(matrix, device)
    return Product(operand, operand, gradient=gradient)


def reuse(device: torch.device, *, graph: Callable[[], Matrix]) -> Product:
    """The pattern's plan is made before."""
    import warphash

    problem = square(device, graph=graph)
    return Product(problem.a, problem.b, plan=warphash.spgemm.plan(problem.a, problem.b))


def triangles(device: torch.device, *, scale: int) -> Product:
    """Wedges closed by an edge, at that edge: their sum is the number of triangles."""
    lower = to_torch(lower_triangle(scale), device)
    return Product(lower, lower, mask=lower)
