# SPDX-License-Identifier: Apache-2.0
"""Indexes of codes and of sparse vectors, and how good their answers are."""

from .index import HammingIndex
from .metrics import (
    PrecisionRecallCurve,
    mean_average_precision,
    precision_at_k,
    precision_recall_at_k,
    precision_recall_curve,
    precision_within_radius,
    recall_at_k,
)
from .rows import sparse_rows
from .sparse import SparseIndex

__all__ = [
    "HammingIndex",
    "PrecisionRecallCurve",
    "SparseIndex",
    "mean_average_precision",
    "precision_at_k",
    "precision_recall_at_k",
    "precision_recall_curve",
    "precision_within_radius",
    "recall_at_k",
    "sparse_rows",
]
