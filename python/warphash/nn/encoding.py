# SPDX-License-Identifier: Apache-2.0
"""The multiresolution hash encoding as a layer."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import _C, _checks, hashgrid
from .._dtypes import compute_dtype
from ..hashgrid.functional import TABLE_DTYPES, checked_spec
from ..hashgrid.spec import Axes, GridSpec
from .autocast import autocast_is_on


def progressive_levels(step: int, levels: int, *, share: float = 0.2, rate: float = 0.02, start: int = 200) -> int:
    """How many levels are on at a step of coarse-to-fine training.

    ``min(levels, ceil(share * levels + rate * max(0, step - start)))``, at least one: a share of the levels first,
    then, from ``start`` on, ``rate`` more a step. The defaults are those of NeuS2 (Wang et al., 2023).

    Args:
        step: number of the step, from 0.
        levels: of the grid.
        share: of the levels that is on from the beginning, 0 to 1.
        rate: levels a step, at least 0.
        start: the step from which levels are added.
    """
    step, levels, start = _checks.count("step", step), _checks.count("levels", levels, 1), _checks.count("start", start)
    share, rate = _checks.real("share", share), _checks.real("rate", rate)
    if not 0 <= share <= 1:
        raise ValueError(f"share must be within 0 and 1, got {share}")
    if rate < 0:
        raise ValueError(f"rate must be at least 0, got {rate}")
    wanted = share * levels + rate * max(0, step - start)
    return min(levels, max(1, math.ceil(min(wanted, levels) - 1e-9)))  # 2.8 + 0.2 is a little more than 3


def _are_stale(leaves: list[nn.Parameter], table: Tensor) -> bool:
    kept: bool = leaves[0].untyped_storage()._cdata == table.untyped_storage()._cdata
    return not kept


_MOVED = (
    "level_parameters() were taken before the HashGrid was moved, converted or loaded by assignment: take them again, "
    "for a new optimizer"
)


def _hand_out(leaves: list[nn.Parameter], offsets: tuple[int, ...], table: Tensor) -> None:
    """Gives the table's gradient to the levels' parameters."""
    if table.grad is None:
        return
    if _are_stale(leaves, table):
        raise RuntimeError(_MOVED)
    for leaf, first, end in zip(leaves, offsets, offsets[1:], strict=False):
        part = table.grad[first:end]
        leaf.grad = part if leaf.grad is None else leaf.grad.add_(part)
    table.grad = None


class HashGrid(nn.Module):
    """Multiresolution hash encoding with a trained table: points [..., dims] to features [..., levels * features].

    A layer around :func:`warphash.hashgrid.encode`, which says what is computed; first and second derivatives to x and
    the table. The table is a parameter ``table`` [rows, features], drawn uniformly within ``init_range``; the draw is
    in float32 whatever the dtype, so that a seed gives the same table (rounded) in each dtype.

    Coarse-to-fine training: :meth:`set_active_levels` turns levels on and off. The weights are a buffer
    ``level_weights`` [levels], part of the state_dict, all ones at first. They are always handed to the kernel, which
    skips a level of weight 0; a weight of 1 changes no bit and no measurable time. So nothing depends on data in
    Python: torch.compile and CUDA graphs follow a change without recompiling or capturing again.

    Learning rates that differ between levels: :meth:`level_parameters`.

    Args:
        spec: the geometry.
        dtype: of the table: float32, float64, float16 or bfloat16. Half tables are summed in float32.
        device: of table and weights.
        init_range: the table is uniform in [-init_range, init_range].

    Shapes and dtypes: x [..., dims], float64 for a float64 table, else float32 → [..., levels * features] in the
    table's dtype. ``half()``, ``bfloat16()``, ``double()`` convert the table; x must then fit, since coordinates in
    half precision cannot tell the cells of a fine level apart. Under autocast the encoding keeps the table's dtype, and
    x of a narrower dtype is widened.

    Raises:
        TypeError, ValueError: an argument is of the wrong kind, shape, dtype or device; each text names it.

    Complexity and memory: as :func:`warphash.hashgrid.encode`; autograd keeps x.

    Source: Müller et al., Instant Neural Graphics Primitives, 2022 (https://arxiv.org/abs/2201.05989).
    """

    level_weights: Tensor

    def __init__(
        self,
        spec: GridSpec,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
        init_range: float = 1e-4,
    ) -> None:
        super().__init__()
        self.spec = checked_spec(spec)
        if dtype not in TABLE_DTYPES:
            raise TypeError(f"dtype must be torch.float32, float64, float16 or bfloat16, got {dtype!r}")
        init_range = _checks.real("init_range", init_range)
        if init_range < 0:
            raise ValueError(f"init_range must be at least 0, got {init_range}")
        self.init_range = init_range
        self.table = nn.Parameter(torch.empty(spec.rows, spec.features, dtype=dtype, device=device))
        weights = torch.ones(spec.levels, dtype=compute_dtype(dtype), device=device)
        self.register_buffer("level_weights", weights)
        self._leaves: list[nn.Parameter] | None = None
        self._handle: Any = None
        # Rows are gathered from all over the table: in pages of 4 KiB most of them would also miss the TLB.
        if type(self.table.data) is Tensor and self.table.device.type == "cpu":
            _C.prefer_large_pages(self.table.data_ptr(), self.table.numel() * self.table.element_size())
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws the table anew; the level weights stay."""
        for level in range(self.spec.levels):  # a level at a time: less memory for the draw in float32
            rows = self.level_view(level)
            if rows.dtype == torch.float32:
                rows.uniform_(-self.init_range, self.init_range)
            else:
                drawn = torch.empty(rows.shape, dtype=torch.float32, device=rows.device)
                rows.copy_(drawn.uniform_(-self.init_range, self.init_range))

    def forward(self, x: Tensor, *, level_weights: Tensor | Sequence[float] | None = None) -> Tensor:
        """Encoded points [..., levels * features].

        ``level_weights`` [levels] takes the place of the buffer in this call: a tensor that requires a gradient gets
        one.
        """
        if not torch.compiler.is_compiling() and self._leaves is not None and _are_stale(self._leaves, self.table):
            raise RuntimeError(_MOVED)  # nothing would reach the old ones
        encoded: Tensor = hashgrid.encode(
            self.points(x),
            self.table,
            self.spec,
            level_weights=self.level_weights if level_weights is None else level_weights,
        )
        return encoded

    @torch.no_grad()
    def set_active_levels(self, active: int | Tensor | Sequence[float]) -> None:
        """Turns on the first ``active`` levels, 0 to all, or sets the weight of each level.

        Args:
            active: how many levels are on, from the coarsest; or weights [levels], finite.

        The buffer changes in place; do it between steps, not between a forward and its backward (which then raises).
        """
        levels = self.spec.levels
        if isinstance(active, np.ndarray):
            active = active.tolist()
        if isinstance(active, Tensor | list | tuple):
            self.level_weights.copy_(self._weights(active))
            return
        count = _checks.count("active", active)
        if count > levels:
            raise ValueError(f"active must be at most {levels}, the levels of the grid, got {count}")
        self.level_weights[:count] = 1
        self.level_weights[count:] = 0

    def level_view(self, level: int) -> Tensor:
        """The rows of a level, a view [rows of it, features] of the table through which gradients flow.

        For regularisers (``grid.level_view(0).square().mean()``) and for looking at or filling a level. IndexError for
        a level outside of 0 to levels - 1.
        """
        return hashgrid.level_view(self.table, self.spec, level)

    def level_parameters(self) -> list[nn.Parameter]:
        """One parameter a level, each [rows of it, features], for an optimiser with a learning rate a level.

        They share the table's memory, and from this call on take its gradient: after each backward pass the gradient of
        the table lies in ``.grad`` of these, and ``table.grad`` is None. Hand these to the optimiser (and to gradient
        clipping) in the place of ``table``::

            groups = [{"params": [rows], "lr": 1e-2 * 0.9**level} for level, rows in enumerate(grid.level_parameters())]
            optimizer = torch.optim.Adam([*groups, {"params": network.parameters()}], lr=1e-3)

        They are no part of ``parameters()`` or of the state_dict, which keep the table. Call it after the module has
        been moved or converted: a backward pass after a later move raises RuntimeError. Calling it again gives the same
        ones while the table is the same.
        """
        if not self.table.requires_grad:
            raise ValueError("table must require a gradient, which the levels' parameters would take; it is frozen")
        if self._leaves is None or _are_stale(self._leaves, self.table):
            if self._handle is not None:
                self._handle.remove()
            self._leaves = [
                nn.Parameter(self.level_view(level).detach(), requires_grad=True) for level in range(self.spec.levels)
            ]
            # Without a reference to this module, which would be freed only by the collector of cycles.
            hook = functools.partial(_hand_out, self._leaves, self.spec.offsets)
            self._handle = self.table.register_post_accumulate_grad_hook(hook)
        return list(self._leaves)

    @property
    def has_level_parameters(self) -> bool:
        """Whether :meth:`level_parameters` take the gradient of the table."""
        return self._leaves is not None

    @property
    def resolutions(self) -> tuple[Axes, ...]:
        """Vertices along an axis of each level; a tuple where axes differ."""
        return self.spec.resolutions

    @property
    def output_features(self) -> int:
        """Width of an encoded point, ``levels * features``."""
        return self.spec.output_features

    def extra_repr(self) -> str:
        return f"{self.spec!r}, dtype={self.table.dtype}"

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have a table of their own, which the levels' parameters would not share."""
        return {**self.__dict__, "_leaves": None, "_handle": None}

    def _apply(self, fn: Any, recurse: bool = True) -> HashGrid:
        """Converts the table alone: the weights stay in the dtype of the sums, unrounded."""
        before = self.level_weights
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        wide = compute_dtype(self.table.dtype)
        if self.level_weights.dtype != wide:
            self.level_weights = before.to(device=self.level_weights.device, dtype=wide)
        return self

    def points(self, x: Tensor) -> Tensor:
        """``x`` [..., dims], checked, in the dtype that the table asks for."""
        if not isinstance(x, Tensor):
            raise TypeError(f"x must be a torch tensor, got {type(x).__name__}")
        _checks.dense("x", x)
        wide = compute_dtype(self.table.dtype)
        # What autocast made of x upstream is no mistake of the caller's.
        narrow = x.is_floating_point() and x.dtype.itemsize < wide.itemsize
        if narrow and autocast_is_on(x.device):
            x = x.to(wide)
        if x.dtype != wide:
            raise TypeError(f"x must be {wide} for a table of {self.table.dtype}, got {x.dtype}")
        if x.dim() == 0 or x.shape[-1] != self.spec.dims:
            dims = self.spec.dims
            raise ValueError(f"x must be [..., dims] with {dims} dims as spec has, got shape {tuple(x.shape)}")
        _checks.same_device("table", self.table, "x", x)
        return x

    def _weights(self, weights: Tensor | Sequence[float]) -> Tensor:
        levels = self.spec.levels
        if isinstance(weights, Tensor):
            if not weights.is_floating_point():
                raise TypeError(f"active must be an int or floating point weights, got a tensor of {weights.dtype}")
            wanted = weights
        else:
            wanted = torch.tensor([_checks.real(f"active[{i}]", w) for i, w in enumerate(weights)], dtype=torch.float64)
        if tuple(wanted.shape) != (levels,):
            raise ValueError(f"active must be weights [levels], ({levels},) here, got shape {tuple(wanted.shape)}")
        if not wanted.is_meta and _checks.data_is_checked(True) and not bool(wanted.isfinite().all()):
            raise ValueError("active must be finite weights, got NaN or infinity")
        return wanted
