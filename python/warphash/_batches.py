# SPDX-License-Identifier: Apache-2.0
"""Rules for vmap of operators that know no batches. Every room's registration uses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def _blank(x: Any, dim: int | None) -> Any:
    """An item of an empty batch: zeros of its shape."""
    return x if dim is None else x.new_zeros(x.shape[:dim] + x.shape[dim + 1 :])


def looped(
    op: Callable[..., Any],
    info: Any,
    in_dims: tuple[int | None, ...],
    arguments: tuple[Any, ...],
    of_none: Callable[..., Any] | None = None,
) -> Any:
    """One call an item, the results stacked.

    of_none: in the place of ``op`` for an empty batch, where one result for zeros tells the shapes: for operators that
    refuse zeros.
    """
    if info.batch_size == 0:
        one = (of_none or op)(*map(_blank, arguments, in_dims))
        single = isinstance(one, Tensor)
        stacked = tuple(part.new_empty((0, *part.shape)) for part in ((one,) if single else one))
    else:
        rows = [
            op(*(x if dim is None else x.select(dim, i) for x, dim in zip(arguments, in_dims, strict=True)))
            for i in range(info.batch_size)
        ]
        single = isinstance(rows[0], Tensor)
        stacked = tuple(torch.stack(parts) for parts in ([rows] if single else zip(*rows, strict=True)))
    return (stacked[0], 0) if single else (stacked, (0,) * len(stacked))


def refused(function: str) -> Callable[..., Any]:
    """The rule of an operator whose results differ in number from item to item."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
        raise RuntimeError(f"{function} has results of varying number and cannot be vmapped; loop over the batch")

    return rule
