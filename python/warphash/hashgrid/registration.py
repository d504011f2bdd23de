# SPDX-License-Identifier: Apache-2.0
"""What torch must know of the room's operators: shapes (fake tensors, meta), first and second derivatives, vmap.

Three operators close the circle: the encoding, its derivative, and the derivative of dL/dx. The second order through
dL/dtable and dL/dlevel_weights is the first two again, with the incoming gradient in the place of the table or of the
weights, since the encoding is linear in both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake, register_vmap

from .._batches import looped
from .._dtypes import compute_dtype

_ops = torch.ops.warphash


# ---- Shapes ---------------------------------------------------------------------------------------------------------
def level_count(grid: str) -> int:
    """Levels of a grid's text."""
    return grid.count(";")


def level_rows(grid: str) -> list[int]:
    """Rows of each level of a grid's text."""
    return [int(level.rpartition(" ")[2]) for level in grid.split(";")[1:]]


def _if(wanted: bool, like: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return like.new_empty(shape if wanted else (0,), dtype=dtype)


@register_fake("warphash::hashgrid_encode")
def _(x: Tensor, table: Tensor, level_weights: Tensor | None, grid: str) -> Tensor:
    return table.new_empty((x.shape[0], level_count(grid) * table.shape[1]))


@register_fake("warphash::hashgrid_backward")
def _(
    gradient: Tensor,
    x: Tensor,
    table: Tensor,
    level_weights: Tensor | None,
    grid: str,
    of_x: bool,
    of_table: bool,
    of_weights: bool,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    wide = compute_dtype(table.dtype)
    return (
        _if(of_x, x, (x.shape[0], x.shape[1]), wide),
        _if(of_table, table, (table.shape[0], table.shape[1]), wide),
        _if(of_weights, x, (level_count(grid),), wide),
    )


@register_fake("warphash::hashgrid_double_backward")
def _(
    v: Tensor,
    gradient: Tensor,
    x: Tensor,
    table: Tensor,
    level_weights: Tensor | None,
    grid: str,
    of_gradient: bool,
    of_x: bool,
    of_table: bool,
    of_weights: bool,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    wide = compute_dtype(table.dtype)
    return (
        _if(of_gradient, gradient, (gradient.shape[0], gradient.shape[1]), gradient.dtype),
        _if(of_x, x, (x.shape[0], x.shape[1]), wide),
        _if(of_table, table, (table.shape[0], table.shape[1]), wide),
        _if(of_weights, x, (level_count(grid),), wide),
    )


# ---- Derivatives ----------------------------------------------------------------------------------------------------
# Each operator stands twice: with its registered derivative for those who call it by name, and as an autograd.Function
# for torch.func, which refuses operators' own derivatives. Forward mode raises, never says zero.
def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    tensors = [x for x in inputs if isinstance(x, Tensor) or x is None]
    ctx.save_for_backward(*tensors)
    ctx.rest = inputs[len(tensors) :]
    ctx.set_materialize_grads(False)


def _encode_backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return None, None, None, None
    x, table, level_weights = ctx.saved_tensors
    needed = tuple(ctx.needs_input_grad[:3])
    deterministic = torch.are_deterministic_algorithms_enabled()
    of_x, of_table, of_weights = HashgridBackward.apply(  # type: ignore[no-untyped-call]
        gradient, x, table, level_weights, *ctx.rest, *needed, deterministic
    )
    return (
        of_x if needed[0] else None,
        of_table.to(table.dtype) if needed[1] else None,
        of_weights if needed[2] else None,
        None,
    )


def _sum(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return second if first is None else first if second is None else first + second


def _backward_backward(
    ctx: Any, v: Tensor | None, of_table: Tensor | None, of_weights: Tensor | None
) -> tuple[Tensor | None, ...]:
    """From the gradients of dL/dx (v), dL/dtable and dL/dlevel_weights to those of the four inputs."""
    gradient, x, table, level_weights = ctx.saved_tensors
    grid, had_x, had_table, had_weights, deterministic = ctx.rest
    needed = tuple(ctx.needs_input_grad[:4])
    found: list[Tensor | None] = [None, None, None, None]

    def add(parts: tuple[Tensor | None, ...]) -> None:
        for i, part in enumerate(parts):
            if needed[i] and part is not None:
                found[i] = _sum(found[i], part)

    if v is not None and had_x:
        second = HashgridDoubleBackward.apply(  # type: ignore[no-untyped-call]
            v, gradient, x, table, level_weights, grid, *needed, deterministic
        )
        add((second[0], second[1], second[2].to(table.dtype), second[3]))
    # What came for dL/dtable stands for the table, what came for dL/dlevel_weights for the weights.
    for came, had, tables, weights in (
        (of_table, had_table, of_table, level_weights),
        (of_weights, had_weights, table, of_weights),
    ):
        if came is None or not had:
            continue
        if needed[0]:
            encoded = HashgridEncode.apply(x, tables, weights, grid)  # type: ignore[no-untyped-call]
            add((encoded.to(gradient.dtype), None, None, None))
        through = (needed[1], needed[2] and came is of_weights, needed[3] and came is of_table)
        if any(through):
            assert tables is not None
            wide = gradient.to(tables.dtype)
            first = HashgridBackward.apply(  # type: ignore[no-untyped-call]
                wide, x, tables, weights, grid, *through, deterministic
            )
            add(
                (
                    None,
                    first[0] if through[0] else None,
                    first[1].to(table.dtype) if through[1] else None,
                    first[2] if through[2] else None,
                )
            )
    return (*found, None, None, None, None, None)


def _no_third(ctx: Any, *gradients: Tensor | None) -> None:
    raise NotImplementedError("hashgrid.encode has first and second derivatives; a third was asked for")


register_autograd("warphash::hashgrid_encode", _encode_backward, setup_context=_keep)
register_autograd("warphash::hashgrid_backward", _backward_backward, setup_context=_keep)
register_autograd("warphash::hashgrid_double_backward", _no_third)


class HashgridEncode(torch.autograd.Function):
    """``hashgrid_encode`` with its derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, table: Tensor, level_weights: Tensor | None, grid: str) -> Tensor:
        """Encoded points."""
        encoded: Tensor = _ops.hashgrid_encode(x, table, level_weights, grid)
        return encoded

    setup_context = staticmethod(_keep)
    backward = staticmethod(_encode_backward)


# One call of torch.compile's graph. Where it traces into an autograd.Function itself, derivatives taken inside of the
# graph (torch.func.grad, torch.autograd.grad) are cut off from their own derivatives, without a word.
@torch.compiler.allow_in_graph
def encoded(x: Tensor, table: Tensor, level_weights: Tensor | None, grid: str) -> Tensor:
    """``hashgrid_encode`` for eager calls, the compiler and torch.func."""
    out: Tensor = HashgridEncode.apply(x, table, level_weights, grid)  # type: ignore[no-untyped-call]
    return out


class HashgridBackward(torch.autograd.Function):
    """``hashgrid_backward`` with its derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        gradient: Tensor,
        x: Tensor,
        table: Tensor,
        level_weights: Tensor | None,
        grid: str,
        of_x: bool,
        of_table: bool,
        of_weights: bool,
        deterministic: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Derivatives to x, table and level weights."""
        out: tuple[Tensor, Tensor, Tensor] = _ops.hashgrid_backward(
            gradient, x, table, level_weights, grid, of_x, of_table, of_weights, deterministic
        )
        return out

    setup_context = staticmethod(_keep)
    backward = staticmethod(_backward_backward)


class HashgridDoubleBackward(torch.autograd.Function):
    """``hashgrid_double_backward``, which ends the chain."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        v: Tensor,
        gradient: Tensor,
        x: Tensor,
        table: Tensor,
        level_weights: Tensor | None,
        grid: str,
        of_gradient: bool,
        of_x: bool,
        of_table: bool,
        of_weights: bool,
        deterministic: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Derivatives of ``<v, dL/dx>`` to gradient, x, table and level weights."""
        out: tuple[Tensor, Tensor, Tensor, Tensor] = _ops.hashgrid_double_backward(
            v, gradient, x, table, level_weights, grid, of_gradient, of_x, of_table, of_weights, deterministic
        )
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keeps nothing."""

    backward = staticmethod(_no_third)


# ---- vmap -----------------------------------------------------------------------------------------------------------
@register_vmap("warphash::hashgrid_encode")
def _(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
    x, table, level_weights, grid = arguments
    if in_dims[0] is None or any(dim is not None for dim in in_dims[1:]):
        return looped(_ops.hashgrid_encode, info, in_dims, arguments)
    batched = x.movedim(in_dims[0], 0)
    encoded = _ops.hashgrid_encode(batched.flatten(0, 1), table, level_weights, grid)
    return encoded.unflatten(0, batched.shape[:2]), 0


@register_vmap("warphash::hashgrid_backward")
def _(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
    return looped(_ops.hashgrid_backward, info, in_dims, arguments)


@register_vmap("warphash::hashgrid_double_backward")
def _(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
    return looped(_ops.hashgrid_double_backward, info, in_dims, arguments)
