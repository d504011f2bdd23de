# SPDX-License-Identifier: Apache-2.0
"""Contestants for MinHash and for finding duplicates by it: datasketch, rensa, Numba, NumPy, torch.

datasketch and rensa hash by other functions: their work is compared, not their bits. Slow peers get fewer documents;
their time is then scaled, and flagged.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from bench.harness.workload import Contestant, Prepared, Settings
from bench.lsh_inputs import BANDS, PERMUTATIONS, SEED, Documents, Signatures, Texts, sample
from bench.lsh_ours import as_arrays

BOTH = ("cpu", "cuda")


# ---- our own functions in Python -------------------------------------------------------------------------


def _factors(num_perm: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Factors and summands of our affine32, uint32."""
    from warphash import _random

    words = _random.words(SEED, _random.Stream.MINHASH, 2 * num_perm).astype(np.uint32)
    return words[:num_perm] | np.uint32(1), words[num_perm:]


def _mixed(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Murmur's finisher of 32 bits."""
    x = x.view(np.uint32)
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def numpy_minhash(problem: Documents, settings: Settings) -> Prepared:
    part, inputs, share = sample(problem, settings, 4e4)
    a, b = _factors(part.num_perm)
    rows = part.rows()

    def call() -> np.ndarray[Any, Any]:
        return np.stack([(_mixed(row)[:, None] * a + b).min(0) for row in rows]).view(np.int32)

    return Prepared(call, as_arrays, inputs, share, "one product of arrays a document")


@lru_cache
def _numba_minhash() -> Callable[..., None]:
    from numba import njit, prange

    @njit(parallel=True, cache=False)
    def minhash(tokens, offsets, a, b, out):  # type: ignore[no-untyped-def]
        for i in prange(len(offsets) - 1):
            least = np.full(len(a), 0xFFFFFFFF, np.uint32)
            for t in range(offsets[i], offsets[i + 1]):
                x = tokens[t]
                x = np.uint32((x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B))
                x = np.uint32((x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35))
                x = np.uint32(x ^ (x >> np.uint32(16)))
                for k in range(len(a)):
                    least[k] = min(least[k], np.uint32(x * a[k] + b[k]))
            out[i] = least

    return minhash


def numba_minhash(problem: Documents, settings: Settings) -> Prepared:
    kernel = _numba_minhash()
    a, b = _factors(problem.num_perm)
    tokens, offsets = problem.tokens.numpy().view(np.uint32), problem.offsets.numpy()
    out = np.empty((problem.count, problem.num_perm), np.uint32)

    def call() -> np.ndarray[Any, Any]:
        kernel(tokens, offsets, a, b, out)
        return out.view(np.int32)

    return Prepared(call, as_arrays, note="compiled by Numba, parallel; results into a kept array")


def torch_minhash(problem: Documents, settings: Settings) -> Prepared:
    """64-bit integers, since torch knows no unsigned product; minima by scatter_reduce."""
    part, inputs, share = sample(problem, settings, 4e3 * settings.threads)
    device = part.tokens.device
    a, b = (torch.from_numpy(x.astype(np.int64)).to(device) for x in _factors(part.num_perm))
    mixed = torch.from_numpy(_mixed(part.tokens.cpu().numpy()).astype(np.int64)).to(device)
    document = torch.repeat_interleave(torch.arange(part.count, device=device), part.offsets.diff())

    def call() -> torch.Tensor:
        values = (mixed[:, None] * a + b) & 0xFFFFFFFF
        least = torch.full((part.count, part.num_perm), 0xFFFFFFFF, dtype=torch.int64, device=device)
        return least.scatter_reduce_(0, document[:, None].expand_as(values), values, "amin").to(torch.int32)

    return Prepared(call, as_arrays, inputs, share, "int64, scatter_reduce; tokens mixed before")


# ---- the field's tools -----------------------------------------------------------------------------------


def _itself(token: int) -> int:
    return token


def datasketch_minhash(problem: Documents, settings: Settings) -> Prepared:
    from datasketch import MinHash

    part, _, share = sample(problem, settings, 1.5e4)
    rows = [row.view(np.uint32).tolist() for row in part.rows()]

    def call() -> Any:
        return MinHash.bulk(rows, num_perm=part.num_perm, hashfunc=_itself)

    return Prepared(call, None, part, share, "bulk, its affine32, tokens as they are")


def datasketch_lsh(problem: Documents, settings: Settings) -> Prepared:
    """Sketches, then each inserted after a query: what its users write to find duplicates."""
    from datasketch import MinHash, MinHashLSH

    part, _, share = sample(problem, settings, 5e3)
    rows = [row.view(np.uint32).tolist() for row in part.rows()]

    def call() -> Any:
        index = MinHashLSH(num_perm=part.num_perm, params=(BANDS, part.num_perm // BANDS))
        found = []
        for number, sketch in enumerate(MinHash.bulk(rows, num_perm=part.num_perm, hashfunc=_itself)):
            found.append(index.query(sketch))
            index.insert(number, sketch)
        return found

    return Prepared(call, None, part, share, "bulk, then query and insert one by one")


def datasketch_texts(problem: Texts, settings: Settings) -> Prepared:
    """What its documentation shows: shingles as strings, a sketch a text, a query before each insertion."""
    from datasketch import MinHash, MinHashLSH

    part, _, share = sample(problem, settings, 5e2)
    words, rows = re.compile(r"\w+"), PERMUTATIONS // BANDS

    def call() -> Any:
        index = MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, rows))
        found = []
        for number, text in enumerate(part.texts):
            units = words.findall(text.lower())
            shingles = {" ".join(units[i : i + 5]).encode() for i in range(max(1, len(units) - 4))}
            sketch = MinHash(num_perm=PERMUTATIONS)
            sketch.update_batch(list(shingles))
            found.append(index.query(sketch))
            index.insert(number, sketch)
        return found

    return Prepared(call, None, part, share, "findall, join, update_batch, query and insert; nothing verified")


def _rensa_digests(problem: Documents) -> Callable[[], Any]:
    from rensa import RMinHash

    tokens = problem.tokens.numpy().view(np.uint32).astype(np.uint64)
    offsets = problem.offsets.numpy().astype(np.uint64)
    return lambda: RMinHash.digest_matrix_from_flat_token_hashes(tokens, offsets, problem.num_perm, SEED)


def rensa_minhash(problem: Documents, settings: Settings) -> Prepared:
    return Prepared(_rensa_digests(problem), note="R-MinHash from flat buffers: O(tokens), other values")


def _rensa_flags(num_perm: int, bands: int, digests: Any) -> Any:
    from rensa import RMinHashLSH

    return RMinHashLSH(0.8, num_perm, bands).query_duplicate_flags_matrix_one_shot(digests)


def rensa_duplicates(problem: Documents, settings: Settings) -> Prepared:
    digests = _rensa_digests(problem)
    return Prepared(
        lambda: _rensa_flags(problem.num_perm, BANDS, digests()), note="digests and flags; neither pairs nor clusters"
    )


def rensa_flags(problem: Signatures, settings: Settings) -> Prepared:
    digests = _rensa_digests(problem.documents)()
    return Prepared(
        lambda: _rensa_flags(problem.documents.num_perm, problem.bands, digests),
        note="flags from its digests; neither pairs nor clusters",
    )


def numpy_components(problem: Signatures, settings: Settings) -> Prepared:
    """Bands as bytes, a stable sort of each, chains of equal ones, SciPy's components."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    values, bands = problem.values.numpy(), problem.bands
    rows = values.shape[1] // bands
    odd = np.random.default_rng(0).integers(2**63, dtype=np.uint64, size=rows) * np.uint64(2) + np.uint64(1)

    def call() -> np.ndarray[Any, Any]:
        first, second = [], []
        for band in range(bands):
            keys = (values[:, band * rows : (band + 1) * rows].astype(np.uint64) * odd).sum(1)
            order = np.argsort(keys, kind="stable")
            equal = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
            first.append(order[equal])
            second.append(order[equal + 1])
        i, j = np.concatenate(first), np.concatenate(second)
        graph = coo_array((np.ones(len(i), np.int8), (i, j)), shape=(len(values),) * 2)
        labels = connected_components(graph, directed=False)[1]
        _, smallest = np.unique(labels, return_index=True)
        return smallest[labels]

    return Prepared(call, as_arrays, note="band keys, argsort, SciPy's components")


MINHASH_PEERS = (
    Contestant("datasketch", datasketch_minhash),
    Contestant("rensa", rensa_minhash),
    Contestant("Numba", numba_minhash),
    Contestant("NumPy", numpy_minhash, baseline=True),
    Contestant("torch eager", torch_minhash, devices=BOTH, baseline=True),
)
ONE_PERMUTATION_PEERS = (Contestant("rensa", rensa_minhash),)
COMPONENT_PEERS = (Contestant("rensa", rensa_flags), Contestant("NumPy and SciPy", numpy_components, baseline=True))
DUPLICATE_PEERS = (
    Contestant("rensa", rensa_duplicates),
    Contestant("datasketch", datasketch_lsh, baseline=True),
)
TEXT_PEERS = (Contestant("datasketch", datasketch_texts, baseline=True),)
