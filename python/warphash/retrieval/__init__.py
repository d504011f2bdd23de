# SPDX-License-Identifier: Apache-2.0
"""Indexes of codes, and how good their answers are."""

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

__all__ = [
    "HammingIndex",
    "PrecisionRecallCurve",
    "mean_average_precision",
    "precision_at_k",
    "precision_recall_at_k",
    "precision_recall_curve",
    "precision_within_radius",
    "recall_at_k",
]
