# SPDX-License-Identifier: Apache-2.0
"""Shapes of the multi-index operators (fake tensors, meta); retrieval.HammingIndex alone calls them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.library import register_fake


@register_fake("warphash::hamming_multi_index_build")
def _(codes: Tensor, bits: int, substrings: int) -> tuple[Tensor, Tensor]:
    entries = 2 ** -(-bits // substrings) + 1
    return (
        codes.new_empty((substrings, entries), dtype=torch.int32),
        codes.new_empty((substrings, codes.shape[0]), dtype=torch.int32),
    )


@register_fake("warphash::hamming_multi_index_topk")
def _(
    queries: Tensor, codes: Tensor, offsets: Tensor, ids: Tensor, bits: int, k: int, budget: float
) -> tuple[Tensor, Tensor, Tensor]:
    shape = (queries.shape[0], k)
    return (
        queries.new_empty(shape, dtype=torch.int32),
        queries.new_empty(shape, dtype=torch.int64),
        queries.new_empty(shape[:1], dtype=torch.bool),
    )


@register_fake("warphash::hamming_multi_index_range")
def _(
    queries: Tensor, codes: Tensor, offsets: Tensor, ids: Tensor, bits: int, radius: int, budget: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    found = torch.library.get_ctx().new_dynamic_size()
    return (
        queries.new_empty((queries.shape[0] + 1,), dtype=torch.int64),
        queries.new_empty((found,), dtype=torch.int32),
        queries.new_empty((found,), dtype=torch.int64),
        queries.new_empty((queries.shape[0],), dtype=torch.bool),
    )
