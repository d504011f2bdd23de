# SPDX-License-Identifier: Apache-2.0
"""What torch must know of these operators: shapes (fake tensors, meta), that they have no derivative, vmap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake, register_vmap

from ..._batches import looped

_ops = torch.ops.warphash


# ---- Shapes ---------------------------------------------------------------------------------------------------------
def _with_last(x: Tensor, last: int, dtype: torch.dtype) -> Tensor:
    return x.new_empty((*x.shape[:-1], last), dtype=dtype)


@register_fake("warphash::lsh_simhash")
def _(x: Tensor, planes: Tensor, fast: bool) -> Tensor:
    return _with_last(x, (planes.shape[1] + 7) // 8, torch.uint8)


@register_fake("warphash::lsh_simhash_codes")
def _(x: Tensor, planes: Tensor, bits: int, gray: bool) -> Tensor:
    return _with_last(x, planes.shape[1] // bits, torch.int32)


@register_fake("warphash::lsh_hd3")
def _(x: Tensor, signs: Tensor, bits: int) -> Tensor:
    return _with_last(x, (bits + 7) // 8, torch.uint8)


@register_fake("warphash::lsh_cross_polytope")
def _(x: Tensor, signs: Tensor) -> Tensor:
    return _with_last(x, signs.shape[0], torch.int32)


@register_fake("warphash::lsh_pstable")
def _(x: Tensor, directions: Tensor, offsets: Tensor, width: float) -> Tensor:
    return _with_last(x, directions.shape[1], torch.int32)


# ---- Derivatives ----------------------------------------------------------------------------------------------------
def _no_derivative(ctx: Any, *gradients: Tensor) -> None:
    raise RuntimeError("hash codes have no derivative")


# ---- vmap -----------------------------------------------------------------------------------------------------------
def _batched(op: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, int]]:
    """Batched vectors alone are more vectors; batched parameters mean one call an item."""

    def rule(info: Any, in_dims: tuple[int | None, ...], x: Tensor, *rest: Any) -> Any:
        if in_dims[0] is not None and all(dim is None for dim in in_dims[1:]):
            return op(x.movedim(in_dims[0], 0), *rest), 0
        return looped(op, info, in_dims, (x, *rest))

    return rule


for _name in ("simhash", "simhash_codes", "hd3", "cross_polytope", "pstable"):
    register_autograd(f"warphash::lsh_{_name}", _no_derivative)
    register_vmap(f"warphash::lsh_{_name}", _batched(getattr(_ops, f"lsh_{_name}")))
