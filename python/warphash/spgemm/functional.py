# SPDX-License-Identifier: Apache-2.0
"""The public functions of sparse products: checks of arguments, then one operator each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from .. import _checks
from . import registration
from .csr import (
    MOST_INT32,
    OR_AND,
    PLUS_TIMES,
    Problem,
    csr,
    csr_of,
    outside_of_graphs,
    problem,
    semiring_number,
    value_dtypes,
    values_of,
)
from .reference import zero

__all__ = ["matmul", "matmul_many", "row_chunks", "topk"]

# Matrices of one call of matmul_many are multiplied as blocks of one while accumulators of its columns stay in a cache.
TOGETHER_COLUMNS = 2**16


def _operands(a: Any, b: Any, mask: Any, complement: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    a, b = csr("a", a), csr("b", b)
    if mask is None and complement:
        raise ValueError("complement needs a mask, got none")
    return a, b, None if mask is None else csr("mask", mask)


def _both_values(a: Tensor, b: Tensor, semiring: int) -> tuple[Tensor, Tensor]:
    """One tensor for both where they are one: its gradients then meet as values, not as patterns."""
    first = values_of(a)
    second = first if b is a else values_of(b)
    if semiring == OR_AND:  # NaN is not zero
        return (first.detach() != 0, second.detach() != 0)
    return first, second


def _arranged(p: Problem, a: Tensor, b: Tensor, semiring: int) -> tuple[Tensor, Tensor]:
    first = p.a.arranged(a, semiring)
    return first, first if p.b is p.a and b is a else p.b.arranged(b, semiring)


def _too_many(error: RuntimeError) -> None:
    """An operator's complaint about int32 indices as that of the function."""
    text = str(error).splitlines()[0]
    if "int32 indices" in text:  # torch puts the place in the source before it
        raise ValueError(text[text.index("the product has") :]) from None


def _multiplied(
    p: Problem, a: Tensor, b: Tensor, semiring: int, complement: bool, drop_zeros: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Row pointers, columns by their own numbers, values."""
    operands = (p.a.crow, p.a.col, a, p.b.crow, p.b.col, b, p.columns, semiring)
    mask = (None, None) if p.mask is None else (p.mask.crow, p.mask.col)
    try:
        if p.mask is None or complement:
            crow, col, values = registration.product(*operands, *mask)
        else:
            crow, col, values = registration.masked(*operands, *mask)
    except RuntimeError as error:
        _too_many(error)
        raise
    if drop_zeros:
        crow, col, values = _without_zeros(crow, col, values, semiring)
    return crow, p.named(col), values


def _without_zeros(crow: Tensor, col: Tensor, values: Tensor, semiring: int) -> tuple[Tensor, Tensor, Tensor]:
    dropped = values.detach() == zero(semiring, values.dtype)
    if not bool(dropped.any()):
        return crow, col, values
    kept = dropped.logical_not_().nonzero().squeeze(1)
    # Of the kept ones that lie before each row; a sum over all would be one more array of their size.
    pointers = torch.searchsorted(kept, crow.long()).to(crow.dtype)
    return pointers, col.index_select(0, kept), values.index_select(0, kept)


@outside_of_graphs
def matmul(
    a: Any,
    b: Any,
    *,
    semiring: str = "plus_times",
    mask: Any = None,
    complement: bool = False,
    drop_zeros: bool = False,
    validate: bool = True,
) -> Tensor:
    """The product of two sparse matrices, as a sparse matrix.

    Args:
        a: ``torch.sparse_csr`` ``[M, K]``, indices int32 or int64, values float16, bfloat16, float32, float64, int32,
            int64 or bool. Columns of a row may stand in any order and more than once: those of one place are combined
            by the semiring's addition, and each gets its gradient.
        b: the same, ``[K, N]``, of the same value dtype.
        semiring: ``"plus_times"``; ``"or_and"``: of values that are true where nonzero (NaN too), result bool;
            ``"min_plus"``: the least sum a_ik + b_kj; ``"max_times"``: the largest product a_ik b_kj. NaN wins over
            every number. Of bool values plus_times is or_and.
        mask: ``torch.sparse_csr`` ``[M, N]``, a pattern: only its entries are computed. Its values are not looked at:
            a stored zero is part of it.
        complement: only entries that the mask does not have.
        drop_zeros: leave out entries that equal the empty sum (0, False, +inf, -inf; of integers the largest or least
            one), as SciPy does, by a copy of the others. Otherwise every entry that a product reaches is stored,
            whatever its value.
        validate: check row pointers and columns, which on CUDA waits for the device. Without it operands are promised
            to be canonical: columns of a row ascending, distinct and in range.

    Returns:
        ``torch.sparse_csr`` ``[M, N]``: columns ascending; indices of the operands' dtype, of mixed ones int64; values
        of the operands' dtype. An entry is the sum of its products one after another in the order of a's columns, so
        that its bits are the same on every machine and number of threads; half types are summed in float32 and rounded
        once, integers wrap around. NaN and infinities reach only entries that they have a product in.

        Differentiable twice in the values of both operands, on their own patterns, in min_plus and max_times through
        the product that won, the first of equal ones: ``torch.autograd.grad(c, (a, b), grad_outputs=csr)``, or any
        loss of ``c.values()`` or ``c.to_dense()``. Their bits are the same at any number of threads; on CUDA those of
        min_plus and max_times only under ``torch.use_deterministic_algorithms``. torch's ``c.values()`` has no second
        derivative; ``warphash.spgemm.csr.values_of(c)`` has. torch.compile calls it between
        its graphs, and refuses it under ``fullgraph=True``, as export does: see :func:`plan`.

    Raises:
        TypeError: an argument is no CSR tensor, or its dtype is not known, or a's and b's differ, or they are bool in
            min_plus and max_times; a switch is no bool.
        ValueError: shapes or devices do not fit, ``semiring`` is another word, ``complement`` comes without a mask, an
            operand of or_and requires a gradient; row pointers do not ascend, a column is out of range; or indices are
            int32 and the result has more than 2^31 - 1 entries, which int64 indices hold.

    Complexity: O(products), and O(entries of the mask) with one. Workspace, besides the result in its exact size:
    values and flags of 131,072 columns a thread, rows of b as bits in at most a tenth of the result, and 20 bytes a
    product of a row that scatters over more columns.

    Source: F. G. Gustavson, Two fast algorithms for sparse matrices: multiplication and permuted transposition (1978).
    """
    number = semiring_number(semiring)
    _checks.flags(complement=complement, drop_zeros=drop_zeros, validate=validate)
    a, b, pattern = _operands(a, b, mask, complement)
    value_dtypes(number, "a", a, "b", b)
    for name, x in (("a", a), ("b", b)):
        _checks.with_data(name, x)
    p = problem(a, b, pattern, validate)
    first, second = _arranged(p, *_both_values(a, b, number), number)
    crow, col, values = _multiplied(p, first, second, number, complement, drop_zeros)
    return csr_of(crow, col, values, p.shape)


@outside_of_graphs
def topk(a: Any, b: Any, k: int, *, validate: bool = True) -> tuple[Tensor, Tensor]:
    """The largest entries of each row of a·b, without the product.

    Args:
        a: ``torch.sparse_csr`` ``[M, K]`` of float16, bfloat16, float32 or float64: the queries, say.
        b: the same, ``[K, N]``: the documents' terms by term.
        k: how many; 0 is allowed.
        validate: check row pointers and columns, as in :func:`matmul`.

    Returns:
        (values ``[M, k]`` of the operands' dtype, columns int64 ``[M, k]``): stored entries by value, the largest
        first, equal ones by column, NaN last; rows with fewer end in (-inf, -1). Values are those of :func:`matmul`,
        bit for bit, and differentiable twice in both operands: what was not kept gets no gradient.

    Raises:
        TypeError: an argument is no CSR tensor, values are not floating point, ``k`` is no int.
        ValueError: shapes or devices do not fit, ``k`` is negative, row pointers or columns are broken.

    Complexity: O(products + entries log k). Workspace: about 2 MB a thread on the CPU, however many columns there are.
    """
    _checks.flags(validate=validate)
    a, b, _ = _operands(a, b, None, False)
    value_dtypes(PLUS_TIMES, "a", a, "b", b)
    if not a.dtype.is_floating_point:
        raise TypeError(f"a must have values of float16, bfloat16, float32 or float64, got {a.dtype}")
    wanted = _checks.result_count("k", k, a.shape[0])
    p = problem(a, b, None, validate)
    first, second = _arranged(p, *_both_values(a, b, PLUS_TIMES), PLUS_TIMES)
    values, indices = registration.topk(p.a.crow, p.a.col, first, p.b.crow, p.b.col, second, p.columns, wanted)
    return values, p.named(indices)


@outside_of_graphs
def row_chunks(
    a: Any,
    b: Any,
    *,
    max_bytes: int,
    semiring: str = "plus_times",
    mask: Any = None,
    complement: bool = False,
    drop_zeros: bool = False,
    validate: bool = True,
) -> Iterator[tuple[int, Tensor]]:
    """The product in pieces of rows, none of which takes more than so many bytes.

    Args:
        a: as in :func:`matmul`.
        b: as in :func:`matmul`.
        max_bytes: the most that a piece's row pointers, columns and values may take. Pieces are cut by what their rows
            can have at most, min(products, N) entries a row (or the mask's), so that a piece is never begun that might
            not fit; it may be smaller.
        semiring: as in :func:`matmul`.
        mask: as in :func:`matmul`.
        complement: as in :func:`matmul`.
        drop_zeros: as in :func:`matmul`.
        validate: as in :func:`matmul`.

    Yields:
        (number of the first row, ``torch.sparse_csr`` ``[rows, N]``): stacked, they are ``matmul(a, b)``, bit for bit.
        Differentiable as it is. torch.compile calls it between its graphs, and refuses it under ``fullgraph=True``.

    Raises:
        TypeError, ValueError: as :func:`matmul`, at the call; and ValueError if one row may exceed ``max_bytes``.

    Complexity: that of :func:`matmul`. Workspace: 16 bytes a row of a and 8 an entry of a, besides matmul's.
    """
    number = semiring_number(semiring)
    _checks.flags(complement=complement, drop_zeros=drop_zeros, validate=validate)
    a, b, pattern = _operands(a, b, mask, complement)
    value_dtypes(number, "a", a, "b", b)
    most = _checks.count("max_bytes", max_bytes, 1)
    for name, x in (("a", a), ("b", b)):
        _checks.with_data(name, x)
    p = problem(a, b, pattern, validate)
    first, second = _arranged(p, *_both_values(a, b, number), number)
    cuts = _row_cuts(p, 1 if number == OR_AND else a.element_size(), complement, most)

    made = _pieces(p, first, second, number, complement, drop_zeros)
    return ((begin, made(begin, end)) for begin, end in itertools.pairwise(cuts))


def _pieces(
    p: Problem, first: Tensor, second: Tensor, semiring: int, complement: bool, drop_zeros: bool
) -> Callable[[int, int], Tensor]:
    """What makes rows [begin, end) of a product."""

    @outside_of_graphs  # the caller is, but not whoever takes the pieces
    def made(begin: int, end: int) -> Tensor:
        crow, start, stop = _rows(p.a.crow, begin, end)
        piece = Problem(
            type(p.a)(crow, p.a.col[start:stop]), p.b, _mask_rows(p, begin, end), p.shape, p.columns, p.names
        )
        parts = _multiplied(piece, first[start:stop], second, semiring, complement, drop_zeros)
        return csr_of(*parts, (end - begin, p.shape[1]))

    return made


def _rows(crow: Tensor, begin: int, end: int) -> tuple[Tensor, int, int]:
    """Row pointers of some rows, and where their entries lie."""
    part = crow[begin : end + 1]
    start, stop = int(part[0]), int(part[-1])
    return part - start, start, stop


def _mask_rows(p: Problem, begin: int, end: int) -> Any:
    if p.mask is None:
        return None
    crow, start, stop = _rows(p.mask.crow, begin, end)
    return type(p.mask)(crow, p.mask.col[start:stop])


def _row_cuts(p: Problem, value_bytes: int, complement: bool, most: int) -> list[int]:
    """Bounds of pieces: as many rows each as fit in any case."""
    index_bytes = p.a.crow.element_size()
    of_entry = p.b.crow.diff().long().index_select(0, p.a.col.long())
    before = torch.cat([of_entry.new_zeros(1), of_entry.cumsum(0)])
    bound = before[p.a.crow.long()].diff().clamp(max=p.columns)
    if p.mask is not None and not complement:
        bound = torch.minimum(bound, p.mask.crow.diff().long())
    weight = bound * (index_bytes + value_bytes) + index_bytes
    if len(weight) and int(weight.max()) > most - index_bytes:
        row = int(weight.argmax())
        raise ValueError(
            f"max_bytes must be at least {int(weight[row]) + index_bytes} for row {row}, which may have "
            f"{int(bound[row])} entries, got {most}"
        )
    ends = weight.cumsum(0).cpu()
    cuts, done = [0], 0
    while cuts[-1] < len(ends):
        cut = int(torch.searchsorted(ends, done + most - index_bytes, right=True))
        done = int(ends[cut - 1])
        cuts.append(cut)
    return cuts if len(cuts) > 1 else [0, 0]


@outside_of_graphs
def matmul_many(
    a: Sequence[Any], b: Sequence[Any], *, semiring: str = "plus_times", drop_zeros: bool = False, validate: bool = True
) -> list[Tensor]:
    """Products of pairs of sparse matrices, each of its own shape and pattern.

    Args:
        a: matrices ``[M_i, K_i]`` as in :func:`matmul`, all of one value dtype, index dtype and device.
        b: as many matrices ``[K_i, N_i]``.
        semiring: as in :func:`matmul`.
        drop_zeros: as in :func:`matmul`.
        validate: as in :func:`matmul`.

    Returns:
        The products ``matmul(a[i], b[i])``, bit for bit. Small ones are made in one call, as blocks of one matrix.

    Raises:
        TypeError, ValueError: as :func:`matmul`, naming ``a[i]`` or ``b[i]``; ``a`` and ``b`` differ in length.

    Complexity: that of :func:`matmul`, of all. Workspace: copies of the operands of a call.
    """
    number = semiring_number(semiring)
    _checks.flags(drop_zeros=drop_zeros, validate=validate)
    for side, given in (("a", a), ("b", b)):
        if isinstance(given, Tensor | str) or not isinstance(given, Iterable):
            raise TypeError(f"{side} must be a list of matrices, got {type(given).__name__}")
    first, second = list(a), list(b)
    if len(first) != len(second):
        raise ValueError(f"b must have as many matrices as a, {len(first)}, got {len(second)}")
    problems: list[tuple[Problem, Tensor, Tensor]] = []
    for i, (x, y) in enumerate(zip(first, second, strict=True)):
        x, y = csr(f"a[{i}]", x), csr(f"b[{i}]", y)
        value_dtypes(number, f"a[{i}]", x, f"b[{i}]", y)
        for name, z in ((f"a[{i}]", x), (f"b[{i}]", y)):
            _checks.with_data(name, z)
            _checks.same_device("a[0]", first[0], name, z)
            if z.dtype != first[0].dtype:
                raise TypeError(f"{name} must have the dtype of a[0], {first[0].dtype}, got {z.dtype}")
        p = problem(x, y, None, validate, (f"a[{i}]", f"b[{i}]"))
        problems.append((p, *_arranged(p, *_both_values(x, y, number), number)))
    out: list[Tensor] = []
    for group in _groups(problems):
        out += _as_blocks(group, number, drop_zeros)
    return out


def _groups(problems: list[tuple[Problem, Tensor, Tensor]]) -> Iterator[list[tuple[Problem, Tensor, Tensor]]]:
    """Neighbours that are multiplied together."""
    group: list[tuple[Problem, Tensor, Tensor]] = []
    columns = entries = 0
    for item in problems:
        p = item[0]
        alike = not group or p.a.crow.dtype == group[0][0].a.crow.dtype
        # So that indices of 32 bits hold the whole where they hold the parts.
        most = p.shape[0] * p.columns + len(p.a.col) + len(p.b.crow) + len(p.b.col)
        if group and (not alike or columns + p.columns > TOGETHER_COLUMNS or entries + most > MOST_INT32):
            yield group
            group, columns, entries = [], 0, 0
        group.append(item)
        columns, entries = columns + p.columns, entries + most
    if group:
        yield group


def _stacked(crows: list[Tensor]) -> Tensor:
    """Row pointers of blocks below one another, int64."""
    ends = [0, *itertools.accumulate(int(crow[-1]) for crow in crows)]
    parts = [crows[0].new_zeros(1, dtype=torch.int64)]
    parts += [crow[1:].long() + end for crow, end in zip(crows, ends, strict=False)]
    return torch.cat(parts)


def _as_blocks(group: list[tuple[Problem, Tensor, Tensor]], semiring: int, drop_zeros: bool) -> list[Tensor]:
    """The products of a group as diagonal blocks of one product."""
    problems = [p for p, _, _ in group]
    if len(group) == 1:
        p, x, y = group[0]
        return [csr_of(*_multiplied(p, x, y, semiring, False, drop_zeros), p.shape)]
    index = problems[0].a.crow.dtype
    inner = [0, *itertools.accumulate(len(p.b.crow) - 1 for p in problems)]
    outer = [0, *itertools.accumulate(p.columns for p in problems)]
    a_crow, b_crow = _stacked([p.a.crow for p in problems]), _stacked([p.b.crow for p in problems])
    a_col = torch.cat([p.a.col + shift for p, shift in zip(problems, inner, strict=False)])
    b_col = torch.cat([p.b.col + shift for p, shift in zip(problems, outer, strict=False)])
    whole = Problem(
        type(problems[0].a)(a_crow.to(index), a_col.to(index)),
        type(problems[0].b)(b_crow.to(index), b_col.to(index)),
        None,
        (len(a_crow) - 1, outer[-1]),
        outer[-1],
        None,
    )
    crow, col, values = _multiplied(
        whole, torch.cat([x for _, x, _ in group]), torch.cat([y for _, _, y in group]), semiring, False, drop_zeros
    )
    rows = [0, *itertools.accumulate(p.shape[0] for p in problems)]
    cuts = crow[torch.tensor(rows, device=crow.device)].tolist()
    out = []
    for place, p in enumerate(problems):
        start, stop = cuts[place], cuts[place + 1]
        part = crow[rows[place] : rows[place + 1] + 1] - start
        own = p.named(col[start:stop] - outer[place])
        out.append(csr_of(part, own, values[start:stop], p.shape))
    return out
