# SPDX-License-Identifier: Apache-2.0
"""CSR tensors to row pointers, columns and values and back: checks, order, wide indices, derivatives.

torch's own constructor has no double backward, and its beta warning would reach users: tensors are built here alone.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad

from .. import _checks
from .._dtypes import compute_dtype

SEMIRINGS = ("plus_times", "or_and", "min_plus", "max_times")
PLUS_TIMES, OR_AND, MIN_PLUS, MAX_TIMES = range(4)
VALUES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64, torch.bool)
# Kernels know columns below 2^31; and where columns are many times the entries, flags of all columns would cost more
# than the product itself.
MOST_COLUMNS = 2**31 - 1
SPARSE_COLUMNS, COLUMNS_AN_ENTRY = 2**22, 8
MOST_INT32, MOST_ELEMENTS = 2**31 - 1, 2**63 - 1
NO_TRANSFORM = "torch.func's transforms hold no CSR tensors: warphash.spgemm.plan(...).matmul takes values alone"


_Function = TypeVar("_Function", bound=Callable[..., Any])


def outside_of_graphs(function: _Function) -> _Function:
    """A function of CSR tensors, which torch.compile cannot trace: it breaks its graph there and calls the function."""
    return cast(
        _Function,
        torch.compiler.disable(
            function,
            reason="graphs of torch.compile hold no CSR tensors: warphash.spgemm.plan(...).matmul takes values alone",
        ),
    )


# ---- Tensors --------------------------------------------------------------------------------------------------------
@functools.cache
def _warned() -> None:
    """Has torch say once, unheard, that CSR tensors are in beta. Filters of every call would not be safe in threads."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        torch.sparse_csr_tensor([0], [], [], (0, 0), device="cpu", check_invariants=False)


def build(crow: Tensor, col: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """A CSR tensor of parts that are known to be right, without torch's beta warning and without its checks."""
    _warned()
    if shape[0] * shape[1] > MOST_ELEMENTS:
        raise ValueError(f"torch holds no tensor of shape {tuple(shape)}: it must have less than 2^63 elements")
    strange = values.is_inference() or crow.is_inference() or col.is_inference()
    if strange and not torch.is_inference_mode_enabled():
        # A tensor over parts that were made in inference mode could not be read outside of it.
        crow, col, values = (x.clone() if x.is_inference() else x for x in (crow, col, values))
    # Without a device it would go to torch's default one.
    return torch.sparse_csr_tensor(crow, col, values, shape, device=values.device, check_invariants=False)


def bare(part: Tensor) -> Tensor:
    """A part of a CSR tensor, over the same memory but not as its view: torch.compile takes no views of CSR tensors."""
    if part.is_inference():  # made in inference mode, is in no graph
        return part
    out: Tensor = part.new_empty(0).set_(part)  # type: ignore[call-overload]
    return out


def indices_of(x: Tensor) -> tuple[Tensor, Tensor]:
    """Row pointers and columns."""
    return bare(x.crow_indices()), bare(x.col_indices())


class CsrOf(torch.autograd.Function):
    """A CSR tensor as a function of its values."""

    @staticmethod
    def forward(ctx: Any, crow: Tensor, col: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
        """The tensor; it shares its parts' memory."""
        ctx.save_for_backward(crow, col)
        ctx.set_materialize_grads(False)
        return build(crow, col, values.detach(), shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[None, None, Tensor | None, None]:
        """What of the gradient lies on the pattern."""
        if gradient is None:
            return None, None, None, None
        crow, col = ctx.saved_tensors
        return None, None, on_pattern(gradient, crow, col), None


class ValuesOf(torch.autograd.Function):
    """The values of a CSR tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """They share the tensor's memory."""
        ctx.save_for_backward(*indices_of(x))
        ctx.shape = tuple(x.shape)
        ctx.set_materialize_grads(False)
        return x.detach().values()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> Tensor | None:
        """A gradient on the tensor's own pattern."""
        if gradient is None:
            return None
        crow, col = ctx.saved_tensors
        return csr_of(crow, col, gradient, ctx.shape)


def without_derivative(*values: Tensor) -> bool:
    """Whether a call of these is a plain one: no gradient, no tangent, no transform, no graph: small ones take half."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    if forward_ad._current_level >= 0:
        return False
    return not (torch.is_grad_enabled() and any(x.requires_grad for x in values))


def _in_no_transform(x: Tensor) -> bool:
    """Whether a derivative of x is autograd's; transforms of torch.func, which hold no CSR tensors, are refused."""
    if not torch._C._are_functorch_transforms_active():
        return True
    if torch._C._functorch.is_functorch_wrapped_tensor(x) or (torch.is_grad_enabled() and x.requires_grad):
        raise NotImplementedError(NO_TRANSFORM)
    return False


def csr_of(crow: Tensor, col: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """A CSR tensor, differentiable in its values any number of times."""
    if without_derivative(values) or not _in_no_transform(values):
        return build(crow, col, values.detach(), shape)
    out: Tensor = CsrOf.apply(crow, col, values, shape)  # type: ignore[no-untyped-call]
    return out


def values_of(x: Tensor) -> Tensor:
    """The values of a CSR tensor, differentiable any number of times."""
    if without_derivative(x) or not _in_no_transform(x):
        return x.detach().values()
    out: Tensor = ValuesOf.apply(x)  # type: ignore[no-untyped-call]
    return out


def equal(a: Tensor, b: Tensor) -> bool:
    """Whether indices of either dtype are the same numbers; those of one dtype are compared without copies."""
    return torch.equal(a, b) if a.dtype == b.dtype else torch.equal(a.long(), b.long())


def on_pattern(gradient: Tensor, crow: Tensor, col: Tensor) -> Tensor:
    """The values of a gradient of any layout at the entries of a pattern; 0 where it has none."""
    if gradient.layout == torch.sparse_csr:
        same = [(gradient.crow_indices(), crow), (gradient.col_indices(), col)]
        if all(a.shape == b.shape and (a.data_ptr() == b.data_ptr() or equal(a, b)) for a, b in same):
            return values_of(gradient)
        columns = gradient.col_indices()
        rows = rows_of(gradient.crow_indices(), len(columns))
        return _looked_up(rows, columns, values_of(gradient), rows_of(crow, len(col)), col)
    if gradient.layout == torch.strided:
        return gradient[rows_of(crow, len(col)).long(), col.long()]
    entries = gradient.to_sparse_coo().coalesce()
    rows, columns = entries.indices()
    return _looked_up(rows, columns, entries.values(), rows_of(crow, len(col)), col)


def _looked_up(rows: Tensor, col: Tensor, values: Tensor, at_rows: Tensor, at_col: Tensor) -> Tensor:
    if not len(values):
        return values.new_zeros(len(at_col))
    # Numbers of the columns that occur: so that no key exceeds 64 bits.
    names, numbers = torch.cat([col.long(), at_col.long()]).unique(return_inverse=True)
    keys = torch.cat([rows.long(), at_rows.long()]) * len(names) + numbers
    known, places = keys[: len(col)].unique(return_inverse=True)
    sums = values.new_zeros(len(known)).index_add(0, places, values)
    wanted = keys[len(col) :]
    place = torch.searchsorted(known, wanted).clamp(max=len(known) - 1)
    return torch.where(known[place] == wanted, sums[place], values.new_zeros(()))


def rows_of(crow: Tensor, entries: int | None = None) -> Tensor:
    """The row of each entry, in the dtype of the pointers; with their number, nothing is waited for on CUDA."""
    counts = crow.diff()
    rows = torch.arange(len(counts), device=crow.device, dtype=crow.dtype)
    return torch.repeat_interleave(rows, counts, output_size=entries)


def crow_of(rows: Tensor, count: int) -> Tensor:
    """Row pointers of entries whose rows ascend, in the dtype of the rows."""
    return torch.searchsorted(
        rows, torch.arange(count + 1, device=rows.device, dtype=rows.dtype), out_int32=rows.dtype == torch.int32
    )


# ---- Checks ---------------------------------------------------------------------------------------------------------
def semiring_number(semiring: Any) -> int:
    """The operators' number of a semiring."""
    if not isinstance(semiring, str) or semiring not in SEMIRINGS:
        raise ValueError(f"semiring must be one of {', '.join(SEMIRINGS)}, got {semiring!r}")
    return SEMIRINGS.index(semiring)


def csr(name: str, x: Any) -> Tensor:
    """A two-dimensional CSR tensor of single values on a device that has kernels."""
    if not isinstance(x, Tensor):
        way = ""
        if hasattr(x, "tocsr"):
            way = (
                "; of a SciPy matrix x in CSR, torch.sparse_csr_tensor(x.indptr, x.indices, x.data, x.shape) makes one"
            )
        raise TypeError(f"{name} must be a torch.sparse_csr tensor, got {type(x).__name__}{way}")
    if x.layout != torch.sparse_csr:
        layout = "nested" if x.is_nested else x.layout
        raise TypeError(f"{name} must be a torch.sparse_csr tensor, got layout {layout}: .to_sparse_csr() makes one")
    if torch._C._are_functorch_transforms_active():
        try:
            x.crow_indices()
        except RuntimeError:
            raise NotImplementedError(f"{name}: {NO_TRANSFORM}") from None
    if x.dim() != 2 or x.dense_dim():
        what = "a batch" if not x.dense_dim() else "a tensor with dense dimensions"
        raise ValueError(
            f"{name} must be 2-D [rows, columns], got {what} of shape {tuple(x.shape)}: spgemm.matmul_many multiplies "
            "lists of matrices, spgemm.plan(...).matmul batches of values [..., nnz] on one pattern"
        )
    _checks.device_served(name, x)
    _whole(name, x)
    return x


def _whole(name: str, x: Tensor) -> None:
    """Refuses parts that do not belong together: torch makes such tensors unless it is asked to check them."""
    crow, col, values = x.crow_indices(), x.col_indices(), (x.detach() if x.requires_grad else x).values()
    if col.dtype not in (torch.int32, torch.int64) or crow.dtype != col.dtype:
        got = f"crow_indices() of {crow.dtype} and col_indices() of {col.dtype}"
        raise TypeError(f"{name} must have indices of int32 or int64, of one dtype, got {got}")
    if crow.numel() != x.shape[0] + 1:
        got = f"crow_indices() of shape {tuple(crow.shape)}"
        raise ValueError(f"{name} must have {x.shape[0] + 1} row pointers for {x.shape[0]} rows, got {got}")
    if col.numel() != values.numel():
        got = f"col_indices() of shape {tuple(col.shape)} and values() of {tuple(values.shape)}"
        raise ValueError(f"{name} must have a value for each column index, got {got}")


def value_dtypes(semiring: int, a_name: str, a: Tensor, b_name: str, b: Tensor) -> None:
    """Refuses dtypes that differ or that the semiring does not know, and gradients where it has none."""
    for name, x in ((a_name, a), (b_name, b)):
        if x.dtype not in VALUES:
            allowed = "float16, bfloat16, float32, float64, int32, int64 or bool"
            raise TypeError(f"{name} must have values of {allowed}, got {x.dtype}")
        if semiring == OR_AND and x.requires_grad and torch.is_grad_enabled():
            raise ValueError(f"{name} requires a gradient, but semiring or_and has none: pass {name}.detach()")
    if a.dtype != b.dtype:
        raise TypeError(f"{b_name} must have values of the dtype of {a_name}, {a.dtype}, got {b.dtype}")
    if a.dtype == torch.bool and semiring in (MIN_PLUS, MAX_TIMES):
        raise TypeError(f"{a_name} must have numbers as values for semiring {SEMIRINGS[semiring]}, got torch.bool")


def inspected(name: str, crow: Tensor, col: Tensor, columns: int) -> bool:
    """Whether columns of each row ascend; refuses what is no CSR."""
    pointer, place, unsorted = torch.ops.warphash.spgemm_inspect(crow, col, columns).tolist()
    if pointer >= 0:
        raise ValueError(
            f"{name} must have row pointers that ascend from 0 to {len(col)}, got crow_indices()[{pointer}] = "
            f"{int(crow[pointer])}" + (f" after {int(crow[pointer - 1])}" if pointer else "")
        )
    if place >= 0:
        raise ValueError(
            f"{name} must have column indices in [0, {columns}), got col_indices()[{place}] = {int(col[place])}"
        )
    return not unsorted


# ---- Operands as kernels want them ----------------------------------------------------------------------------------
@dataclasses.dataclass
class Arrangement:
    """How the entries of an operand as it came become canonical ones: sorted, those of one place combined."""

    order: Tensor
    """int64: the entries by row and column; those of one place as they stood."""
    places: Tensor | None
    """int64: the canonical entry of each entry of ``order``; None without duplicates."""
    entries: int
    """Canonical ones."""

    def combined(self, values: Tensor, semiring: int) -> Tensor:
        """The values of the canonical entries."""
        ordered = values.index_select(0, self.order)
        if self.places is None:
            return ordered
        if semiring in (MIN_PLUS, MAX_TIMES):
            return ordered.index_select(0, _first_winners(ordered.detach(), self.places, semiring))
        dtype = values.dtype
        sums = torch.int32 if dtype == torch.bool else compute_dtype(dtype) if dtype.is_floating_point else dtype
        total = ordered.new_zeros(self.entries, dtype=sums).index_add(0, self.places, ordered.to(sums))
        return total.to(dtype)


def _first_winners(values: Tensor, places: Tensor, semiring: int) -> Tensor:
    """The position of the least or largest value of each place: NaN before all, the first of equal ones."""
    ranked = torch.sort(values, stable=True, descending=semiring == MAX_TIMES).indices
    if values.is_floating_point():
        ranked = ranked[torch.sort((~values.isnan())[ranked].byte(), stable=True).indices]
    ranked = ranked[torch.sort(places[ranked], stable=True).indices]
    begins = torch.ones_like(places, dtype=torch.bool)
    begins[1:] = places[1:] != places[:-1]
    return ranked[begins.nonzero().squeeze(1)]


@dataclasses.dataclass
class Pattern:
    """Rows of columns, and how values that came with them are brought into their order."""

    crow: Tensor
    col: Tensor
    arrangement: Arrangement | None = None
    picked: Tensor | None = None
    """int64: positions of the canonical values that are taken part with, where inner indices were renumbered."""

    def arranged(self, values: Tensor, semiring: int) -> Tensor:
        """Values as they came to values of the pattern."""
        if self.arrangement is not None:
            values = self.arrangement.combined(values, semiring)
        return values if self.picked is None else values.index_select(0, self.picked)

    def to(self, move: Any) -> Pattern:
        """The same with every tensor changed by ``move``."""
        arrangement = self.arrangement
        if arrangement is not None:
            places = None if arrangement.places is None else move(arrangement.places)
            arrangement = Arrangement(move(arrangement.order), places, arrangement.entries)
        picked = None if self.picked is None else move(self.picked)
        return Pattern(move(self.crow), move(self.col), arrangement, picked)


def pattern_of(name: str, x: Tensor, index: torch.dtype, validate: bool) -> Pattern:
    """The canonical pattern of a CSR tensor with indices of a dtype."""
    crow, col = indices_of(x)
    canonical = True
    if x.device.type != "meta" and _checks.data_is_checked(validate):
        canonical = inspected(name, crow, col, x.shape[1])
    if crow.dtype != index:
        crow, col = crow.to(index), col.to(index)
    if canonical:
        return Pattern(crow, col)
    rows = rows_of(crow, len(col))
    order = torch.sort(col, stable=True).indices
    order = order[torch.sort(rows[order], stable=True).indices]
    rows, col = rows[order], col[order]
    begins = torch.ones_like(col, dtype=torch.bool)
    begins[1:] = (rows[1:] != rows[:-1]) | (col[1:] != col[:-1])
    places = None
    if not bool(begins.all()):
        places = begins.cumsum(0) - 1
        rows, col = rows[begins], col[begins]
        crow = crow_of(rows, x.shape[0])
    return Pattern(crow, col, Arrangement(order, places, len(col)))


@dataclasses.dataclass
class Problem:
    """The patterns of one product, with fewer than 2^31 columns each."""

    a: Pattern
    b: Pattern
    mask: Pattern | None
    shape: tuple[int, int]
    """Of the result."""
    columns: int
    """That kernels see."""
    names: Tensor | None
    """The columns' own numbers, where they were renumbered."""

    def named(self, col: Tensor) -> Tensor:
        """Columns as kernels number them to the result's own; -1 stays."""
        if self.names is None:
            return col
        if not len(self.names):
            return col
        own = self.names.to(col.dtype).index_select(0, col.flatten().clamp(min=0).long()).view(col.shape)
        return torch.where(col < 0, col, own)


def problem(a: Tensor, b: Tensor, mask: Tensor | None, validate: bool, names: tuple[str, str] = ("a", "b")) -> Problem:
    """Checks what needs no values, and brings operands into the kernels' form."""
    of_a, of_b = names
    _checks.same_device(of_a, a, of_b, b)
    if a.shape[1] != b.shape[0]:
        raise ValueError(
            f"{of_b} must have as many rows as {of_a} has columns, {a.shape[1]}, got shapes {tuple(a.shape)} and "
            f"{tuple(b.shape)}"
        )
    shape = (a.shape[0], b.shape[1])
    index = torch.promote_types(a.crow_indices().dtype, b.crow_indices().dtype)
    if mask is not None:
        _checks.same_device("a", a, "mask", mask)
        if tuple(mask.shape) != shape:
            raise ValueError(f"mask must have the shape of the product, {shape}, got {tuple(mask.shape)}")
        if mask._nnz() > MOST_INT32:
            index = torch.int64
    first = pattern_of(of_a, a, index, validate)
    second = first if b is a else pattern_of(of_b, b, index, validate)
    third = None if mask is None else pattern_of("mask", mask, index, validate)
    if a.shape[1] > MOST_COLUMNS:
        first, second = _inner_renumbered(first, second)
    columns, own = shape[1], None
    if columns > MOST_COLUMNS or columns > max(SPARSE_COLUMNS, COLUMNS_AN_ENTRY * len(second.col)):
        own, numbers = second.col.unique(return_inverse=True)
        second = dataclasses.replace(second, col=numbers.to(index))
        columns = len(own)
        third = None if third is None else _known_columns(third, own)
    return Problem(first, second, third, shape, columns, own)


def _inner_renumbered(a: Pattern, b: Pattern) -> tuple[Pattern, Pattern]:
    """Inner indices by those that a has, which are fewer than 2^31."""
    used, numbers = a.col.unique(return_inverse=True)
    starts, ends = b.crow[used.long()].long(), b.crow[used.long() + 1].long()
    crow = torch.cat([starts.new_zeros(1), (ends - starts).cumsum(0)])
    picked = torch.repeat_interleave(starts - crow[:-1], ends - starts)
    picked = picked + torch.arange(len(picked), device=picked.device)
    return dataclasses.replace(a, col=numbers.to(a.col.dtype)), Pattern(
        crow.to(b.crow.dtype), b.col[picked], b.arrangement, picked
    )


def _known_columns(mask: Pattern, names: Tensor) -> Pattern:
    """A mask's entries in the named columns, by their numbers: others meet no product."""
    if not len(names):
        return Pattern(torch.zeros_like(mask.crow), mask.col[:0])
    number = torch.searchsorted(names, mask.col).clamp(max=len(names) - 1)
    known = names[number] == mask.col
    rows = rows_of(mask.crow, len(mask.col))[known]
    return Pattern(crow_of(rows, len(mask.crow) - 1), number[known].to(mask.col.dtype))
