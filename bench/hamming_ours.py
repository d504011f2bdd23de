# SPDX-License-Identifier: Apache-2.0
"""Our side of the Hamming benches: the operators, the kernels of one level or algorithm, and the checks of answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench.hamming_inputs import Search
from bench.hamming_other_peers import as_arrays
from bench.harness.workload import FULL, NAMED, QUICK, Contestant, Prepared, Settings, Unavailable

# What the instructions of each level can reach, by the names of limits.
REACH = {
    "scalar": frozenset({"popcount_portable"}),
    "avx2": frozenset({"distance_avx2", "distance_word"}),
    "avx512": frozenset({"distance_avx2", "distance_word", "distance_avx512"}),
}

# ---- ours ------------------------------------------------------------------------------------------------


def ours(solve: Callable[[Any], Any]) -> Contestant:
    def prepare(inputs: Any, settings: Settings) -> Prepared:
        return Prepared(lambda: solve(inputs), as_arrays)

    return Contestant("warphash", prepare, devices=("cpu", "cuda"))


def level(isa: str, modes: tuple[str, ...] = (QUICK, FULL, NAMED)) -> Contestant:
    """Our kernels of one instruction set, past torch; not where that is what the operator takes anyhow."""

    def prepare(search: Search, settings: Settings) -> Prepared:
        from warphash import _C

        features = _C.cpu_features()
        if isa == features["isa"]:
            raise Unavailable("it is what warphash itself uses here")
        queries, database = search.arrays()

        def call() -> tuple[np.ndarray, np.ndarray]:
            try:
                return _C.kernels.hamming_topk(isa, queries, database, search.k)
            except RuntimeError as error:
                raise Unavailable(str(error)) from error

        def answer(found: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
            return found[0].astype(np.int32), found[1]

        return Prepared(call, answer)

    return Contestant(f"warphash ({isa})", prepare, units=REACH[isa], modes=modes)


def _algorithm(name: str) -> Contestant:
    """One of our CUDA algorithms by name, past torch."""

    def prepare(search: Search, settings: Settings) -> Prepared:
        from warphash._load import _cuda

        shape = (search.query_count, search.k)
        distances = torch.empty(shape, dtype=torch.int32, device=settings.device)
        indices = torch.empty(shape, dtype=torch.int64, device=settings.device)
        queries, database = search.queries, search.database

        def call() -> tuple[torch.Tensor, torch.Tensor]:
            stream = torch.cuda.current_stream(settings.device).cuda_stream
            sizes = (queries.data_ptr(), len(queries), database.data_ptr(), len(database), database.shape[1], search.k)
            with torch.cuda.device(settings.device):
                _cuda.hamming_topk("distance", name, *sizes, distances.data_ptr(), indices.data_ptr(), stream)
            return distances, indices

        try:
            call()
        except RuntimeError as error:
            raise Unavailable(str(error)) from error
        return Prepared(call, as_arrays)

    return Contestant(f"warphash ({name})", prepare, devices=("cuda",))


ALGORITHMS = tuple(_algorithm(name) for name in ("stream", "tile", "mma_b1", "mma_s8", "wgmma_b1", "wgmma_s8"))


def solve_topk(search: Search) -> Any:
    import warphash

    return warphash.hamming.topk(search.queries, search.database, search.k)


def solve_range(search: Search) -> Any:
    import warphash

    return warphash.hamming.range_search(search.queries, search.database, search.radius)


def solve_histogram(search: Search) -> Any:
    import warphash

    return warphash.hamming.histogram(search.queries, search.database)


def solve_cdist(search: Search) -> Any:
    import warphash

    return warphash.hamming.cdist(search.queries, search.database)


def solve_asymmetric(search: Search) -> Any:
    import warphash

    return warphash.hamming.asymmetric_topk(search.queries, search.database, search.k)


def solve_jaccard(search: Search) -> Any:
    import warphash

    return warphash.hamming.jaccard_topk(search.queries, search.database, search.k)


def solve_pack(x: torch.Tensor) -> Any:
    import warphash

    return warphash.hamming.pack(x)


def solve_unpack(codes: torch.Tensor) -> Any:
    import warphash

    return warphash.hamming.unpack(codes, 8 * codes.shape[1])


# ---- checks ----------------------------------------------------------------------------------------------


def distances_of(search: Search, indices: np.ndarray) -> np.ndarray:
    queries, database = search.arrays()
    return np.bitwise_count(database[indices] ^ queries[: len(indices), None]).sum(-1, dtype=np.int32)


def check_topk(ours: Any, theirs: Any, search: Search) -> str | None:
    """Equal distances; and their indices are distinct codes at those distances, since peers order ties as they like."""
    ours, theirs = as_arrays(ours), as_arrays(theirs)
    if ours[0].shape != theirs[0].shape:
        return f"shape {theirs[0].shape}, ours {ours[0].shape}"
    if not np.array_equal(ours[0], theirs[0]):
        return f"distances differ in {int((ours[0] != theirs[0]).any(1).sum())} of {len(ours[0])} queries"
    if not np.array_equal(distances_of(search, theirs[1]), theirs[0]):
        return "indices whose codes are at other distances"
    ordered = np.sort(theirs[1], axis=1)
    return "an index twice" if (ordered[:, 1:] == ordered[:, :-1]).any() else None


def check_equal(ours: Any, theirs: Any, _: Any) -> str | None:
    pairs = list(zip(as_arrays(ours), as_arrays(theirs), strict=True))
    return None if all(np.array_equal(a, b) for a, b in pairs) else "another answer"


def check_range(ours: Any, theirs: Any, _: Any) -> str | None:
    """Rows as sets: peers order them as they like."""
    (offsets, distances, indices), other = as_arrays(ours), as_arrays(theirs)
    if not np.array_equal(offsets, other[0]):
        return "other counts"
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    mine, yours = np.lexsort((indices, row)), np.lexsort((other[2], row))
    same = np.array_equal(indices[mine], other[2][yours]) and np.array_equal(distances[mine], other[1][yours])
    return None if same else "another answer"


def check_scores(ours: Any, theirs: Any, _: Any) -> str | None:
    """Scores within the error of float32 sums; equal scores may stand in another order."""
    mine, yours = as_arrays(ours)[0], as_arrays(theirs)[0]
    return None if np.allclose(mine, yours, rtol=1e-4, atol=1e-3) else "another answer"
