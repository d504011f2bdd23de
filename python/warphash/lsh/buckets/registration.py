# SPDX-License-Identifier: Apache-2.0
"""What torch must know of these operators: shapes (fake tensors, meta), derivatives of every order, vmap.

Sums by bucket and sums over tables are each other's adjoint: the derivative of one is the other, so that two operators
close the circle.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake, register_vmap

from ..._batches import refused

_ops = torch.ops.warphash


# ---- Shapes ---------------------------------------------------------------------------------------------------------
@register_fake("warphash::lsh_bucket_sort")
def _(codes: Tensor, num_buckets: int) -> tuple[Tensor, Tensor, Tensor]:
    shape = codes.shape
    items = codes.new_empty(shape, dtype=torch.int64)
    offsets = codes.new_empty((*shape[:-1], num_buckets + 1), dtype=torch.int64)
    return items, torch.empty_like(items), offsets


@register_fake("warphash::lsh_bucket_query")
def _(order: Tensor, offsets: Tensor, query_codes: Tensor) -> tuple[Tensor, Tensor]:
    found = torch.library.get_ctx().new_dynamic_size()
    return order.new_empty((query_codes.shape[1] + 1,)), order.new_empty((found,))


@register_fake("warphash::lsh_bucket_sum")
def _(values: Tensor, codes: Tensor, num_buckets: int) -> Tensor:
    return values.new_empty((codes.shape[0], codes.shape[1], num_buckets, values.shape[2]))


@register_fake("warphash::lsh_bucket_gather_sum")
def _(table: Tensor, codes: Tensor) -> Tensor:
    return table.new_empty((codes.shape[0], codes.shape[2], table.shape[3]))


# ---- Derivatives ----------------------------------------------------------------------------------------------------
# Each operator stands twice: with its registered derivative for those who call it by name, and as an autograd.Function
# for torch.func, which refuses operators' own derivatives.
def _keep_codes(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.num_buckets = inputs[2] if len(inputs) > 2 else inputs[0].shape[2]


def _sum_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    (codes,) = ctx.saved_tensors
    return BucketGatherSum.apply(gradient, codes), None, None  # type: ignore[no-untyped-call]


def _gather_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    (codes,) = ctx.saved_tensors
    return BucketSum.apply(gradient, codes, ctx.num_buckets), None  # type: ignore[no-untyped-call]


register_autograd("warphash::lsh_bucket_sum", _sum_backward, setup_context=_keep_codes)
register_autograd("warphash::lsh_bucket_gather_sum", _gather_backward, setup_context=_keep_codes)


class BucketSum(torch.autograd.Function):
    """``lsh_bucket_sum`` with its derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, codes: Tensor, num_buckets: int) -> Tensor:
        """Values [B, N, d], codes [B, H, N] to sums [B, H, num_buckets, d]."""
        sums: Tensor = _ops.lsh_bucket_sum(values, codes, num_buckets)
        return sums

    setup_context = staticmethod(_keep_codes)
    backward = staticmethod(_sum_backward)


class BucketGatherSum(torch.autograd.Function):
    """``lsh_bucket_gather_sum`` with its derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(table: Tensor, codes: Tensor) -> Tensor:
        """Table [B, H, K, d], codes [B, H, C] to sums [B, C, d]."""
        sums: Tensor = _ops.lsh_bucket_gather_sum(table, codes)
        return sums

    setup_context = staticmethod(_keep_codes)
    backward = staticmethod(_gather_backward)


# One call of torch.compile's graph: where it traces into an autograd.Function, derivatives taken inside of the graph
# are cut off from their own derivatives.
@torch.compiler.allow_in_graph
def summed(values: Tensor, codes: Tensor, num_buckets: int) -> Tensor:
    """``lsh_bucket_sum`` for eager calls, the compiler and torch.func."""
    out: Tensor = BucketSum.apply(values, codes, num_buckets)  # type: ignore[no-untyped-call]
    return out


@torch.compiler.allow_in_graph
def gathered(table: Tensor, codes: Tensor) -> Tensor:
    """``lsh_bucket_gather_sum`` for eager calls, the compiler and torch.func."""
    out: Tensor = BucketGatherSum.apply(table, codes)  # type: ignore[no-untyped-call]
    return out


# ---- vmap -----------------------------------------------------------------------------------------------------------
def _first(x: Tensor, dim: int | None, size: int) -> Tensor:
    """The batch in front, shared arguments expanded."""
    return x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)


@register_vmap("warphash::lsh_bucket_sort")
def _(info: Any, in_dims: tuple[int | None, ...], codes: Tensor, num_buckets: int) -> Any:
    return _ops.lsh_bucket_sort(_first(codes, in_dims[0], info.batch_size), num_buckets), (0, 0, 0)


def _paired(op: Any, info: Any, in_dims: tuple[int | None, ...], x: Tensor, codes: Tensor, *rest: int) -> Any:
    """Two batched tensors whose first dimensions are batches already."""
    both = [_first(a, dim, info.batch_size) for a, dim in zip((x, codes), in_dims[:2], strict=True)]
    flat = op(*(a.reshape(a.shape[0] * a.shape[1], *a.shape[2:]) for a in both), *rest)
    return flat.reshape(*both[0].shape[:2], *flat.shape[1:]), 0


@register_vmap("warphash::lsh_bucket_sum")
def _(info: Any, in_dims: tuple[int | None, ...], values: Tensor, codes: Tensor, num_buckets: int) -> Any:
    return _paired(_ops.lsh_bucket_sum, info, in_dims, values, codes, num_buckets)


@register_vmap("warphash::lsh_bucket_gather_sum")
def _(info: Any, in_dims: tuple[int | None, ...], table: Tensor, codes: Tensor) -> Any:
    return _paired(_ops.lsh_bucket_gather_sum, info, in_dims, table, codes)


register_vmap("warphash::lsh_bucket_query", refused("lsh.bucket_query"))
