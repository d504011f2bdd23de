# SPDX-License-Identifier: Apache-2.0
"""Contestants for k nearest codes: FAISS, USearch, NumKong, Numba, NumPy, torch, pure Python, each at its best setting.

Slow peers get fewer queries (and pure Python fewer codes), so that a call takes what the settings allow; their time is
then scaled, and flagged. Their rough speeds here only choose how much they get.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from bench.hamming_inputs import Search
from bench.harness.workload import FULL, NAMED, Contestant, Prepared, Settings, Unavailable


@dataclass(frozen=True)
class Sample:
    """The part of a search that a peer gets, and that part's share of the pairs."""

    search: Search
    inputs: Search | None
    share: float


def sample(search: Search, settings: Settings, pairs_per_second: float, memory_per_pair: float = 0.0) -> Sample:
    """As many queries as fit the time of one call (at this speed for 64-bit codes) and a gibibyte of workspace."""
    rate = pairs_per_second * 64 / search.bits
    fitting = settings.seconds_per_call * rate / search.code_count
    if memory_per_pair:
        fitting = min(fitting, (1 << 30) / memory_per_pair / search.code_count)
    count = max(1, min(search.query_count, int(fitting)))
    if count == search.query_count:
        return Sample(search, None, 1.0)
    return Sample(search.part(count), search.part(count), count / search.query_count)


def _prepared(part: Sample, call: Callable[[], Any], answer: Callable[[Any], Any] | None, note: str = "") -> Prepared:
    return Prepared(call, answer, part.inputs, part.share, note)


def pair(result: Any) -> tuple[np.ndarray, np.ndarray]:
    """(distances, indices) as arrays."""
    first, second = (np.asarray(value.cpu() if isinstance(value, torch.Tensor) else value) for value in result[:2])
    return first, second


# ---- FAISS -----------------------------------------------------------------------------------------------


def faiss_flat(search: Search, settings: Settings) -> Prepared:
    import faiss

    part = sample(search, settings, 1.5e9 * settings.threads)
    queries, database = part.search.arrays()
    index = faiss.IndexBinaryFlat(search.bits)
    index.add(database)
    times = {}
    for use_heap in (True, False):
        index.use_heap = use_heap
        few = queries[: max(1, len(queries) // 8)]
        index.search(few, search.k)
        start = time.perf_counter()
        index.search(few, search.k)
        times[use_heap] = time.perf_counter() - start
    index.use_heap = min(times, key=times.__getitem__)
    return _prepared(
        part, lambda: index.search(queries, search.k), pair, "IndexBinaryFlat, the faster of use_heap=True and False"
    )


def faiss_gpu_flat(search: Search, settings: Settings) -> Prepared:
    import faiss

    if not hasattr(faiss, "StandardGpuResources"):
        raise Unavailable("this FAISS has no GPU half")
    queries, database = search.arrays()
    index = faiss.GpuIndexBinaryFlat(faiss.StandardGpuResources(), search.bits)
    index.add(database)
    return Prepared(lambda: index.search(queries, search.k), pair, note="GpuIndexBinaryFlat")


# ---- USearch, NumKong ------------------------------------------------------------------------------------


def usearch_exact(search: Search, settings: Settings, metric: str = "Hamming") -> Prepared:
    from usearch.index import MetricKind
    from usearch.index import search as usearch_search

    part = sample(search, settings, 3e7 * settings.threads, memory_per_pair=16)
    queries, database = part.search.arrays()
    kind = getattr(MetricKind, metric)

    def call() -> Any:
        return usearch_search(database, queries, search.k, kind, exact=True, threads=settings.threads)

    def answer(found: Any) -> tuple[np.ndarray, np.ndarray]:
        shape = (len(queries), -1)
        return np.asarray(found.distances).reshape(shape), np.asarray(found.keys).astype(np.int64).reshape(shape)

    return _prepared(part, call, answer, "exact=True")


def numkong_pairs(search: Search, settings: Settings, metric: str = "hammings", keep: bool = True) -> Prepared:
    """The matrix of distances alone: NumKong has no top-k. Query rows are shared out to threads.

    keep: all calls write to one matrix; otherwise each makes its own, as others must.
    """
    import numkong

    part = sample(search, settings, 5e8 * settings.threads, memory_per_pair=4)
    queries, database = part.search.arrays()
    packed = numkong.hammings_pack(database, dtype="uint1")
    product = getattr(numkong, f"{metric}_packed")
    shape, dtype = (len(queries), len(database)), "uint32" if metric == "hammings" else "float32"
    kept = numkong.zeros(shape, dtype=dtype)
    steps = np.linspace(0, len(queries), min(settings.threads, len(queries)) + 1).astype(int)
    pool = ThreadPoolExecutor(settings.threads)

    def call() -> Any:
        matrix = kept if keep else numkong.empty(shape, dtype=dtype)

        def piece(begin: int, end: int) -> None:
            product(queries, packed, out=matrix, start_row=begin, end_row=end)

        list(pool.map(piece, steps[:-1].tolist(), steps[1:].tolist()))
        return matrix

    return _prepared(part, call, None, f"{metric}_packed: the distance matrix alone, no top-k")


# ---- Numba, NumPy, pure Python ---------------------------------------------------------------------------


@lru_cache(maxsize=1)
def numba_popcount() -> Callable[..., Any]:
    """The processor's popcount of a uint64, for kernels of Numba."""
    from numba import types
    from numba.extending import intrinsic

    @intrinsic
    def popcount(context, value):  # type: ignore[no-untyped-def]
        def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.ctpop(arguments[0])

        return types.uint64(types.uint64), build

    return popcount


@lru_cache(maxsize=1)
def numba_topk() -> Callable[..., Any]:
    """Popcount intrinsic, insertion into a sorted list, parallel over (query, piece of the database), then a merge."""
    from numba import njit, prange

    popcount = numba_popcount()

    @njit(parallel=True)
    def topk(queries, database, k, pieces):  # type: ignore[no-untyped-def]
        count, words = queries.shape
        total = database.shape[0]
        kept = np.full((count * pieces, k), np.iinfo(np.int32).max, np.int32)
        places = np.full((count * pieces, k), -1, np.int64)
        for task in prange(count * pieces):
            query, piece = queries[task // pieces], task % pieces
            best, where = kept[task], places[task]
            for code in range(total * piece // pieces, total * (piece + 1) // pieces):
                distance = np.int32(0)
                for word in range(words):
                    distance += np.int32(popcount(query[word] ^ database[code, word]))
                if distance < best[k - 1]:
                    slot = k - 1
                    while slot > 0 and best[slot - 1] > distance:
                        best[slot], where[slot] = best[slot - 1], where[slot - 1]
                        slot -= 1
                    best[slot], where[slot] = distance, code
        return kept.reshape(count, pieces * k), places.reshape(count, pieces * k)

    return topk


def numba_parallel(search: Search, settings: Settings) -> Prepared:
    kernel = numba_topk()
    part = sample(search, settings, 1e9 * settings.threads)
    queries, database = part.search.words()
    pieces = max(1, -(-settings.threads // len(queries)))

    def call() -> tuple[np.ndarray, np.ndarray]:
        kept, places = kernel(queries, database, search.k, pieces)
        if pieces == 1:
            return kept, places
        order = np.argsort(kept, axis=1, kind="stable")[:, : search.k]
        return np.take_along_axis(kept, order, 1), np.take_along_axis(places, order, 1)

    return _prepared(part, call, pair, "compiled by Numba, parallel")


# Codes of a piece of the database: temporaries of whole columns would be fetched from the system anew at every call.
PIECE = 1 << 15


def numpy_distances(query: np.ndarray, database: np.ndarray, row: np.ndarray) -> None:
    """Distances of one query, words [words], to all codes, into row [N]."""
    for start in range(0, len(database), PIECE):
        piece = np.bitwise_count(database[start : start + PIECE] ^ query)
        piece.sum(1, dtype=np.int32, out=row[start : start + PIECE])


def numpy_bitwise(search: Search, settings: Settings) -> Prepared:
    part = sample(search, settings, 9e7)
    queries, database = part.search.words()
    row = np.empty(len(database), np.int32)

    def call() -> tuple[np.ndarray, np.ndarray]:
        distances, indices = [], []
        for query in queries:
            numpy_distances(query, database, row)
            best = np.argpartition(row, search.k - 1)[: search.k] if search.k < len(row) else np.arange(len(row))
            best = best[np.argsort(row[best], kind="stable")]
            distances.append(row[best])
            indices.append(best)
        return np.array(distances), np.array(indices)

    return _prepared(part, call, pair, "bitwise_count and argpartition, by pieces that fit the cache")


def pure_python(search: Search, settings: Settings) -> Prepared:
    """int.bit_count over whole codes, and a heap: one query, as many codes as time allows."""
    codes = max(search.k, min(search.code_count, int(settings.seconds_per_call * 5e6)))
    small = search.part(1, codes)
    queries, database = small.arrays()
    width = database.shape[1]
    query = int.from_bytes(queries[0].tobytes(), "little")
    raw = database.tobytes()
    numbers = [int.from_bytes(raw[start : start + width], "little") for start in range(0, len(raw), width)]

    def call() -> list[tuple[int, int]]:
        with torch.profiler.record_function("xor and int.bit_count"):
            distances = [(query ^ number).bit_count() for number in numbers]
        with torch.profiler.record_function("heapq.nsmallest"):
            return heapq.nsmallest(search.k, zip(distances, range(len(distances)), strict=True))

    def answer(found: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        table = np.array(found, np.int64)
        return table[None, :, 0], table[None, :, 1]

    return Prepared(call, answer, small, codes / search.pairs, "int.bit_count and heapq, one query, the first codes")


# ---- torch -----------------------------------------------------------------------------------------------


Distances = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def swar_count(x: torch.Tensor) -> torch.Tensor:
    """Popcounts of int64 words by shifts and masks; torch has no popcount."""
    x = x - ((x >> 1) & 0x5555555555555555)
    x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F
    return (x * 0x0101010101010101) >> 56


def swar_distances(query: torch.Tensor, database: torch.Tensor) -> torch.Tensor:
    """int64 words [words] and [N, words] to distances int64 [N]."""
    return swar_count(database ^ query).sum(1)


def torch_pieces(search: Search, settings: Settings) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Queries and the database in pieces, as int64 words: pieces that fit the caches on the CPU, all of it on a GPU."""
    size = search.code_count if settings.device.type == "cuda" else PIECE
    return search.queries.view(torch.int64), search.database.view(torch.int64).split(size)


def _torch_rows(search: Search, settings: Settings, rate: float, row: Distances, note: str) -> Prepared:
    part = sample(search, settings, rate * (100 if settings.device.type == "cuda" else 1))
    queries, pieces = torch_pieces(part.search, settings)

    def call() -> tuple[torch.Tensor, torch.Tensor]:
        found = [
            torch.topk(torch.cat([row(query, piece) for piece in pieces]), search.k, largest=False) for query in queries
        ]
        return torch.stack([one.values for one in found]), torch.stack([one.indices for one in found])

    return _prepared(part, call, pair, note)


def torch_swar(search: Search, settings: Settings) -> Prepared:
    return _torch_rows(
        search,
        settings,
        5e7 * settings.threads,
        swar_distances,
        "popcount by shifts and masks, then topk, by pieces that fit the cache",
    )


def torch_compiled(search: Search, settings: Settings) -> Prepared:
    compiled = torch.compile(swar_distances, dynamic=False)
    return _torch_rows(search, settings, 3e8 * settings.threads, compiled, "the same through torch.compile")


def torch_product(search: Search, settings: Settings) -> Prepared:
    """±1 rows, one matrix product: exact, since float16 (on a GPU) and float32 hold sums up to 1024 exactly."""
    on_gpu = settings.device.type == "cuda"
    part = sample(search, settings, 1e12 if on_gpu else 4e8 * settings.threads, memory_per_pair=12 if on_gpu else 0)
    dtype = torch.float16 if on_gpu else torch.float32
    shifts = torch.arange(8, device=settings.device)

    def signs(codes: torch.Tensor) -> torch.Tensor:
        return ((codes.unsqueeze(-1) >> shifts & 1).flatten(1).to(dtype) * 2 - 1).contiguous()

    rows = signs(part.search.queries)
    size = search.code_count if on_gpu else PIECE
    columns = [
        torch.cat([signs(some) for some in piece.split(1 << 16)]).t() for piece in part.search.database.split(size)
    ]

    def call() -> tuple[torch.Tensor, torch.Tensor]:
        found = [torch.topk(rows @ piece, min(search.k, piece.shape[1])) for piece in columns]
        values = torch.cat([one.values for one in found], 1)
        indices = torch.cat([one.indices + number * size for number, one in enumerate(found)], 1)
        best = torch.topk(values, search.k)
        return ((search.bits - best.values) / 2).to(torch.int32), indices.gather(1, best.indices)

    return _prepared(
        part, call, pair, "codes unpacked to ±1 beforehand (16 to 32 times their memory), one product, topk"
    )


# ---- who takes part --------------------------------------------------------------------------------------

TOPK_PEERS = (
    Contestant("FAISS", faiss_flat),
    Contestant("FAISS GPU", faiss_gpu_flat, devices=("cuda",)),
    Contestant("Numba", numba_parallel),
    Contestant("NumKong", numkong_pairs),
    Contestant("USearch", usearch_exact),
    Contestant("NumPy", numpy_bitwise),
    Contestant("torch ±1 product", torch_product, devices=("cpu", "cuda")),
    Contestant("torch SWAR", torch_swar, devices=("cpu", "cuda"), baseline=True),
    Contestant("torch.compile SWAR", torch_compiled, devices=("cpu", "cuda"), modes=(FULL, NAMED)),
    Contestant("pure Python", pure_python, baseline=True),
)
