# SPDX-License-Identifier: Apache-2.0
"""Products of one pattern made many times: the pattern once, then values alone."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from .. import _checks
from . import registration
from .csr import (
    OR_AND,
    SEMIRINGS,
    Pattern,
    Problem,
    csr,
    csr_of,
    equal,
    indices_of,
    outside_of_graphs,
    problem,
    semiring_number,
    value_dtypes,
    values_of,
)
from .functional import _operands, _too_many

__all__ = ["Plan", "plan"]


class _Copies:
    """Copies of operands' indices: whoever gave them may change them later, also where torch does not see it."""

    def __init__(self, *operands: Tensor) -> None:
        self._own: dict[tuple[int, int, torch.dtype], Tensor] = {}
        for x in operands:
            for part in indices_of(x):
                key = self._key(part)
                if key not in self._own:
                    self._own[key] = part.clone()

    @staticmethod
    def _key(part: Tensor) -> tuple[int, int, torch.dtype]:
        return part.data_ptr(), len(part), part.dtype

    def of(self, part: Tensor) -> Tensor:
        """The copy of an operand's tensor; what was made of it is ours as it is."""
        return self._own.get(self._key(part), part)


class _Side:
    """An operand's pattern as it came, and as kernels take it. Nothing of it is shared with the operand."""

    def __init__(self, name: str, x: Tensor, pattern: Pattern, copies: _Copies) -> None:
        self.name = name
        self.shape = tuple(x.shape)
        self.crow, self.col = (copies.of(part) for part in indices_of(x))
        self.pattern = dataclasses.replace(pattern, crow=copies.of(pattern.crow), col=copies.of(pattern.col))

    def values(self, given: Any) -> Tensor:
        """Values [..., nnz] of a tensor of values or of a CSR tensor of this pattern."""
        name = f"{self.name}_values"
        if isinstance(given, Tensor) and given.layout == torch.sparse_csr:
            given = csr(name, given)
            if tuple(given.shape) != self.shape or not self._is_pattern_of(given):
                raise ValueError(
                    f"{name} must have the pattern that the plan was made of, {self._text()}, got another one of shape "
                    f"{tuple(given.shape)} with {given._nnz()} entries: make a plan of it"
                )
            return values_of(given)
        if not isinstance(given, Tensor):
            raise TypeError(f"{name} must be a tensor of values or a CSR tensor, got {type(given).__name__}")
        values = _checks.dense(name, given)
        if values.dim() < 1 or values.shape[-1] != self.col.shape[0]:
            raise ValueError(
                f"{name} must be [..., {self.col.shape[0]}], a value for each entry of {self._text()}, got shape "
                f"{tuple(values.shape)}"
            )
        if values.device != self.col.device:
            raise ValueError(f"{name} must be on the device of the plan, {self.col.device}, got {values.device}")
        return values

    def _is_pattern_of(self, x: Tensor) -> bool:
        for ours, given in ((self.crow, x.crow_indices()), (self.col, x.col_indices())):
            if ours.shape != given.shape or ours.device != given.device:
                return False
            if ours.device.type != "meta" and not equal(ours, given):
                return False
        return True

    def _text(self) -> str:
        return f"{self.name} of shape {self.shape} with {self.col.shape[0]} entries"

    def moved(self, move: Any) -> _Side:
        out = copy.copy(self)
        out.crow, out.col, out.pattern = move(self.crow), move(self.col), self.pattern.to(move)
        return out


class Plan:
    """A product's pattern, made once by :func:`plan`; :meth:`matmul` then needs values alone.

    It holds patterns and no values, can be pickled and copied, and works in compiled and exported graphs. The operands'
    patterns are copies: what becomes of the matrices afterwards does not matter to it. ``crow`` and ``col`` are its own
    memory and not to be written to: it refuses to work after that. (Where torch cannot see it, in compiled graphs and
    through NumPy, values would be wrong.)
    """

    def __init__(
        self,
        a: _Side,
        b: _Side,
        crow: Tensor,
        col: Tensor,
        own_col: Tensor,
        columns: int,
        shape: tuple[int, int],
        semiring: int,
        covers: bool,
    ) -> None:
        self._a, self._b = a, b
        self._crow, self._col, self._own_col = crow, col, own_col
        self._columns, self._shape, self._semiring, self._covers = columns, shape, semiring, covers
        self._versions = self._current_versions()

    def _current_versions(self) -> tuple[int, ...] | None:
        """Of the tensors that others may share; None where torch keeps none: in graphs and in inference mode."""
        if torch.compiler.is_compiling() or self._crow.is_inference():
            return None
        return tuple(x._version for x in (self._crow, self._col, self._own_col))

    def _refuse_changed(self) -> None:
        now = self._current_versions()
        if now is not None and self._versions is not None and now != self._versions:
            raise ValueError("the plan's pattern was changed in place, through its crow or col: make it anew")

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._versions = self._current_versions()

    @property
    def crow(self) -> Tensor:
        """Row pointers of the result, [M + 1]."""
        return self._crow

    @property
    def col(self) -> Tensor:
        """Columns of the result, [nnz], ascending in each row."""
        return self._own_col

    @property
    def shape(self) -> tuple[int, int]:
        """Of the result: (M, N)."""
        return self._shape

    @property
    def nnz(self) -> int:
        """Entries of the result."""
        return self._col.shape[0]

    @property
    def semiring(self) -> str:
        """Its name."""
        return SEMIRINGS[self._semiring]

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self._crow.device

    def __repr__(self) -> str:
        a, b = (f"{list(side.shape)} of {side.col.shape[0]}" for side in (self._a, self._b))
        return f"Plan({a} by {b} entries: {list(self._shape)} of {self.nnz}, {self.semiring}, {self._crow.device})"

    def to(self, device: torch.device | str | int) -> Plan:
        """The same plan on another device.

        Raises:
            TypeError, ValueError: it is no device, or none of this machine that kernels run on.
        """
        self._refuse_changed()
        if isinstance(device, int) and not isinstance(device, bool):
            device = f"cuda:{device}"
        on_meta = isinstance(device, torch.device | str) and str(device).startswith("meta")
        target = torch.device(device) if on_meta else _checks.usable_device("device", device)
        out = copy.copy(self)
        out._a, out._b = self._a.moved(lambda x: x.to(target)), self._b.moved(lambda x: x.to(target))
        out._crow, out._col, out._own_col = (x.to(target) for x in (self._crow, self._col, self._own_col))
        out._versions = out._current_versions()
        return out

    def matmul(self, a_values: Tensor, b_values: Tensor) -> Tensor:
        """The values of the product.

        Args:
            a_values: ``[..., nnz of a]``, in the order of the matrix that the plan was made of; or that matrix, or
                another CSR tensor of its very pattern, whose indices are compared, which on CUDA waits for the device.
            b_values: the same of b, of the same dtype. Dimensions in front are a batch over the shared pattern; they
                are broadcast.

        Returns:
            ``[..., nnz]`` in the operands' dtype, bool for or_and: value i belongs to row and column i of the plan's
            pattern; the bits are those of :func:`matmul`. Differentiable any number of times, under torch.compile,
            torch.export, torch.func and vmap too.

        Raises:
            TypeError: dtypes differ or do not suit the semiring.
            ValueError: lengths, patterns or devices are not the plan's; a gradient is wanted of or_and; the plan's own
                pattern was written to.

        torch.compile takes no CSR tensors: it calls the plan between its graphs when one is given, and refuses that
        under ``fullgraph=True``. Values are for graphs.

        Complexity: O(products) for each of a batch. Workspace: a row of values or of places of N columns a thread.
        """
        if any(isinstance(x, Tensor) and x.layout == torch.sparse_csr for x in (a_values, b_values)):
            return self._matmul_outside(a_values, b_values)
        return self._matmul(a_values, b_values)

    @outside_of_graphs
    def _matmul_outside(self, a_values: Any, b_values: Any) -> Tensor:
        return self._matmul(a_values, b_values)

    def _matmul(self, a_values: Any, b_values: Any) -> Tensor:
        self._refuse_changed()
        first, second = self._a.values(a_values), self._b.values(b_values)
        value_dtypes(self._semiring, "a_values", first, "b_values", second)
        if self._semiring == OR_AND:
            first, second = first.detach() != 0, second.detach() != 0
        if first.dim() == 1 and second.dim() == 1:
            return self._one(first, second)
        return self._batch(first, second)

    def _one(self, first: Tensor, second: Tensor) -> Tensor:
        a, b = self._a.pattern, self._b.pattern
        x, y = a.arranged(first, self._semiring), b.arranged(second, self._semiring)
        out: Tensor = registration.numeric(
            a.crow, a.col, x, b.crow, b.col, y, self._crow, self._col, self._columns, self._semiring, self._covers
        )
        return out

    def _batch(self, first: Tensor, second: Tensor) -> Tensor:
        leading = tuple(first.shape[:-1]), tuple(second.shape[:-1])
        try:
            batch = torch.broadcast_shapes(*leading)
        except RuntimeError:
            raise ValueError(
                f"b_values must have leading dimensions that fit a_values, got {leading[1]} and {leading[0]}"
            ) from None
        count = math.prod(batch)
        if count == 0:
            return first.new_zeros((*batch, self.nnz))
        x = first.expand(*batch, first.shape[-1]).reshape(count, first.shape[-1]) if first.dim() > 1 else None
        y = second.expand(*batch, second.shape[-1]).reshape(count, second.shape[-1]) if second.dim() > 1 else None
        rows = [self._one(first if x is None else x[i], second if y is None else y[i]) for i in range(count)]
        return torch.stack(rows).reshape(*batch, self.nnz)

    @outside_of_graphs
    def csr(self, values: Tensor) -> Tensor:
        """The ``torch.sparse_csr`` tensor [M, N] of values ``[nnz]``; differentiable in them. It shares their memory,
        and has copies of the plan's indices.

        torch.compile calls it between its graphs, and refuses it under ``fullgraph=True``.

        Raises:
            TypeError: ``values`` is no dense tensor.
            ValueError: it is not ``[nnz]`` on the plan's device; the plan's own pattern was written to.
        """
        self._refuse_changed()
        if not isinstance(values, Tensor):
            raise TypeError(f"values must be a tensor, got {type(values).__name__}")
        _checks.dense("values", values)
        if tuple(values.shape) != (self.nnz,):
            raise ValueError(f"values must be [{self.nnz}], one matrix's, got shape {tuple(values.shape)}")
        if values.device != self.device:
            raise ValueError(f"values must be on the device of the plan, {self.device}, got {values.device}")
        return csr_of(self._crow.clone(), self._own_col.clone(), values, self._shape)


@outside_of_graphs
def plan(
    a: Any,
    b: Any,
    *,
    mask: Any = None,
    complement: bool = False,
    semiring: str = "plus_times",
    validate: bool = True,
) -> Plan:
    """Finds the pattern of a product once, for products of other values on the same patterns.

    Args:
        a: ``torch.sparse_csr`` ``[M, K]``; its values are not looked at.
        b: ``torch.sparse_csr`` ``[K, N]``.
        mask: as in :func:`matmul`.
        complement: as in :func:`matmul`.
        semiring: as in :func:`matmul`.
        validate: as in :func:`matmul`.

    Returns:
        A :class:`Plan`: ``.matmul(a_values, b_values)`` gives values, ``.csr(values)`` the tensor, ``.crow``, ``.col``,
        ``.shape`` and ``.nnz`` the pattern.

    Raises:
        TypeError, ValueError: as :func:`matmul` of the patterns.

    Complexity: O(products). Workspace: flags of N columns for each thread. The plan holds the pattern in its exact size
    and copies of the operands' indices.
    """
    number = semiring_number(semiring)
    _checks.flags(complement=complement, validate=validate)
    a, b, pattern = _operands(a, b, mask, complement)
    for name, x in (("a", a), ("b", b)):
        _checks.with_data(name, x)
    p = problem(a, b, pattern, validate)
    if not torch.is_inference_mode_enabled():
        return _planned(a, b, p, number, complement)
    with torch.inference_mode(False):  # a plan made while a model is evaluated serves its training, too
        return _planned(a, b, p, number, complement)


def _planned(a: Tensor, b: Tensor, p: Problem, semiring: int, complement: bool) -> Plan:
    operands = (p.a.crow, p.a.col, p.b.crow, p.b.col, p.columns)
    masked = p.mask is not None and not complement
    try:
        if p.mask is not None and masked:
            crow, col = torch.ops.warphash.spgemm_masked_pattern(*operands, p.mask.crow, p.mask.col)
        else:
            excluded = (None, None) if p.mask is None else (p.mask.crow, p.mask.col)
            crow, col = torch.ops.warphash.spgemm_pattern(*operands, *excluded)
    except RuntimeError as error:
        _too_many(error)
        raise
    own = col if p.names is None else p.named(col)
    copies = _Copies(a, b)
    first, second = _Side("a", a, p.a, copies), _Side("b", b, p.b, copies)
    return Plan(first, second, crow, col, own, p.columns, p.shape, semiring, p.mask is None)
