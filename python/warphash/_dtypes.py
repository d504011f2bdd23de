# SPDX-License-Identifier: Apache-2.0
"""Which dtype sums are made in. Every room and layer uses it."""

from __future__ import annotations

import torch


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Of the sums of values of a dtype: float64 for itself, float32 for all others."""
    return torch.float64 if dtype == torch.float64 else torch.float32
