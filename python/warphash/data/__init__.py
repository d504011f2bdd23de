# SPDX-License-Identifier: Apache-2.0
"""Near-duplicates: of texts by MinHash, of codes and images by Hamming distance; an index of signatures."""

from .images import deduplicate_images, dhash
from .index import MinHashIndex
from .texts import Deduplication, Report, deduplicate
from .vectors import VectorDeduplication, deduplicate_vectors

__all__ = [
    "Deduplication",
    "MinHashIndex",
    "Report",
    "VectorDeduplication",
    "deduplicate",
    "deduplicate_images",
    "deduplicate_vectors",
    "dhash",
]
