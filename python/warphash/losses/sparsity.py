# SPDX-License-Identifier: Apache-2.0
"""Regularisers that make vectors sparse."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import _checks
from .._dtypes import compute_dtype


def flops(weights: Tensor) -> Tensor:
    """The FLOPS regulariser of learned sparse encoders: Σ_v (mean_i |w_iv|)².

    The square makes terms that many rows use dearer than others, so that the expected number of multiplications of an
    inverted index falls, which a sum of absolute values alone (L1) does not see. Source: Paria et al., "Minimizing
    FLOPs to learn efficient sparse representations", 2020. SPLADE adds λ · flops for documents and for queries, each λ
    raised as λ · (t / T)² over the first T steps.

    Args:
        weights: ``[..., N, V]`` of a floating dtype, N rows of V weights.

    Returns:
        ``[...]``; float32 for half types, whose sums are made so. Differentiable twice; where a weight is 0 the
        gradient is 0. 0 for no rows or no terms.

    Raises:
        TypeError: weights are no dense floating tensor.
        ValueError: they have fewer than two dimensions.
    """
    if not isinstance(weights, Tensor):
        raise TypeError(f"weights must be a torch tensor, got {type(weights).__name__}")
    _checks.dense("weights", weights)
    if not weights.is_floating_point():
        raise TypeError(f"weights must have a floating dtype, got {weights.dtype}")
    if weights.dim() < 2:
        raise ValueError(f"weights must be [..., N, V], got {list(weights.shape)}")
    mean = torch.sum(weights.abs(), -2, dtype=compute_dtype(weights.dtype)) / max(weights.shape[-2], 1)
    return mean.square().sum(-1)
