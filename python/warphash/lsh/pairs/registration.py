# SPDX-License-Identifier: Apache-2.0
"""What torch must know of these operators: shapes (fake tensors, meta), vmap. Integers have no derivative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.library import register_fake, register_vmap

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
def _(info: Any, in_dims: tuple[int | None, ...], pairs: Tensor, n: int) -> Any:
    rows = pairs.movedim(in_dims[0] or 0, 0)
    labels = [_ops.lsh_connected_components(row, n) for row in rows]
    return (torch.stack(labels) if labels else pairs.new_empty((0, n))), 0


@register_vmap("warphash::lsh_pair_jaccard")
def _(info: Any, in_dims: tuple[int | None, ...], *arguments: Tensor) -> Any:
    rows = [
        _ops.lsh_pair_jaccard(
            *(a if dim is None else a.select(dim, i) for a, dim in zip(arguments, in_dims, strict=True))
        )
        for i in range(info.batch_size)
    ]
    pairs, dim = arguments[2], in_dims[2]
    count = pairs.shape[0] if dim is None else pairs.movedim(dim, 0).shape[1]
    return (torch.stack(rows) if rows else pairs.new_empty((0, count), dtype=torch.float64)), 0


def _refused(name: str) -> Any:
    def rule(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
        raise RuntimeError(f"lsh.{name} has results of varying number and cannot be vmapped; loop over the batch")

    return rule


for _name in ("candidate_pairs", "bucket_sizes"):
    register_vmap(f"warphash::lsh_{_name}", _refused(_name))
