# SPDX-License-Identifier: Apache-2.0
"""What torch must know of these operators: shapes (fake tensors, meta) and vmap. Their inputs are integers, so that no
derivative needs to be refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.library import register_fake, register_vmap

from ..._batches import looped

_ops = torch.ops.warphash


# ---- Shapes ---------------------------------------------------------------------------------------------------------
@register_fake("warphash::lsh_minhash")
def _(tokens: Tensor, offsets: Tensor, a: Tensor, b: Tensor, scheme: int) -> Tensor:
    return tokens.new_empty((offsets.shape[0] - 1, a.shape[0]), dtype=torch.int32)


@register_fake("warphash::lsh_one_permutation")
def _(tokens: Tensor, offsets: Tensor, num_bins: int, a: int, b: int) -> Tensor:
    return tokens.new_empty((offsets.shape[0] - 1, num_bins), dtype=torch.int32)


@register_fake("warphash::lsh_densify")
def _(signatures: Tensor, seed: int) -> Tensor:
    return signatures.new_empty(signatures.shape)


@register_fake("warphash::lsh_band_keys")
def _(signatures: Tensor, bands: int) -> Tensor:
    return signatures.new_empty((signatures.shape[0], bands), dtype=torch.int64)


@register_fake("warphash::lsh_bbit_pack")
def _(signatures: Tensor, bits: int) -> Tensor:
    return signatures.new_empty((signatures.shape[0], (signatures.shape[1] * bits + 7) // 8), dtype=torch.uint8)


# ---- vmap -----------------------------------------------------------------------------------------------------------
def _of_rows(op: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, int]]:
    """A batch of signatures is more rows."""

    def rule(info: Any, in_dims: tuple[int | None, ...], signatures: Tensor, option: int) -> tuple[Tensor, int]:
        moved = signatures.movedim(in_dims[0] or 0, 0)
        return op(moved.flatten(0, 1), option).unflatten(0, moved.shape[:2]), 0

    return rule


def _of_sets(op: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, int]]:
    """One call an item: the sets of several items lie in different tensors."""

    def of_empty_sets(tokens: Tensor, offsets: Tensor, *rest: Any) -> Tensor:
        return op(tokens.new_empty(0), torch.zeros_like(offsets), *rest)

    def rule(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
        return looped(op, info, in_dims, arguments, of_none=of_empty_sets)

    return rule


for _name in ("minhash", "one_permutation"):
    register_vmap(f"warphash::lsh_{_name}", _of_sets(getattr(_ops, f"lsh_{_name}")))
for _name in ("densify", "band_keys", "bbit_pack"):
    register_vmap(f"warphash::lsh_{_name}", _of_rows(getattr(_ops, f"lsh_{_name}")))
