# SPDX-License-Identifier: Apache-2.0
"""Contestants for the Hamming room's other operators: range, histogram, pairwise, asymmetric, Jaccard, pack, unpack."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from bench.hamming_inputs import Search
from bench.hamming_peers import Sample, numkong_pairs, sample, swar_count, usearch_exact
from bench.harness.workload import FULL, NAMED, Contestant, Prepared, Settings


def _sampled(part: Sample, call: Callable[[], Any], answer: Callable[[Any], Any] | None, note: str = "") -> Prepared:
    return Prepared(call, answer, part.inputs, part.share, ", ".join(text for text in (note, part.note) if text))


def _torch_speed(settings: Settings, cpu_rate: float) -> float:
    """Pairs a second to expect, by rule of thumb a hundred times as many on a GPU."""
    return cpu_rate * (100 if settings.device.type == "cuda" else settings.threads)


def as_arrays(result: Any) -> tuple[np.ndarray, ...]:
    """Tensors or arrays, alone or in a tuple, as arrays."""
    many = result if isinstance(result, (tuple, list)) else (result,)
    return tuple(one.cpu().numpy() if isinstance(one, torch.Tensor) else np.asarray(one) for one in many)


def _int64(search: Search) -> tuple[torch.Tensor, torch.Tensor]:
    return search.queries.view(torch.int64), search.database.view(torch.int64)


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
    return _sampled(part, lambda: index.range_search(queries, search.radius + 1), answer)


def numpy_range(search: Search, settings: Settings) -> Prepared:
    part = sample(search, settings, 9e7, memory_per_pair=16 * search.bits / 64)
    queries, database = part.search.words()

    def call() -> tuple[np.ndarray, ...]:
        rows = [np.bitwise_count(database ^ query).sum(1, dtype=np.int32) for query in queries]
        indices = [np.flatnonzero(row <= search.radius) for row in rows]
        offsets = np.cumsum([0, *(len(found) for found in indices)])
        distances = [row[found] for row, found in zip(rows, indices, strict=True)]
        return offsets, np.concatenate(distances), np.concatenate(indices)

    return _sampled(part, call, as_arrays)


def torch_range(search: Search, settings: Settings) -> Prepared:
    part = sample(search, settings, _torch_speed(settings, 5e7), memory_per_pair=32)
    queries, database = _int64(part.search)

    def call() -> tuple[torch.Tensor, ...]:
        rows = [swar_count(database ^ query).sum(1) for query in queries]
        indices = [torch.nonzero(row <= search.radius).flatten() for row in rows]
        counts = torch.tensor([0, *(len(found) for found in indices)])
        distances = [row[found] for row, found in zip(rows, indices, strict=True)]
        return counts.cumsum(0), torch.cat(distances), torch.cat(indices)

    return _sampled(part, call, as_arrays)


RANGE_PEERS = (
    Contestant("FAISS range_search", faiss_range),
    Contestant("NumPy bitwise_count", numpy_range),
    Contestant("torch SWAR", torch_range, devices=("cpu", "cuda"), baseline=True),
)

# ---- histogram: counts [Q, bits + 1] ---------------------------------------------------------------------


def numpy_histogram(search: Search, settings: Settings) -> Prepared:
    part = sample(search, settings, 9e7, memory_per_pair=16 * search.bits / 64)
    queries, database = part.search.words()

    def call() -> np.ndarray:
        rows = (np.bitwise_count(database ^ query).sum(1, dtype=np.int64) for query in queries)
        return np.stack([np.bincount(row, minlength=search.bits + 1) for row in rows])

    return _sampled(part, call, as_arrays)


@lru_cache(maxsize=1)
def _numba_histogram() -> Callable[..., Any]:
    from numba import njit, prange, types
    from numba.extending import intrinsic

    @intrinsic
    def popcount(context, value):  # type: ignore[no-untyped-def]
        def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.ctpop(arguments[0])

        return types.uint64(types.uint64), build

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
    part = sample(search, settings, _torch_speed(settings, 5e7), memory_per_pair=32)
    queries, database = _int64(part.search)

    def call() -> torch.Tensor:
        rows = (swar_count(database ^ query).sum(1) for query in queries)
        return torch.stack([torch.bincount(row, minlength=search.bits + 1) for row in rows])

    return _sampled(part, call, as_arrays)


HISTOGRAM_PEERS = (
    Contestant("Numba", numba_histogram),
    Contestant("NumPy bitwise_count", numpy_histogram),
    Contestant("torch SWAR", torch_histogram, devices=("cpu", "cuda"), baseline=True),
)

# ---- pairwise distances: int32 [Q, N] --------------------------------------------------------------------


def faiss_pairs(search: Search, settings: Settings) -> Prepared:
    import faiss

    queries, database = search.arrays()
    matrix = np.empty((len(queries), len(database)), np.int32)
    arguments = [faiss.swig_ptr(array) for array in (queries, database)]
    sizes = (len(queries), len(database), search.bits // 8)

    def call() -> np.ndarray:
        faiss.hammings(*arguments, *sizes, faiss.swig_ptr(matrix))
        return matrix

    return Prepared(call, as_arrays, note="hammings(), the C++ function")


def numkong_matrix(search: Search, settings: Settings) -> Prepared:
    whole = numkong_pairs(search, settings)
    return Prepared(whole.call, lambda found: (np.asarray(found).astype(np.int32),), whole.inputs, whole.share)


def numpy_pairs(search: Search, settings: Settings) -> Prepared:
    part = sample(search, settings, 9e7, memory_per_pair=16 * search.bits / 64)
    queries, database = part.search.words()

    def call() -> np.ndarray:
        return np.stack([np.bitwise_count(database ^ query).sum(1, dtype=np.int32) for query in queries])

    return _sampled(part, call, as_arrays)


def torch_pairs(search: Search, settings: Settings) -> Prepared:
    part = sample(search, settings, _torch_speed(settings, 5e7), memory_per_pair=32)
    queries, database = _int64(part.search)

    def call() -> torch.Tensor:
        return torch.stack([swar_count(database ^ query).sum(1).to(torch.int32) for query in queries])

    return _sampled(part, call, as_arrays)


def scipy_pairs(search: Search, settings: Settings) -> Prepared:
    from scipy.spatial.distance import cdist

    part = sample(search, settings, 5e7, memory_per_pair=8)
    queries, database = (np.unpackbits(codes, axis=1).astype(bool) for codes in part.search.arrays())

    def answer(found: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.rint(found * search.bits).astype(np.int32),)

    return _sampled(part, lambda: cdist(queries, database, "hamming"), answer, "on unpacked bits")


PAIR_PEERS = (
    Contestant("FAISS hammings", faiss_pairs),
    Contestant("NumKong hammings_packed", numkong_matrix),
    Contestant("NumPy bitwise_count", numpy_pairs),
    Contestant("SciPy cdist", scipy_pairs, modes=(FULL, NAMED)),
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
    Contestant("NumPy unpackbits", numpy_asymmetric),
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
    part = sample(search, settings, 5e7, memory_per_pair=32 * search.bits / 64)
    queries, database = part.search.words()

    def call() -> tuple[np.ndarray, np.ndarray]:
        found = []
        for query in queries:
            both = np.bitwise_count(database & query).sum(1, dtype=np.int32)
            either = np.bitwise_count(database | query).sum(1, dtype=np.int32)
            found.append(_best(both.astype(np.float32) / either.astype(np.float32), search.k))
        return np.stack([one[0] for one in found]), np.stack([one[1] for one in found])

    return _sampled(part, call, as_arrays)


def torch_jaccard(search: Search, settings: Settings) -> Prepared:
    part = sample(search, settings, _torch_speed(settings, 3e7), memory_per_pair=64)
    queries, database = _int64(part.search)

    def call() -> tuple[torch.Tensor, torch.Tensor]:
        found = []
        for query in queries:
            both, either = swar_count(database & query).sum(1), swar_count(database | query).sum(1)
            found.append(torch.topk(both.float() / either.float(), search.k))
        return torch.stack([one.values for one in found]), torch.stack([one.indices for one in found])

    return _sampled(part, call, as_arrays)


JACCARD_PEERS = (
    Contestant("USearch exact", usearch_jaccard),
    Contestant("NumKong jaccards_packed", numkong_jaccard),
    Contestant("NumPy bitwise_count", numpy_jaccard),
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
    Contestant("NumPy packbits", numpy_pack),
    Contestant("torch", torch_pack, devices=("cpu", "cuda"), baseline=True),
)
UNPACK_PEERS = (
    Contestant("NumPy unpackbits", numpy_unpack),
    Contestant("torch", torch_unpack, devices=("cpu", "cuda"), baseline=True),
)
