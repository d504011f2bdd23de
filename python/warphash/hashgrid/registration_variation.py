# SPDX-License-Identifier: Apache-2.0
"""The total variation's operators: shapes, derivatives, vmap.

The variation is a square of what is linear in the table: its gradient is linear in the table, and so is its own
derivative's operator. In x both are constant from cell to cell.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake, register_vmap

from .._batches import looped
from .._dtypes import compute_dtype
from .registration import level_count, level_rows

_ops = torch.ops.warphash


@register_fake("warphash::hashgrid_variation")
def _(x: Tensor, table: Tensor, grid: str) -> Tensor:
    return x.new_empty((level_count(grid),), dtype=compute_dtype(table.dtype))


@register_fake("warphash::hashgrid_variation_backward")
def _(gradient: Tensor, x: Tensor, table: Tensor, grid: str, deterministic: bool) -> Tensor:
    return table.new_empty((table.shape[0], table.shape[1]), dtype=compute_dtype(table.dtype))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], inputs[1])
    ctx.grid = inputs[2]


def _backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor | None, None]:
    x, table = ctx.saved_tensors
    if not ctx.needs_input_grad[1]:
        return None, None, None
    deterministic = torch.are_deterministic_algorithms_enabled()
    of_table = VariationBackward.apply(gradient, x, table, ctx.grid, deterministic)  # type: ignore[no-untyped-call]
    return None, of_table.to(table.dtype), None


def _keep_for_second(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], inputs[1], inputs[2])
    ctx.grid, ctx.deterministic = inputs[3], inputs[4]


def _second(ctx: Any, v: Tensor) -> tuple[Tensor | None, None, Tensor | None, None, None]:
    gradient, x, table = ctx.saved_tensors
    of_gradient = of_table = None
    if ctx.needs_input_grad[0]:  # a level's rows are its own: its part of <v, gradient for weights of one>
        one = VariationBackward.apply(  # type: ignore[no-untyped-call]
            torch.ones_like(gradient), x, table, ctx.grid, ctx.deterministic
        )
        of_gradient = torch.stack([part.sum() for part in (v * one).split(level_rows(ctx.grid))])
    if ctx.needs_input_grad[2]:
        of_table = VariationBackward.apply(  # type: ignore[no-untyped-call]
            gradient, x, v, ctx.grid, ctx.deterministic
        ).to(table.dtype)
    return of_gradient, None, of_table, None, None


register_autograd("warphash::hashgrid_variation", _backward, setup_context=_keep)
register_autograd("warphash::hashgrid_variation_backward", _second, setup_context=_keep_for_second)


class Variation(torch.autograd.Function):
    """``hashgrid_variation`` with its derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, table: Tensor, grid: str) -> Tensor:
        """Sums of squares by level."""
        by_level: Tensor = _ops.hashgrid_variation(x, table, grid)
        return by_level

    setup_context = staticmethod(_keep)
    backward = staticmethod(_backward)


# One call of the compiler's graph, as that of the encoding.
@torch.compiler.allow_in_graph
def variation(x: Tensor, table: Tensor, grid: str) -> Tensor:
    """``hashgrid_variation`` for eager calls, the compiler and torch.func."""
    by_level: Tensor = Variation.apply(x, table, grid)  # type: ignore[no-untyped-call]
    return by_level


class VariationBackward(torch.autograd.Function):
    """``hashgrid_variation_backward`` with its derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Tensor, x: Tensor, table: Tensor, grid: str, deterministic: bool) -> Tensor:
        """The derivative to the table."""
        of_table: Tensor = _ops.hashgrid_variation_backward(gradient, x, table, grid, deterministic)
        return of_table

    setup_context = staticmethod(_keep_for_second)
    backward = staticmethod(_second)


@register_vmap("warphash::hashgrid_variation")
def _(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
    return looped(_ops.hashgrid_variation, info, in_dims, arguments)


@register_vmap("warphash::hashgrid_variation_backward")
def _(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
    return looped(_ops.hashgrid_variation_backward, info, in_dims, arguments)
