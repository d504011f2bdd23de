# SPDX-License-Identifier: Apache-2.0
"""What torch must know of the operator: shapes (fake tensors, meta). Integers have no derivative."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.library import register_fake


@register_fake("warphash::lsh_shingles")
def _(text: Tensor, offsets: Tensor, word_points: Tensor, ngram: int, words: bool) -> tuple[Tensor, Tensor]:
    tokens = offsets.new_empty((torch.library.get_ctx().new_dynamic_size(),))
    return tokens, torch.empty_like(offsets, memory_format=torch.contiguous_format)
