# SPDX-License-Identifier: Apache-2.0
"""Hamming search over packed binary codes: exact, ties by ascending index, the same bits on every machine."""

from . import functional, reference, registration, registration_multi_index
from .functional import asymmetric_topk, cdist, histogram, jaccard_topk, pack, range_search, topk, unpack

__all__ = [
    "asymmetric_topk",
    "cdist",
    "functional",
    "histogram",
    "jaccard_topk",
    "pack",
    "range_search",
    "reference",
    "registration",
    "registration_multi_index",
    "topk",
    "unpack",
]
