# SPDX-License-Identifier: Apache-2.0
"""What torch must know of these operators: shapes (fake tensors, meta), vmap. Integers have no derivative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.library import register_fake, register_vmap

from ..._batches import looped, refused

_ops = torch.ops.warphash


@register_fake("warphash::lsh_candidate_pairs")
def _(keys: Tensor, max_bucket: int, mode: int) -> Tensor:
    return keys.new_empty((torch.library.get_ctx().new_dynamic_size(), 2))


@register_fake("warphash::lsh_bucket_sizes")
def _(keys: Tensor) -> Tensor:
    return keys.new_empty((torch.library.get_ctx().new_dynamic_size(),))


@register_fake("warphash::lsh_connected_components")
def _(pairs: Tensor, n: int) -> Tensor:
    return pairs.new_empty((n,))


@register_fake("warphash::lsh_pair_jaccard")
def _(tokens: Tensor, offsets: Tensor, pairs: Tensor) -> Tensor:
    return tokens.new_empty((pairs.shape[0],), dtype=torch.float64)


@register_vmap("warphash::lsh_connected_components")
def _(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
    return looped(_ops.lsh_connected_components, info, in_dims, arguments, of_none=_labels_of_none)


def _labels_of_none(pairs: Tensor, n: int) -> Tensor:
    return pairs.new_empty((n,))


@register_vmap("warphash::lsh_pair_jaccard")
def _(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
    return looped(_ops.lsh_pair_jaccard, info, in_dims, arguments, of_none=_similarities_of_none)


def _similarities_of_none(tokens: Tensor, offsets: Tensor, pairs: Tensor) -> Tensor:
    return pairs.new_empty((pairs.shape[0],), dtype=torch.float64)


for _name in ("candidate_pairs", "bucket_sizes"):
    register_vmap(f"warphash::lsh_{_name}", refused(f"lsh.{_name}"))
