# SPDX-License-Identifier: Apache-2.0
"""Contestants for the Hamming room's other operators: range, histogram, pairwise, asymmetric, Jaccard, pack, unpack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from bench.hamming_inputs import Search
from bench.hamming_peers import (
    PIECE,
    Sample,
    numba_popcount,
    numkong_pairs,
    numpy_distances,
    sample,
    swar_count,
    swar_distances,
    torch_pieces,
    usearch_exact,
)
from bench.harness.workload import FULL, NAMED, Contestant, Prepared, Settings


def _sampled(part: Sample, call: Callable[[], Any], answer: Callable[[Any], Any] | None, note: str = "") -> Prepared:
    return Prepared(call, answer, part.inputs, part.share, note)


def _torch_speed(settings: Settings, cpu_rate: float) -> float:
    """Pairs a second to expect, by rule of thumb a hundred times as many on a GPU."""
    return cpu_rate * (100 if settings.device.type == "cuda" else settings.threads)


def as_arrays(result: Any) -> tuple[np.ndarray, ...]:
    """Tensors or arrays, alone or in a tuple, as arrays."""
    many = result if isinstance(result, (tuple, list)) else (result,)
    return tuple(one.cpu().numpy() if isinstance(one, torch.Tensor) else np.asarray(one) for one in many)


def _numpy_rows(search: Search) -> Iterator[np.ndarray]:
    """Distances int32 [N] of each query in turn, in one buffer."""
    queries, database = search.words()
    row = np.empty(len(database), np.int32)
    for query in queries:
        numpy_distances(query, database, row)
        yield row


def _torch_rows(queries: torch.Tensor, pieces: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Distances int64 [N] of each query in turn."""
    for query in queries:
        yield torch.cat([swar_distances(query, piece) for piece in pieces])


# ---- range search: (offsets, distances, indices) ---------------------------------------------------------


def faiss_range(search: Search, settings: Settings) -> Prepared:
    import faiss

    part = sample(search, settings, 1e9 * settings.threads)
    queries, database = part.search.arrays()
    index = faiss.IndexBinaryFlat(search.bits)
    index.add(database)

    def answer(found: Any) -> tuple[np.ndarray, ...]:
        offsets, distances, indices = found
        return offsets.astype(np.int64), distances.astype(np.int32), indices

    # FAISS returns distances strictly below the radius.
    return _sampled(
        part, lambda: index.range_search(queries, search.radius + 1), answer, "IndexBinaryFlat.range_search"
    )


def numpy_range(search: Search, settings: Settings) -> Prepared:
    part = sample(search, settings, 9e7)

    def call() -> tuple[np.ndarray, ...]:
        indices, distances = [], []
        for row in _numpy_rows(part.search):
            indices.append(np.flatnonzero(row <= search.radius))
            distances.append(row[indices[-1]])
        offsets = np.cumsum([0, *(len(found) for found in indices)])
        return offsets, np.concatenate(distances), np.concatenate(indices)

    return _sampled(part, call, as_arrays)


def torch_range(search: Search, settings: Settings) -> Prepared:
    part = sample(search, settings, _torch_speed(settings, 5e7))
    queries, pieces = torch_pieces(part.search, settings)

    def call() -> tuple[torch.Tensor, ...]:
        indices, distances = [], []
        for row in _torch_rows(queries, pieces):
            indices.append(torch.nonzero(row <= search.radius).flatten())
            distances.append(row[indices[-1]])
        counts = torch.tensor([0, *(len(found) for found in indices)])
        return counts.cumsum(0), torch.cat(distances), torch.cat(indices)

    return _sampled(part, call, as_arrays)


RANGE_PEERS = (
    Contestant("FAISS", faiss_range),
    Contestant("NumPy", numpy_range),
    Contestant("torch SWAR", torch_range, devices=("cpu", "cuda"), baseline=True),
)

# ---- histogram: counts [Q, bits + 1] ---------------------------------------------------------------------


def numpy_histogram(search: Search, settings: Settings) -> Prepared:
    part = sample(search, settings, 9e7)

    def call() -> np.ndarray:
        return np.stack([np.bincount(row, minlength=search.bits + 1) for row in _numpy_rows(part.search)])

    return _sampled(part, call, as_arrays)


@lru_cache(maxsize=1)
def _numba_histogram() -> Callable[..., Any]:
    from numba import njit, prange

    popcount = numba_popcount()

    @njit(parallel=True)
    def histogram(queries, database, bins):  # type: ignore[no-untyped-def]
        count, words = queries.shape
        out = np.zeros((count, bins), np.int64)
        for query in prange(count):
            for code in range(database.shape[0]):
                distance = 0
                for word in range(words):
                    distance += popcount(queries[query, word] ^ database[code, word])
                out[query, distance] += 1
        return out

    return histogram


def numba_histogram(search: Search, settings: Settings) -> Prepared:
    kernel = _numba_histogram()
    part = sample(search, settings, 1e9 * settings.threads)
    queries, database = part.search.words()
    return _sampled(part, lambda: kernel(queries, database, search.bits + 1), as_arrays, "compiled by Numba, parallel")


def torch_histogram(search: Search, settings: Settings) -> Prepared:
    part = sample(search, settings, _torch_speed(settings, 5e7))
    queries, pieces = torch_pieces(part.search, settings)

    def call() -> torch.Tensor:
        return torch.stack([torch.bincount(row, minlength=search.bits + 1) for row in _torch_rows(queries, pieces)])

    return _sampled(part, call, as_arrays)


HISTOGRAM_PEERS = (
    Contestant("Numba", numba_histogram),
    Contestant("NumPy", numpy_histogram),
    Contestant("torch SWAR", torch_histogram, devices=("cpu", "cuda"), baseline=True),
)

# ---- pairwise distances: int32 [Q, N] --------------------------------------------------------------------


def faiss_pairs(search: Search, settings: Settings) -> Prepared:
    import faiss

    queries, database = search.arrays()
    arguments = [faiss.swig_ptr(array) for array in (queries, database)]
    sizes = (len(queries), len(database), search.bits // 8)

    def call() -> np.ndarray:
        matrix = np.empty((len(queries), len(database)), np.int32)
        faiss.hammings(*arguments, *sizes, faiss.swig_ptr(matrix))
        return matrix

    return Prepared(call, as_arrays, note="hammings(), its C++ function")


def numkong_matrix(search: Search, settings: Settings) -> Prepared:
    whole = numkong_pairs(search, settings, keep=False)
    return Prepared(whole.call, lambda found: (np.asarray(found).astype(np.int32),), whole.inputs, whole.share)


def numpy_pairs(search: Search, settings: Settings) -> Prepared:
    part = sample(search, settings, 9e7)

    def call() -> np.ndarray:
        return np.stack([row.copy() for row in _numpy_rows(part.search)])

    return _sampled(part, call, as_arrays)


def torch_pairs(search: Search, settings: Settings) -> Prepared:
    part = sample(search, settings, _torch_speed(settings, 5e7))
    queries, pieces = torch_pieces(part.search, settings)

    def call() -> torch.Tensor:
        return torch.stack([row.to(torch.int32) for row in _torch_rows(queries, pieces)])

    return _sampled(part, call, as_arrays)


def scipy_pairs(search: Search, settings: Settings) -> Prepared:
    from scipy.spatial.distance import cdist

    part = sample(search, settings, 5e7, memory_per_pair=8)
    queries, database = (np.unpackbits(codes, axis=1).astype(bool) for codes in part.search.arrays())

    def answer(found: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.rint(found * search.bits).astype(np.int32),)

    return _sampled(part, lambda: cdist(queries, database, "hamming"), answer, "on unpacked bits")


PAIR_PEERS = (
    Contestant("FAISS", faiss_pairs),
    Contestant("NumKong", numkong_matrix),
    Contestant("NumPy", numpy_pairs),
    Contestant("SciPy", scipy_pairs, modes=(FULL, NAMED)),
    Contestant("torch SWAR", torch_pairs, devices=("cpu", "cuda"), baseline=True),
)

# ---- asymmetric scores: float queries, packed codes ------------------------------------------------------


def torch_asymmetric(search: Search, settings: Settings) -> Prepared:
    """Codes unpacked to ±1 beforehand, one float32 product: another order of sums, so other last bits."""
    part = sample(search, settings, _torch_speed(settings, 4e8), memory_per_pair=12)
    shifts = torch.arange(8, device=settings.device)
    pieces = part.search.database.split(1 << 16)
    columns = torch.cat([(piece.unsqueeze(-1) >> shifts & 1).flatten(1).float() * 2 - 1 for piece in pieces]).t()
    queries = part.search.queries

    return _sampled(part, lambda: torch.topk(queries @ columns, search.k), as_arrays, "codes unpacked to ±1 beforehand")


def numpy_asymmetric(search: Search, settings: Settings) -> Prepared:
    """Unpacks on the way, as one must who keeps the codes packed."""
    part = sample(search, settings, 1.5e7, memory_per_pair=8)
    queries, database = part.search.arrays()

    def call() -> tuple[np.ndarray, np.ndarray]:
        signs = np.unpackbits(database, axis=1, bitorder="little").astype(np.float32) * 2 - 1
        scores = queries @ signs.T
        best = np.argpartition(-scores, search.k - 1, axis=1)[:, : search.k]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable"), 1)
        return np.take_along_axis(scores, best, 1), best

    return _sampled(part, call, as_arrays, "unpacks the codes in the call")


ASYMMETRIC_PEERS = (
    Contestant("torch ±1 product", torch_asymmetric, devices=("cpu", "cuda"), baseline=True),
    Contestant("NumPy", numpy_asymmetric),
)

# ---- Jaccard ---------------------------------------------------------------------------------------------


def usearch_jaccard(search: Search, settings: Settings) -> Prepared:
    whole = usearch_exact(search, settings, "Tanimoto")

    def answer(found: Any) -> tuple[np.ndarray, ...]:
        assert whole.answer is not None
        distances, indices = whole.answer(found)
        return 1 - distances, indices

    return Prepared(whole.call, answer, whole.inputs, whole.share, whole.note)


def numkong_jaccard(search: Search, settings: Settings) -> Prepared:
    return numkong_pairs(search, settings, "jaccards")


def _best(similarity: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    best = np.argpartition(-similarity, k - 1)[:k]
    best = best[np.argsort(-similarity[best], kind="stable")]
    return similarity[best], best


def numpy_jaccard(search: Search, settings: Settings) -> Prepared:
    part = sample(search, settings, 5e7)
    queries, database = part.search.words()
    similarity = np.empty(len(database), np.float32)

    def call() -> tuple[np.ndarray, np.ndarray]:
        found = []
        for query in queries:
            for start in range(0, len(database), PIECE):
                piece = database[start : start + PIECE]
                both = np.bitwise_count(piece & query).sum(1, dtype=np.float32)
                either = np.bitwise_count(piece | query).sum(1, dtype=np.float32)
                similarity[start : start + PIECE] = both / either
            found.append(_best(similarity, search.k))
        return np.stack([one[0] for one in found]), np.stack([one[1] for one in found])

    return _sampled(part, call, as_arrays)


def torch_jaccard(search: Search, settings: Settings) -> Prepared:
    part = sample(search, settings, _torch_speed(settings, 3e7))
    queries, pieces = torch_pieces(part.search, settings)

    def call() -> tuple[torch.Tensor, torch.Tensor]:
        found = []
        for query in queries:
            similarity = [
                swar_count(piece & query).sum(1).float() / swar_count(piece | query).sum(1).float() for piece in pieces
            ]
            found.append(torch.topk(torch.cat(similarity), search.k))
        return torch.stack([one.values for one in found]), torch.stack([one.indices for one in found])

    return _sampled(part, call, as_arrays)


JACCARD_PEERS = (
    Contestant("USearch", usearch_jaccard),
    Contestant("NumKong", numkong_jaccard),
    Contestant("NumPy", numpy_jaccard),
    Contestant("torch SWAR", torch_jaccard, devices=("cpu", "cuda"), baseline=True),
)

# ---- pack and unpack: float32 [N, bits] <-> codes --------------------------------------------------------


def numpy_pack(x: torch.Tensor, settings: Settings) -> Prepared:
    array = x.cpu().numpy()
    return Prepared(lambda: np.packbits(array >= 0, axis=1, bitorder="little"), as_arrays)


def torch_pack(x: torch.Tensor, settings: Settings) -> Prepared:
    weights = 1 << torch.arange(8, device=x.device)

    def call() -> torch.Tensor:
        return ((x >= 0).unflatten(1, (-1, 8)) * weights).sum(-1).to(torch.uint8)

    return Prepared(call, as_arrays)


def numpy_unpack(codes: torch.Tensor, settings: Settings) -> Prepared:
    array = codes.cpu().numpy()
    return Prepared(lambda: np.unpackbits(array, axis=1, bitorder="little").view(np.bool_), as_arrays)


def torch_unpack(codes: torch.Tensor, settings: Settings) -> Prepared:
    shifts = torch.arange(8, device=codes.device, dtype=torch.uint8)
    return Prepared(lambda: ((codes.unsqueeze(-1) >> shifts) & 1).flatten(1).bool(), as_arrays)


PACK_PEERS = (
    Contestant("NumPy", numpy_pack),
    Contestant("torch", torch_pack, devices=("cpu", "cuda"), baseline=True),
)
UNPACK_PEERS = (
    Contestant("NumPy", numpy_unpack),
    Contestant("torch", torch_unpack, devices=("cpu", "cuda"), baseline=True),
)
