# SPDX-License-Identifier: Apache-2.0
"""Near-duplicates among texts: shingles, MinHash, bands, candidate pairs, their true Jaccard, components."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import _checks, lsh
from . import groups
from .sets import TokenSets
from .sketches import Sketching, Stages, sketched

__all__ = ["Deduplication", "Report", "deduplicate"]

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64


@dataclass(frozen=True)
class Report:
    """What was met on the way."""

    documents: int
    empty: int
    """Texts without any unit: they match nothing and are kept."""
    distinct: int
    """Different sets of shingles, the empty one not counted."""
    candidate_pairs: int
    """Pairs of distinct sets that met in a band, and were verified."""
    verified_pairs: int
    """Pairs of documents, those with identical sets included, whose Jaccard reaches the threshold."""
    clusters: int
    """Clusters of at least two documents."""
    removed: int
    """Documents that are not kept."""
    bands: int
    rows: int
    """Values of a signature that make a band."""
    bucket_sizes: Tensor
    """int64 [S]: how many buckets, of all bands, hold s distinct sets."""
    chained_buckets: int
    """Buckets so large that not all of their pairs were candidates."""
    all_pairs: bool
    """Whether ``pairs`` lists every verified pair, or a chain through each group of identical sets."""
    spilled: bool
    """Whether shingles went to a temporary file."""
    seconds: dict[str, float]
    """Of each stage: reading, shingles, signatures, candidates, verification, components."""


@dataclass(frozen=True)
class Deduplication:
    """The near-duplicates among texts 0 ... N - 1. Tensors on the CPU."""

    keep: Tensor
    """int64 [K]: the first text of each cluster, ascending."""
    labels: Tensor
    """int64 [N]: the smallest member of each text's cluster, the connected components of ``pairs``."""
    pairs: Tensor
    """int64 [P, 2]: i < j, distinct and sorted; texts whose Jaccard reaches the threshold."""
    report: Report


def deduplicate(
    texts: Iterable[str],
    *,
    threshold: float = 0.8,
    ngram: int = 5,
    unit: str = "word",
    num_perm: int = 128,
    bands: int | None = None,
    seed: int = 0,
    max_pairs: int = 2**24,
    memory_limit: int = 2**32,
) -> Deduplication:
    """Finds near-duplicates among texts and keeps the first of each cluster.

    Texts become sets of shingles (:func:`warphash.lsh.shingles` has their definition), sets become MinHash signatures,
    signatures are cut into bands, and texts that agree in a band are candidates. Of each candidate pair the true
    Jaccard similarity of both sets is taken; pairs below ``threshold`` are dropped, and clusters are the connected
    components of the others. So every pair is right, and what may be missed is a pair that met in no band: with
    similarity s, and b bands of r rows, a share of (1 - s^r)^b.

    Texts with identical sets are one item until the end, however many there are.

    Args:
        texts: a list or another iterable of str; an iterator is read once, and no text is kept.
        threshold: the least Jaccard similarity of a pair, above 0 and at most 1.
        ngram: units a shingle.
        unit: ``"word"`` or ``"char"``. A text with fewer units than ``ngram`` is one shingle; texts without any unit
            match nothing, not even each other.
        num_perm: values of a signature.
        bands: into how many a signature is cut; it must divide ``num_perm``. None: bands of the most rows that find a
            pair of just the threshold with a probability of at least 0.99; at 0.8 and 128 these are 21 bands of 6 rows.
        seed: of the hash functions.
        max_pairs: a bound of work and memory. Where buckets have more pairs, equal ones of several bands counted each,
            the largest buckets give only the pairs of their first member with each other one. And where there are more
            verified pairs, ``pairs`` lists of each group of identical sets only the pairs of its first member with each
            other one, and of two such groups the pair of their first members. Components are those of all pairs.
        memory_limit: bytes of shingles beyond which they go to a temporary file.

    Returns:
        :class:`Deduplication` with ``keep``, ``labels``, ``pairs`` and ``report``.

    Raises:
        TypeError: ``texts`` is one string or holds something else; another argument is of the wrong type.
        ValueError: an argument is out of range, ``bands`` does not divide ``num_perm``.
        OSError: the temporary file cannot be written.

    Complexity: O(shingles · num_perm + candidates · shingles of a text). Memory: 8 bytes a distinct shingle of a text
    (up to memory_limit, then a file), 8 · (bands + 2) a text, 16 a candidate pair; of texts and signatures one batch
    of at most 2^24 characters (beside its last text, which may be longer), 2^15 texts and 2^22 values of signatures.

    Sources: Broder, "On the resemblance and containment of documents", 1997; Leskovec, Rajaraman and Ullman, "Mining of
    Massive Datasets", chapter 3.
    """
    sketching = Sketching(threshold, ngram, unit, num_perm, seed)
    columns, rows = sketching.bands_for_recall() if bands is None else _cut(sketching, bands)
    most = _checks.count("max_pairs", max_pairs)
    limit = _checks.count("memory_limit", memory_limit)
    stages = Stages()
    none = torch.empty(0, dtype=torch.int64, device="cpu")
    key_parts, prints = [none.reshape(0, columns)], [none]
    with TokenSets(limit) as sets:
        for batch in sketched(texts, sketching, stages):
            with stages("signatures"):
                key_parts.append(lsh.band_keys(batch.signatures[:, : columns * rows], columns))
                prints.append(_fingerprints(batch.tokens, batch.offsets, batch.signatures))
            with stages("shingles"):
                sets.append(batch.tokens, batch.offsets)
        with stages("shingles"):
            tokens, offsets = sets.whole()
    with stages("candidates"):
        fingerprints = torch.cat(prints)
        same = groups.identical_sets(fingerprints, tokens, offsets)
        keys = torch.cat(key_parts)[same.firsts]
        key_parts.clear()
        sizes = lsh.bucket_sizes(keys)
        candidates, chained = groups.bounded_candidates(keys, sizes, most)
    with stages("verification"):
        candidates = same.firsts[candidates]
        similar = candidates[lsh.pair_jaccard(tokens, offsets, candidates, validate=False) >= sketching.threshold]
    with stages("components"):
        total = same.pair_count(similar)
        pairs = same.all_pairs(similar) if total <= most else same.chained_pairs(similar)
        labels = lsh.connected_components(pairs, same.documents)
        keep = (labels == torch.arange(same.documents, device="cpu")).nonzero().squeeze(1)
        members = torch.bincount(labels, minlength=same.documents)
    report = Report(
        documents=same.documents,
        empty=int((fingerprints == -1).sum()),
        distinct=len(same.firsts),
        candidate_pairs=len(candidates),
        verified_pairs=total,
        clusters=int((members > 1).sum()),
        removed=same.documents - len(keep),
        bands=columns,
        rows=rows,
        bucket_sizes=sizes,
        chained_buckets=chained,
        all_pairs=total <= most,
        spilled=sets.spilled,
        seconds=stages.seconds,
    )
    return Deduplication(keep, labels, pairs, report)


def _cut(sketching: Sketching, bands: int) -> tuple[int, int]:
    count = _checks.count("bands", bands, 1)
    if sketching.num_perm % count:
        raise ValueError(f"bands must divide num_perm, {sketching.num_perm}, got {count}")
    return count, sketching.num_perm // count


def _fingerprints(tokens: Tensor, offsets: Tensor, signatures: Tensor) -> Tensor:
    """int64 [n]: equal for identical sets, -1 for empty ones, and hardly ever equal for others."""
    filled = offsets.diff() > 0
    # Tokens are mixed well already, so their sum is a hash of the set; sums wrap around.
    sums = torch.zeros(len(filled), dtype=torch.int64, device="cpu")
    sums[filled] = groups.sums_of_runs(tokens, offsets[:-1][filled])
    mixed = sums ^ lsh.band_keys(signatures, 1).squeeze(1) * _GOLDEN
    return torch.where(filled, mixed & 2**63 - 1, -1)
