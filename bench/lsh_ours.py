# SPDX-License-Identifier: Apache-2.0
"""Our side of the LSH benches: the calls, and the checks of answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from bench.harness.workload import Contestant, Prepared, Settings
from bench.lsh_inputs import BANDS, PERMUTATIONS, SEED, Codes, Documents, Sequences, Signatures, Texts, Vectors


def as_arrays(result: Any) -> tuple[np.ndarray[Any, Any], ...]:
    parts = result if isinstance(result, tuple | list) else (result,)
    return tuple(part if isinstance(part, np.ndarray) else part.detach().cpu().numpy() for part in parts)


def ours(
    solve: Callable[[Any], Any],
    name: str = "warphash",
    modes: tuple[str, ...] | None = None,
    exact: bool = True,
    units: frozenset[str] | None = None,
) -> Contestant:
    """exact: another way of ours that must give the same answer. units: see Contestant."""

    def prepare(inputs: Any, settings: Settings) -> Prepared:
        return Prepared(lambda: solve(inputs), as_arrays if exact else None)

    more = {} if modes is None else {"modes": modes}
    return Contestant(name, prepare, devices=("cpu", "cuda"), units=units, **more)


# ---- codes of vectors ------------------------------------------------------------------------------------


def solve_simhash(inputs: Vectors, precision: str = "exact") -> Any:
    import warphash

    return warphash.lsh.simhash(inputs.x, inputs.planes, precision=precision)


# Its products of bfloat16 are none of the units that are measured, so that memory alone is its limit.
FAST = partial(ours, partial(solve_simhash, precision="fast"), "warphash (fast)", units=frozenset())


def solve_hd3(inputs: Vectors) -> Any:
    import warphash

    return warphash.lsh.hd3_simhash(inputs.x, inputs.bits, seed=SEED)


def solve_cross_polytope(inputs: Vectors) -> Any:
    import warphash

    return warphash.lsh.cross_polytope(inputs.x, tables=inputs.bits, seed=SEED)


def solve_sort(inputs: Vectors) -> Any:
    import warphash

    return tuple(warphash.lsh.sort_lsh(inputs.x, inputs.planes))


# ---- sketches and what comes after -----------------------------------------------------------------------


def solve_minhash(inputs: Documents) -> Any:
    import warphash

    return warphash.lsh.minhash(inputs.tokens, inputs.offsets, inputs.num_perm, seed=SEED)


def solve_one_permutation(inputs: Documents) -> Any:
    import warphash

    return warphash.lsh.one_permutation_minhash(inputs.tokens, inputs.offsets, inputs.num_perm, seed=SEED)


def _components(signatures: torch.Tensor, bands: int) -> Any:
    from warphash import lsh

    pairs = lsh.candidate_pairs(lsh.band_keys(signatures, bands), mode="chain")
    return lsh.connected_components(pairs, len(signatures))


def solve_components(inputs: Signatures) -> Any:
    """Bands, chains of candidates, components."""
    return _components(inputs.values, inputs.bands)


def solve_deduplicate(inputs: Documents, bands: int = BANDS) -> Any:
    """Signatures, bands, chains, components."""
    return _components(solve_minhash(inputs), bands)


def solve_texts(inputs: Texts) -> Any:
    """From strings to verified pairs and labels."""
    import warphash

    return torch.as_tensor(warphash.data.deduplicate(inputs.texts, num_perm=PERMUTATIONS, bands=BANDS).labels)


# ---- buckets ---------------------------------------------------------------------------------------------


def solve_bucket_sort(inputs: Codes) -> Any:
    import warphash

    return tuple(warphash.lsh.bucket_sort(inputs.codes, inputs.num_buckets))


def table_of(inputs: Codes) -> Any:
    import warphash

    return warphash.lsh.bucket_sort(inputs.codes, inputs.num_buckets)


def solve_query(inputs: Codes) -> Any:
    import warphash

    return warphash.lsh.bucket_query(table_of(inputs), inputs.queries)


def our_query() -> Contestant:
    """The table is built before."""

    def prepare(inputs: Codes, settings: Settings) -> Prepared:
        import warphash

        table = table_of(inputs)
        return Prepared(lambda: warphash.lsh.bucket_query(table, inputs.queries), as_arrays)

    return Contestant("warphash", prepare, devices=("cpu", "cuda"))


def solve_bucket_sum(inputs: Sequences) -> Any:
    import warphash

    return warphash.lsh.bucket_sum(inputs.values.unsqueeze(1), inputs.codes, inputs.num_buckets)


# ---- checks ----------------------------------------------------------------------------------------------


def equal(ours: Any, theirs: Any, _: Any) -> str | None:
    """Integers, bit for bit; as many arrays as the peer gives."""
    mine, yours = as_arrays(ours), as_arrays(theirs)
    for number, (a, b) in enumerate(zip(mine, yours, strict=False)):
        if a.shape != b.shape:
            return f"array {number}: shape {b.shape}, ours {a.shape}"
        if not np.array_equal(a, b):
            return f"array {number}: {np.mean(a != b):.2%} of its values differ"
    return None


def _few_differ(ours: Any, theirs: Any, what: str, share: float, differing: Callable[..., Any]) -> str | None:
    (a, *_), (b, *_) = as_arrays(ours), as_arrays(theirs)
    if a.shape != b.shape:
        return f"shape {b.shape}, ours {a.shape}"
    found = differing(a, b).mean() if a.size else 0.0
    return f"{found:.2%} of all {what} differ" if found > share else None


def few_bits_differ(ours: Any, theirs: Any, _: Any, share: float = 1e-4) -> str | None:
    """Packed codes: a sum of floats in another order may have another sign where it is next to zero."""
    return _few_differ(ours, theirs, "bits", share, lambda a, b: np.unpackbits(a ^ b))


def few_codes_differ(ours: Any, theirs: Any, _: Any, share: float = 1e-3) -> str | None:
    """Codes of rotations: the largest of two that are almost equal."""
    return _few_differ(ours, theirs, "codes", share, np.not_equal)


def sizes_alike(ours: Any, theirs: Any, _: Any) -> str | None:
    """Sorted buckets of almost equal codes: offsets agree but for a few rows."""
    (_, _, a), (_, _, b) = as_arrays(ours), as_arrays(theirs)
    if a.shape != b.shape:
        return f"offsets of shape {b.shape}, ours {a.shape}"
    moved = np.abs(np.diff(a - b, axis=-1)).sum() / max(a[..., -1].sum(), 1)
    return f"{moved:.2%} of all rows are in other buckets" if moved > 1e-3 else None


def close(ours: Any, theirs: Any, _: Any) -> str | None:
    """Sums of floats."""
    (a, *_), (b, *_) = as_arrays(ours), as_arrays(theirs)
    if a.shape != b.shape:
        return f"shape {b.shape}, ours {a.shape}"
    return None if np.allclose(a, b, rtol=1e-3, atol=1e-3) else f"differs by up to {np.abs(a - b).max():.2g}"
