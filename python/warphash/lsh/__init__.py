# SPDX-License-Identifier: Apache-2.0
"""Locality-sensitive hashing: codes, bucket tables and candidate pairs, the same integers on every machine."""

from . import buckets, pairs, projections, sketches, text
from .buckets.functional import BucketTable, bucket_gather_mean, bucket_query, bucket_sort, bucket_sum, sort_lsh
from .pairs.functional import bucket_sizes, candidate_pairs, connected_components, pair_jaccard
from .projections.functional import (
    cross_polytope,
    hd3_simhash,
    pstable,
    random_directions,
    random_offsets,
    random_planes,
    simhash,
    simhash_codes,
)
from .sketches.functional import (
    band_keys,
    bbit_jaccard,
    bbit_pack,
    densify,
    minhash,
    minhash_jaccard,
    one_permutation_minhash,
)
from .text.functional import shingles

__all__ = [
    "BucketTable",
    "band_keys",
    "bbit_jaccard",
    "bbit_pack",
    "bucket_gather_mean",
    "bucket_query",
    "bucket_sizes",
    "bucket_sort",
    "bucket_sum",
    "buckets",
    "candidate_pairs",
    "connected_components",
    "cross_polytope",
    "densify",
    "hd3_simhash",
    "minhash",
    "minhash_jaccard",
    "one_permutation_minhash",
    "pair_jaccard",
    "pairs",
    "projections",
    "pstable",
    "random_directions",
    "random_offsets",
    "random_planes",
    "shingles",
    "simhash",
    "simhash_codes",
    "sketches",
    "sort_lsh",
    "text",
]
