# SPDX-License-Identifier: Apache-2.0
"""Contestants for codes of vectors: NumPy, torch, FAISS, FALCONN.

Slow peers get fewer rows, so that a call takes what the settings allow; their time is then scaled, and flagged. Their
rough speeds here only choose how much they get.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from bench.harness.workload import FULL, NAMED, QUICK, Contestant, Prepared, Settings
from bench.lsh_inputs import SEED, Vectors, sample
from bench.lsh_ours import as_arrays

BOTH = ("cpu", "cuda")
ALWAYS = (QUICK, FULL, NAMED)


# ---- SimHash ---------------------------------------------------------------------------------------------


def numpy_simhash(problem: Vectors, settings: Settings) -> Prepared:
    x, planes = problem.x.numpy(), problem.planes.numpy()
    return Prepared(
        lambda: np.packbits(x @ planes >= 0, axis=1, bitorder="little"), as_arrays, note="BLAS product, packbits"
    )


def _packed(signs: torch.Tensor) -> torch.Tensor:
    weights = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=signs.device)
    return (signs.view(*signs.shape[:-1], -1, 8).to(torch.uint8) * weights).sum(-1, dtype=torch.uint8)


def torch_simhash(problem: Vectors, settings: Settings) -> Prepared:
    planes = problem.planes.to(problem.x.dtype)
    return Prepared(lambda: _packed(problem.x @ planes >= 0), as_arrays, note="product, then bits by powers of two")


def compiled_simhash(problem: Vectors, settings: Settings) -> Prepared:
    planes = problem.planes.to(problem.x.dtype)
    compiled = torch.compile(lambda x: _packed(x @ planes >= 0), dynamic=False)
    return Prepared(lambda: compiled(problem.x), as_arrays, note="compile time not counted")


def faiss_simhash(problem: Vectors, settings: Settings, same: bool = True) -> Prepared:
    """IndexLSH with our planes in the place of its rotation, so that its codes are ours."""
    import faiss

    dim, bits = problem.planes.shape[0], problem.bits
    x = problem.x.numpy()
    index = faiss.IndexLSH(dim, bits, same, False)
    if same:
        matrix = np.ascontiguousarray(problem.planes.numpy().T)
        faiss.copy_array_to_vector(matrix.ravel(), index.rrot.A)
        index.rrot.is_trained = True
        index.rrot.is_orthonormal = True
    index.is_trained = True
    note = "IndexLSH.sa_encode" + ("" if same else " without its rotation")
    return Prepared(lambda: index.sa_encode(x), as_arrays if same else None, note=note)


def faiss_rotated(problem: Vectors, settings: Settings) -> Prepared:
    """The same number of bits by FAISS's dense random rotation: another hash of the same family."""
    prepared = faiss_simhash(problem, settings)
    return Prepared(prepared.call, note=f"{prepared.note}: dense planes, other bits")


SIMHASH_PEERS = (
    Contestant("FAISS", faiss_simhash),
    Contestant("NumPy", numpy_simhash, baseline=True),
    Contestant("torch eager", torch_simhash, devices=BOTH, baseline=True),
    Contestant("torch.compile", compiled_simhash, devices=BOTH, modes=(FULL, NAMED)),
)
HALF_PEERS = (Contestant("torch eager", torch_simhash, devices=BOTH, baseline=True),)


# ---- rotations -------------------------------------------------------------------------------------------


def _signs(problem: Vectors, tables: int, dim: int) -> torch.Tensor:
    """±1 float32 [tables, 3, dim]: our rotations' own."""
    from warphash import _random

    bits = _random.signs(SEED, _random.Stream.ROTATIONS, tables * 3 * dim)
    return torch.from_numpy(np.where(bits, -1.0, 1.0).astype(np.float32)).view(tables, 3, dim).to(problem.x.device)


def hadamard(x: torch.Tensor) -> torch.Tensor:
    """Butterflies along the last dimension, a power of two."""
    shape, half = x.shape, 1
    while half < shape[-1]:
        low, high = x.view(*shape[:-1], -1, 2, half).unbind(-2)
        x = torch.stack((low + high, low - high), -2).view(shape)
        half *= 2
    return x


def _rotated(x: torch.Tensor, signs: torch.Tensor) -> torch.Tensor:
    for round_ in range(3):
        x = hadamard(x * signs[round_])
    return x


def torch_hd3(problem: Vectors, settings: Settings) -> Prepared:
    part, inputs, share = sample(problem, settings, 4e4 * settings.threads)
    signs = _signs(problem, 1, part.x.shape[-1])
    return Prepared(
        lambda: _packed(_rotated(part.x, signs[0])[:, : part.bits] >= 0), as_arrays, inputs, share, "butterflies"
    )


HD3_PEERS = (
    Contestant("FAISS", faiss_rotated),
    Contestant("torch eager", torch_hd3, devices=BOTH, baseline=True),
)


def _largest(y: torch.Tensor) -> torch.Tensor:
    """Index of the largest |y|, plus the dimension where it is negative."""
    index = y.abs().argmax(-1)
    negative = y.gather(-1, index.unsqueeze(-1)).squeeze(-1) < 0
    return (index + y.shape[-1] * negative).to(torch.int32)


def torch_butterflies(problem: Vectors, settings: Settings) -> Prepared:
    part, inputs, share = sample(problem, settings, 3e4 * settings.threads / problem.bits)
    signs = _signs(problem, part.bits, part.x.shape[-1])
    return Prepared(
        lambda: torch.stack([_largest(_rotated(part.x, one)) for one in signs], -1),
        as_arrays,
        inputs,
        share,
        "butterflies, argmax",
    )


def torch_dense(problem: Vectors, settings: Settings) -> Prepared:
    """A dense rotation a table, as layers with LSH write it: another hash of the same family."""
    part, _, share = sample(problem, settings, 2e6 * settings.threads / problem.bits)
    dim = part.x.shape[-1]
    generator = torch.Generator().manual_seed(SEED)
    rotations = [torch.randn(dim, dim, generator=generator).to(part.x.device) for _ in range(part.bits)]

    def call() -> torch.Tensor:
        return torch.stack(
            [torch.cat((rotated, -rotated), -1).argmax(-1) for rotated in (part.x @ one for one in rotations)], -1
        )

    return Prepared(call, None, part, share, "dense rotation, cat, argmax: other codes")


def falconn_hash(problem: Vectors, settings: Settings) -> Prepared:
    """Hashes and tables at once: it gives no codes away."""
    import falconn

    part, _, share = sample(problem, settings, 1e6 / problem.bits)
    x = np.ascontiguousarray(part.x.numpy())
    parameters = falconn.LSHConstructionParameters()
    parameters.dimension = x.shape[1]
    parameters.lsh_family = falconn.LSHFamily.CrossPolytope
    parameters.distance_function = falconn.DistanceFunction.EuclideanSquared
    parameters.storage_hash_table = falconn.StorageHashTable.FlatHashTable
    parameters.k, parameters.l = 1, problem.bits
    parameters.num_rotations, parameters.last_cp_dimension = 3, x.shape[1]
    parameters.num_setup_threads, parameters.seed = settings.threads, SEED

    def call() -> Any:
        index = falconn.LSHIndex(parameters)
        index.setup(x)
        return index

    return Prepared(call, None, part, share, "hashes and flat tables; other codes")


CROSS_POLYTOPE_PEERS = (
    Contestant("FALCONN", falconn_hash),
    Contestant("torch eager, dense", torch_dense, devices=BOTH, baseline=True),
    Contestant("torch eager", torch_butterflies, devices=BOTH, baseline=True, modes=(FULL, NAMED)),
)


# ---- sorting by code -------------------------------------------------------------------------------------


def torch_sort(problem: Vectors, settings: Settings, compiled: bool = False) -> Prepared:
    """The recipe of attention layers: bits, their rank in Gray order, a stable sort, and its inverse by a scatter."""
    bits = problem.bits
    device = problem.x.device
    table = torch.tensor([_gray_rank(code) for code in range(1 << bits)], device=device)
    planes = problem.planes.to(problem.x.dtype)
    weights = 2 ** torch.arange(bits, device=device)
    places = torch.arange(problem.x.shape[-2], device=device)

    def recipe(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        codes = ((x @ planes >= 0) * weights).sum(-1)
        ranks, order = table[codes].sort(dim=-1, stable=True)
        inverse = torch.empty_like(order).scatter_(-1, order, places.expand_as(order))
        edges = torch.arange((1 << bits) + 1, device=device).expand(*x.shape[:-2], -1)
        return order, inverse, torch.searchsorted(ranks, edges.contiguous())

    call: Callable[[torch.Tensor], Any] = torch.compile(recipe, dynamic=False) if compiled else recipe
    same = planes.dtype == problem.planes.dtype
    note = "bits, ranks, stable sort, scatter" + ("" if same else "; rounded planes, so other codes")
    return Prepared(lambda: call(problem.x), as_arrays if same else None, note=note)


def _gray_rank(code: int) -> int:
    rank = code
    while code := code >> 1:
        rank ^= code
    return rank


SORT_PEERS = (
    Contestant("torch eager", torch_sort, devices=BOTH, baseline=True),
    Contestant("torch.compile", partial(torch_sort, compiled=True), devices=BOTH, modes=(FULL, NAMED)),
)
