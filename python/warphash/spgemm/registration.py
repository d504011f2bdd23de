# SPDX-License-Identifier: Apache-2.0
"""What torch must know of the room's operators: shapes (fake tensors, meta), derivatives of every order, vmap.

T(g, a, b) = Σ g_ij a_ik b_kj is linear in each of the three. The values of a product on a pattern are its derivative to
g, ``spgemm_gradients`` gives those to a and b: so the two close the circle for plus_times. The least or largest product
is one of a's and b's values, found by ``spgemm_winners``: its derivatives are torch's own look-ups and sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake, register_vmap

from .._batches import looped, refused
from .._dtypes import compute_dtype
from .csr import MAX_TIMES, MOST_INT32, OR_AND, PLUS_TIMES, without_derivative

_ops = torch.ops.warphash


# ---- Shapes ---------------------------------------------------------------------------------------------------------
@register_fake("warphash::spgemm_inspect")
def _(crow: Tensor, col: Tensor, columns: int) -> Tensor:
    return crow.new_empty((3,), dtype=torch.int64)


@register_fake("warphash::spgemm_matmul")
@register_fake("warphash::spgemm_masked")
def _(a_crow: Tensor, a_col: Tensor, a_values: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    found = torch.library.get_ctx().new_dynamic_size()
    return a_crow.new_empty((a_crow.shape[0],)), a_col.new_empty((found,)), a_values.new_empty((found,))


@register_fake("warphash::spgemm_pattern")
@register_fake("warphash::spgemm_masked_pattern")
def _(a_crow: Tensor, a_col: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    found = torch.library.get_ctx().new_dynamic_size()
    return a_crow.new_empty((a_crow.shape[0],)), a_col.new_empty((found,))


@register_fake("warphash::spgemm_numeric")
def _(
    a_crow: Tensor,
    a_col: Tensor,
    a_values: Tensor,
    b_crow: Tensor,
    b_col: Tensor,
    b_values: Tensor,
    crow: Tensor,
    col: Tensor,
    columns: int,
    semiring: int,
    covers: bool,
) -> Tensor:
    return a_values.new_empty((col.shape[0],))


@register_fake("warphash::spgemm_gradients")
def _(
    gradient: Tensor,
    a_crow: Tensor,
    a_col: Tensor,
    a_values: Tensor,
    b_crow: Tensor,
    b_col: Tensor,
    b_values: Tensor,
    crow: Tensor,
    col: Tensor,
    columns: int,
    of_a: bool,
    of_b: bool,
) -> tuple[Tensor, Tensor]:
    return (
        a_values.new_empty((a_values.shape[0] if of_a else 0,)),
        b_values.new_empty((b_values.shape[0] if of_b else 0,)),
    )


@register_fake("warphash::spgemm_winners")
def _(
    a_crow: Tensor,
    a_col: Tensor,
    a_values: Tensor,
    b_crow: Tensor,
    b_col: Tensor,
    b_values: Tensor,
    crow: Tensor,
    col: Tensor,
    columns: int,
    semiring: int,
) -> tuple[Tensor, Tensor]:
    shape = (col.shape[0],)
    return a_values.new_empty(shape, dtype=torch.int64), b_values.new_empty(shape, dtype=torch.int64)


@register_fake("warphash::spgemm_topk")
def _(
    a_crow: Tensor,
    a_col: Tensor,
    a_values: Tensor,
    b_crow: Tensor,
    b_col: Tensor,
    b_values: Tensor,
    columns: int,
    k: int,
) -> tuple[Tensor, Tensor]:
    shape = (a_crow.shape[0] - 1, k)
    return a_values.new_empty(shape), a_values.new_empty(shape, dtype=torch.int64)


# ---- Derivatives ----------------------------------------------------------------------------------------------------
# Each operator stands twice: with its registered derivative for those who call it by name, and as an autograd.Function
# for torch.func, which refuses operators' own derivatives. Forward mode raises, never says zero.
_Pair = tuple[Tensor | None, Tensor | None]


def _of_values(ctx: Any, gradient: Tensor, operands: tuple[Tensor, ...], crow: Tensor, col: Tensor) -> _Pair:
    """Derivatives to the values of a and b of values at a pattern."""
    of_a, of_b = ctx.needs_input_grad[2], ctx.needs_input_grad[5]
    if ctx.semiring == PLUS_TIMES:
        pair: tuple[Tensor, Tensor] = gradients(gradient, *operands, crow, col, ctx.columns, of_a, of_b)
        return pair[0] if of_a else None, pair[1] if of_b else None
    if ctx.semiring == OR_AND:
        raise NotImplementedError("semiring or_and has no derivative")
    _, _, a, _, _, b = operands
    detached = tuple(x.detach() for x in operands)
    from_a, from_b = _ops.spgemm_winners(*detached, crow, col, ctx.columns, ctx.semiring)
    if not a.shape[0] or not b.shape[0]:
        return torch.zeros_like(a) if of_a else None, torch.zeros_like(b) if of_b else None
    # Entries without a product take and give nothing.
    some = (from_a >= 0).to(gradient.dtype)
    from_a, from_b = from_a.clamp(min=0), from_b.clamp(min=0)
    gradient = torch.where(some > 0, gradient, torch.zeros_like(gradient))
    to_a = to_b = gradient
    if ctx.semiring == MAX_TIMES:
        to_a = gradient * torch.where(some > 0, b.index_select(0, from_b), some)
        to_b = gradient * torch.where(some > 0, a.index_select(0, from_a), some)
    # Half types are summed in float32, as everywhere.
    wide = compute_dtype(a.dtype)
    return (
        a.new_zeros(a.shape, dtype=wide).index_add(0, from_a, to_a.to(wide)).to(a.dtype) if of_a else None,
        b.new_zeros(b.shape, dtype=wide).index_add(0, from_b, to_b.to(wide)).to(b.dtype) if of_b else None,
    )


def _keep_product(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    crow, col, _ = output
    if hasattr(ctx, "mark_non_differentiable"):  # an operator's own derivative has no such method
        ctx.mark_non_differentiable(crow, col)
    ctx.save_for_backward(*inputs[:6], crow, col)
    ctx.inputs = len(inputs)
    ctx.columns, ctx.semiring = inputs[6:8]
    ctx.set_materialize_grads(False)


def _values_backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
    """Of operators whose last output is the values."""
    found: list[Tensor | None] = [None] * ctx.inputs
    if gradients[-1] is not None:
        *operands, crow, col = ctx.saved_tensors
        found[2], found[5] = _of_values(ctx, gradients[-1], tuple(operands), crow, col)
    return tuple(found)


def _keep_numeric(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:8])
    ctx.inputs = len(inputs)
    ctx.columns, ctx.semiring, _ = inputs[8:]
    ctx.set_materialize_grads(False)


def _keep_gradients(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:9])
    ctx.columns, ctx.had_a, ctx.had_b = inputs[9:]
    ctx.set_materialize_grads(False)


def _gradients_backward(ctx: Any, of_a: Tensor | None, of_b: Tensor | None) -> tuple[Tensor | None, ...]:
    """T(g, u, b) + T(g, a, v) with u and v what came for the derivatives to a and b."""
    gradient, a_crow, a_col, a, b_crow, b_col, b, crow, col = ctx.saved_tensors
    u, v = (of_a if ctx.had_a else None), (of_b if ctx.had_b else None)
    to_g = to_a = to_b = None
    if ctx.needs_input_grad[0]:
        parts = [(x, y) for x, y in ((u, b), (a, v)) if x is not None and y is not None]
        for x, y in parts:
            part = numeric(a_crow, a_col, x, b_crow, b_col, y, crow, col, ctx.columns, PLUS_TIMES, False)
            to_g = part if to_g is None else to_g + part
    if ctx.needs_input_grad[3] and v is not None:
        to_a = gradients(gradient, a_crow, a_col, a, b_crow, b_col, v, crow, col, ctx.columns, True, False)[0]
    if ctx.needs_input_grad[6] and u is not None:
        to_b = gradients(gradient, a_crow, a_col, u, b_crow, b_col, b, crow, col, ctx.columns, False, True)[1]
    return to_g, None, None, to_a, None, None, to_b, None, None, None, None, None


def _keep_topk(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, indices = output
    if hasattr(ctx, "mark_non_differentiable"):
        ctx.mark_non_differentiable(indices)
    ctx.save_for_backward(*inputs[:6], indices)
    ctx.columns, ctx.k = inputs[6:]
    ctx.semiring = PLUS_TIMES
    ctx.set_materialize_grads(False)


def _topk_backward(ctx: Any, gradient: Tensor | None, _indices: None) -> tuple[Tensor | None, ...]:
    """What was kept is a pattern of k entries a row; padding comes first as columns of -1, which are no entries."""
    found: list[Tensor | None] = [None] * 8
    if gradient is None:
        return tuple(found)
    a_crow, a_col, a, b_crow, b_col, b, indices = ctx.saved_tensors
    rows, k = indices.shape
    col, order = torch.sort(indices, dim=1)
    crow = torch.arange(rows + 1, device=indices.device) * k
    if a_col.dtype == torch.int32 and rows * k > MOST_INT32:
        a_crow, a_col, b_crow, b_col = (x.long() for x in (a_crow, a_col, b_crow, b_col))
    kept = gradient.gather(1, order).flatten()
    found[2], found[5] = _of_values(
        ctx, kept, (a_crow, a_col, a, b_crow, b_col, b), crow.to(a_col.dtype), col.flatten().to(a_col.dtype)
    )
    return tuple(found)


def _differentiable(
    function: str,
    operator: str,
    keep: Callable[..., None],
    back: Callable[..., tuple[Tensor | None, ...]],
    values: tuple[int, ...] = (2, 5),
) -> Callable[..., Any]:
    """An operator with its derivative for eager calls, the compiler and torch.func.

    values: the places of the arguments that have a derivative.

    It is one call of torch.compile's graph, where ``function`` names it. Where the compiler traces into an
    autograd.Function itself, derivatives taken inside of the graph are cut off from their own derivatives, without a
    word.
    """
    op = getattr(_ops, operator)

    class Function(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*arguments: Any) -> Any:
            return op(*arguments)

        setup_context = staticmethod(keep)
        backward = staticmethod(back)

        @staticmethod
        def jvp(ctx: Any, *tangents: Tensor | None) -> Any:
            raise NotImplementedError(
                f"spgemm's {function} has no jvp, no derivative in forward mode: take torch.func.grad, vjp or jacrev"
            )

    def call(*arguments: Any) -> Any:
        if without_derivative(*(arguments[place] for place in values)):
            return op(*arguments)
        return Function.apply(*arguments)  # type: ignore[no-untyped-call]

    call.__name__ = call.__qualname__ = function
    register_autograd(f"warphash::{operator}", back, setup_context=keep)
    torch.compiler.allow_in_graph(call)
    return call


product = _differentiable("product", "spgemm_matmul", _keep_product, _values_backward)
masked = _differentiable("masked", "spgemm_masked", _keep_product, _values_backward)
numeric = _differentiable("numeric", "spgemm_numeric", _keep_numeric, _values_backward)
gradients = _differentiable("gradients", "spgemm_gradients", _keep_gradients, _gradients_backward, values=(0, 3, 6))
topk = _differentiable("topk", "spgemm_topk", _keep_topk, _topk_backward)


# ---- vmap -----------------------------------------------------------------------------------------------------------
def _by_item(name: str, of_none: Any) -> None:
    """One call an item; an empty batch has shapes alone, since zeros are no row pointers."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
        return looped(getattr(_ops, name), info, in_dims, arguments, of_none=of_none)

    register_vmap(f"warphash::{name}", rule)


_by_item("spgemm_inspect", lambda crow, *_: crow.new_empty((3,), dtype=torch.int64))
_by_item("spgemm_numeric", lambda *x: x[2].new_empty((x[7].shape[0],)))
_by_item(
    "spgemm_gradients",
    lambda *x: (x[3].new_empty((x[3].shape[0] * x[10],)), x[6].new_empty((x[6].shape[0] * x[11],))),
)
_by_item("spgemm_winners", lambda *x: (torch.empty_like(x[7], dtype=torch.int64),) * 2)
_by_item(
    "spgemm_topk",
    lambda *x: tuple(x[2].new_empty((x[0].shape[0] - 1, x[7]), dtype=t) for t in (x[2].dtype, torch.int64)),
)
for _name, _function in (
    ("matmul", "matmul"),
    ("masked", "matmul"),
    ("pattern", "plan"),
    ("masked_pattern", "plan"),
):
    register_vmap(f"warphash::spgemm_{_name}", refused(f"spgemm.{_function}"))
