# SPDX-License-Identifier: Apache-2.0
"""What torch must know of the room's operators: shapes (fake tensors, meta), derivatives, vmap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake, register_vmap

from .._batches import looped, refused

_ops = torch.ops.warphash


# ---- Shapes ---------------------------------------------------------------------------------------------------------
@register_fake("warphash::hamming_pack")
def _(x: Tensor, threshold: float) -> Tensor:
    return x.new_empty((*x.shape[:-1], (x.shape[-1] + 7) // 8), dtype=torch.uint8)


@register_fake("warphash::hamming_unpack")
def _(codes: Tensor, bits: int) -> Tensor:
    return codes.new_empty((*codes.shape[:-1], bits), dtype=torch.bool)


@register_fake("warphash::hamming_cdist")
def _(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty((a.shape[0], b.shape[0]), dtype=torch.int32)


@register_fake("warphash::hamming_topk")
def _(queries: Tensor, database: Tensor, k: int, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    return _rows(queries, k, torch.int32)


@register_fake("warphash::hamming_jaccard_topk")
def _(queries: Tensor, database: Tensor, k: int, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    return _rows(queries, k, torch.float32)


@register_fake("warphash::hamming_asymmetric_topk")
def _(queries: Tensor, database: Tensor, k: int) -> tuple[Tensor, Tensor]:
    return _rows(queries, k, torch.float32)


def _rows(queries: Tensor, k: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    shape = (queries.shape[0], k)
    return queries.new_empty(shape, dtype=dtype), queries.new_empty(shape, dtype=torch.int64)


@register_fake("warphash::hamming_range_search")
def _(queries: Tensor, database: Tensor, radius: int, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    found = torch.library.get_ctx().new_dynamic_size()
    return (
        queries.new_empty((queries.shape[0] + 1,), dtype=torch.int64),
        queries.new_empty((found,), dtype=torch.int32),
        queries.new_empty((found,), dtype=torch.int64),
    )


@register_fake("warphash::hamming_histogram")
def _(queries: Tensor, database: Tensor, mask: Tensor | None) -> Tensor:
    return queries.new_empty((queries.shape[0], 8 * queries.shape[1] + 1), dtype=torch.int64)


# ---- Derivatives ----------------------------------------------------------------------------------------------------
def _no_derivative(ctx: Any, *gradients: Tensor) -> None:
    raise RuntimeError("packed codes have no derivative")


# Only operators with floating-point inputs need an entry; codes are integers.
register_autograd("warphash::hamming_pack", _no_derivative)


def _score_gradient(gradient: Tensor, database: Tensor, indices: Tensor) -> Tensor:
    """Sum over the returned codes of the score's gradient times the code's signs, some columns of results at a time."""
    queries, k = indices.shape
    width = 8 * database.shape[1]
    total = gradient.new_zeros((queries, width))
    if database.shape[0] == 0 or k == 0:
        return total
    # A compiled graph would hold a copy of the loop's body for every turn.
    step = k if torch.compiler.is_compiling() else max(1, 2**24 // max(1, queries * width))
    for first in range(0, k, step):
        index = indices[:, first : first + step]
        codes = database.index_select(0, index.clamp(min=0).flatten())
        signs = torch.where(_ops.hamming_unpack(codes, width), 1.0, -1.0).to(gradient.dtype)
        weights = gradient[:, first : first + step] * (index >= 0)
        total = total + (weights.unsqueeze(1) @ signs.unflatten(0, index.shape)).squeeze(1)
    return total


def _keep_for_scores(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[1], output[1])
    ctx.mark_non_differentiable(output[1])


def _score_backward(ctx: Any, gradient: Tensor, _: Tensor | None) -> tuple[Tensor, None, None]:
    return _score_gradient(gradient, *ctx.saved_tensors), None, None


register_autograd("warphash::hamming_asymmetric_topk", _score_backward, setup_context=_keep_for_scores)


class AsymmetricTopk(torch.autograd.Function):
    """The operator for torch.func, which refuses operators' own derivatives; forward mode raises, never says zero."""

    generate_vmap_rule = True

    @staticmethod
    def forward(queries: Tensor, database: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Scores and indices."""
        scores, indices = _ops.hamming_asymmetric_topk(queries, database, k)
        return scores, indices

    setup_context = staticmethod(_keep_for_scores)
    backward = staticmethod(_score_backward)


# ---- vmap -----------------------------------------------------------------------------------------------------------
def _batched(op: Callable[..., Any]) -> Callable[..., Any]:
    """The rule for an operator on (queries, database, ...): batched queries alone are more queries, all else a loop."""

    def rule(info: Any, in_dims: tuple[int | None, ...], queries: Tensor, database: Tensor, *rest: Any) -> Any:
        if in_dims[0] is None or any(dim is not None for dim in in_dims[1:]) or _per_query(rest):
            return looped(op, info, in_dims, (queries, database, *rest))
        moved = queries.movedim(in_dims[0], 0)
        out = op(moved.flatten(0, 1), database, *rest)
        if isinstance(out, Tensor):
            return out.unflatten(0, moved.shape[:2]), 0
        return tuple(part.unflatten(0, moved.shape[:2]) for part in out), (0,) * len(out)

    return rule


def _per_query(rest: tuple[Any, ...]) -> bool:
    return any(isinstance(x, Tensor) and x.dim() == 2 for x in rest)


for _name in ("topk", "jaccard_topk", "asymmetric_topk", "histogram", "cdist"):
    register_vmap(f"warphash::hamming_{_name}", _batched(getattr(_ops, f"hamming_{_name}")))
register_vmap("warphash::hamming_range_search", refused("hamming.range_search"))


@register_vmap("warphash::hamming_pack")
def _(info: Any, in_dims: tuple[int, None], x: Tensor, threshold: float) -> tuple[Tensor, int]:
    return _ops.hamming_pack(x.movedim(in_dims[0], 0), threshold), 0


@register_vmap("warphash::hamming_unpack")
def _(info: Any, in_dims: tuple[int, None], codes: Tensor, bits: int) -> tuple[Tensor, int]:
    return _ops.hamming_unpack(codes.movedim(in_dims[0], 0), bits), 0
