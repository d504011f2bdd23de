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

from bench.harness.workload import Settings

Array = np.ndarray[Any, Any]


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
class Csr:
    """A matrix in NumPy's arrays: SciPy is a contestant, and may be missing."""

    crow: Array  # int32 [rows + 1]
    col: Array  # int32 [entries]
    values: Array  # float32 [entries]
    shape: tuple[int, int]

    @property
    def rows_of_entries(self) -> Array:
        return np.repeat(np.arange(self.shape[0]), np.diff(self.crow))

    def some(self, rows: Array) -> Csr:
        """These rows alone."""
        lengths = np.diff(self.crow)[rows]
        crow = np.concatenate([[0], np.cumsum(lengths)])
        places = np.repeat(self.crow[rows] - crow[:-1], lengths) + np.arange(crow[-1])
        return Csr(crow.astype(np.int32), self.col[places], self.values[places], (len(rows), self.shape[1]))

    def transposed(self) -> Csr:
        # NumPy sorts 16-bit integers by digits, wider ones by comparison.
        narrow = self.col.astype(np.uint16) if self.shape[1] <= 1 << 16 else self.col
        order = np.argsort(narrow, kind="stable")
        crow = np.concatenate([[0], np.cumsum(np.bincount(self.col, minlength=self.shape[1]))]).astype(np.int32)
        col = self.rows_of_entries.astype(np.int32)[order]
        return Csr(crow, col, self.values[order], (self.shape[1], self.shape[0]))

    def sorted(self) -> Csr:
        """Columns ascend in each row."""
        keys = self.rows_of_entries * self.shape[1] + self.col
        if np.all(keys[1:] > keys[:-1]):
            return self
        order = np.argsort(keys)
        return Csr(self.crow, self.col[order], self.values[order], self.shape)

    def torch(self, device: torch.device | None = None) -> torch.Tensor:
        """On the same memory, where the device is the CPU."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch calls CSR a beta feature, once
            parts = (torch.from_numpy(part) for part in (self.crow, self.col, self.values))
            return torch.sparse_csr_tensor(*parts, size=self.shape, check_invariants=False).to(device)

    def scipy(self) -> Any:
        """On the same memory. csr_matrix: neither MKL's binding nor sparse_dot_topn has heard of csr_array."""
        from scipy import sparse

        # The constructor that takes arrays looks through all indices, and may give them another type.
        out = sparse.csr_matrix(self.shape, dtype=self.values.dtype)
        out.indptr, out.indices, out.data = self.crow, self.col, self.values
        return out


def csr_of(matrix: Any) -> Csr:
    """Of a matrix of torch or SciPy, on the same memory where that is the CPU's."""
    if isinstance(matrix, torch.Tensor):
        parts = (part.detach().cpu().numpy() for part in (matrix.crow_indices(), matrix.col_indices(), matrix.values()))
        return Csr(*parts, tuple(matrix.shape))
    return Csr(matrix.indptr, matrix.indices, matrix.data, matrix.shape)


def count_products(a: Csr, b: Csr) -> int:
    return int(np.diff(b.crow)[a.col].sum(dtype=np.int64))


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
    def csr(self) -> tuple[Csr, Csr]:
        """The operands, on the same memory."""
        return csr_of(self.a), csr_of(self.b)

    def part(self, rows: int) -> tuple[Product, float]:
        """Some rows of a, evenly taken (the first of an R-MAT graph are its hubs), and their part of the products."""
        whole, b = self.csr
        a = whole.some(np.linspace(0, whole.shape[0], rows, endpoint=False).astype(np.int64))
        given = a.torch(self.a.device)
        gradient = None if self.gradient is None else values_on_pattern(given, self.b)
        share = count_products(a, b) / max(count_products(whole, b), 1)
        return Product(given, self.b, self.semiring, self.k, gradient), share


def sample(problem: Product, settings: Settings, per_second: float) -> tuple[Product, Any, float]:
    """Of rows, for a peer of so many products a second: (what it gets, the same if it is less than all, its share)."""
    rows = problem.a.shape[0]
    share = settings.seconds_per_call * per_second / max(count_products(*problem.csr), 1)
    if share >= 1.0:
        return problem, None, 1.0
    part, share = problem.part(max(1, int(rows * share)))
    return part, part, share


# ---- graphs ----------------------------------------------------------------------------------------------


def _values(generator: np.random.Generator, count: int) -> Array:
    return generator.random(count, dtype=np.float32) + np.float32(0.5)


def values_on_pattern(a: torch.Tensor, b: torch.Tensor, seed: int = 9) -> torch.Tensor:
    """Random values on the pattern of a @ b."""
    import warphash

    found = csr_of(warphash.spgemm.matmul(a, b))
    return Csr(found.crow, found.col, _values(np.random.default_rng(seed), len(found.col)), found.shape).torch(a.device)


def _from_edges(row: Array, col: Array, size: int, generator: np.random.Generator) -> Csr:
    """Repeated edges count once."""
    places = np.unique(row * size + col)
    crow = np.searchsorted(places, np.arange(size + 1) * size).astype(np.int32)
    return Csr(crow, (places % size).astype(np.int32), _values(generator, len(places)), (size, size))


@lru_cache(maxsize=2)
def rmat(scale: int, edge_factor: int = 16) -> Csr:
    """A directed R-MAT graph with the usual parameters 0.57, 0.19, 0.19, 0.05."""
    generator = np.random.default_rng(1)
    count = edge_factor << scale
    row, col = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for _ in range(scale):
        quadrant = np.searchsorted([0.57, 0.76, 0.95], generator.random(count), side="right")
        row, col = 2 * row + (quadrant >> 1), 2 * col + (quadrant & 1)
    return _from_edges(row, col, 1 << scale, generator)


@lru_cache(maxsize=1)
def erdos_renyi(scale: int, degree: int) -> Csr:
    """Every row has about `degree` columns, drawn evenly."""
    generator = np.random.default_rng(2)
    rows = 1 << scale
    col = generator.integers(0, rows, rows * degree)
    return _from_edges(np.repeat(np.arange(rows), degree), col, rows, generator)


@lru_cache(maxsize=1)
def stencil(side: int) -> Csr:
    """Every point of a cube of side³ points and its neighbours, 27 with itself."""
    steps = np.array(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij")).reshape(3, 27)
    points = np.array(np.unravel_index(np.arange(side**3), (side,) * 3), np.int32)
    near = points[:, :, None] + steps[:, None]
    inside = ((near >= 0) & (near < side)).all(0)
    col = ((near[0] * side + near[1]) * side + near[2])[inside].astype(np.int32)
    crow = np.concatenate([[0], np.cumsum(inside.sum(1))]).astype(np.int32)
    return Csr(crow, col, _values(np.random.default_rng(3), len(col)), (side**3, side**3))


@lru_cache(maxsize=1)
def lower_triangle(scale: int) -> Csr:
    """Of an R-MAT graph without directions: every edge once, from the vertex of the higher number. Values are 1."""
    graph = rmat(scale)
    ends = np.stack([graph.rows_of_entries, graph.col])
    ends = ends[:, ends[0] != ends[1]]
    lower = _from_edges(ends.max(0), ends.min(0), 1 << scale, np.random.default_rng(0))
    return Csr(lower.crow, lower.col, np.ones_like(lower.values), lower.shape)


# ---- learned sparse retrieval ----------------------------------------------------------------------------

VOCABULARY, QUERY_TERMS, DOCUMENT_TERMS = 30_000, 30, 128


def _terms(rows: int, drawn: int, generator: np.random.Generator) -> Csr:
    """Terms of texts: frequencies fall as 1 / (rank + 30), as those of SPLADE's expansions do; a term counts once."""
    weight = np.cumsum(1 / (np.arange(VOCABULARY) + 30.0))
    table = np.searchsorted(weight, (np.arange(1 << 18) + 0.5) / (1 << 18) * weight[-1]).astype(np.int32)
    col = table[generator.integers(0, len(table), (rows, drawn), dtype=np.int32)]
    col.sort(axis=1)
    first = np.diff(col, axis=1, prepend=-1) != 0
    crow = np.concatenate([[0], np.cumsum(first.sum(axis=1))]).astype(np.int32)
    return Csr(crow, col[first], _values(generator, int(crow[-1])), (rows, VOCABULARY))


@lru_cache(maxsize=1)
def _documents(count: int) -> Csr:
    return _terms(count, DOCUMENT_TERMS, np.random.default_rng(4)).transposed()


@lru_cache(maxsize=2)
def queries_and_documents(queries: int, documents: int) -> tuple[Csr, Csr]:
    """[queries, vocabulary] and [vocabulary, documents]."""
    return _terms(queries, QUERY_TERMS, np.random.default_rng(5)), _documents(documents)


# ---- problems --------------------------------------------------------------------------------------------


def square(device: torch.device, *, graph: Callable[[], Csr], semiring: str = "plus_times") -> Product:
    """A graph's matrix by itself."""
    matrix = graph().torch(device)
    return Product(matrix, matrix, semiring)


def wide(device: torch.device, *, queries: int, documents: int, k: int = 0) -> Product:
    a, b = (matrix.torch(device) for matrix in queries_and_documents(queries, documents))
    return Product(a, b, k=k)


def backward(device: torch.device, *, graph: Callable[[], Csr]) -> Product:
    """Gradients of the product's values are given, of both operands' values are wanted."""
    operand = graph().torch(device)
    return Product(operand, operand, gradient=values_on_pattern(operand, operand))


def reuse(device: torch.device, *, graph: Callable[[], Csr]) -> Product:
    """The pattern's plan is made before."""
    import warphash

    problem = square(device, graph=graph)
    return Product(problem.a, problem.b, plan=warphash.spgemm.plan(problem.a, problem.b))


def triangles(device: torch.device, *, scale: int) -> Product:
    """Wedges closed by an edge, at that edge: their sum is the number of triangles."""
    lower = lower_triangle(scale).torch(device)
    return Product(lower, lower, mask=lower)
