# SPDX-License-Identifier: Apache-2.0
"""Values on a known pattern, gradients and winners of each instruction set: the definition, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor
from warphash.spgemm import reference

from .arrays import CASES, RINGS, Case, Pattern, bits, case, gradients, normal, numeric, pattern_of, small, winners

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _threads(count: int, call):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        return call()
    finally:
        torch.set_num_threads(before)


def _definition(of: Case, a: Tensor, b: Tensor, ring: int = 0) -> Tensor:
    return reference.numeric(*of.a, a, *of.b, b, *of.pattern, of.columns, ring)


# ---- Values ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "ring"), RINGS)
def test_values(isa, name, dtype, ring):
    of = CASES[name]
    values = [
        make(len(x.col), dtype, seed)
        for make in (small, normal if dtype.is_floating_point else small)
        for seed, x in enumerate((of.a, of.b))
    ]
    for a, b in (values[:2], values[2:]):
        expected = bits(_definition(of, a, b, ring))
        assert bits(numeric(isa, of, a, b, ring)) == expected
        if "covered" in name:
            assert bits(numeric(isa, of, a, b, ring, covers=True)) == expected


@pytest.mark.parametrize("share", [0.001, 0.02, 0.9])
def test_values_of_many_products(isa, share):
    """Patterns much smaller than the product, and rows of more products than are put aside at a time."""
    of = case(60, 300, 700, 0.2)
    of = of._replace(pattern=pattern_of(np.random.default_rng(2).random((60, 700)) < share))
    a, b = normal(len(of.a.col), torch.float32), normal(len(of.b.col), torch.float32, 1)
    assert bits(numeric(isa, of, a, b)) == bits(_definition(of, a, b))


def test_no_entries_at_the_beginning(isa):
    """Columns of -1 have the value of an empty sum, whatever stands beside them."""
    of = case(3, 4, 5, 1.0)
    crow, col = torch.tensor([0, 2, 5, 5]), torch.tensor([-1, 3, -1, -1, 0], dtype=torch.int32)
    of = of._replace(pattern=Pattern(crow, col))
    a, b = torch.ones(12), torch.ones(20)
    for ring, nothing, some in ((0, 0, 4), (2, torch.inf, 2), (3, -torch.inf, 1)):
        assert numeric(isa, of, a, b, ring).tolist() == [nothing, some, nothing, nothing, some]
    a_gradient, b_gradient = gradients(isa, of, torch.tensor([9.0, 1, 9, 9, 2]), a, b, True, True)
    assert a_gradient.tolist() == [1.0] * 4 + [2.0] * 4 + [0.0] * 4
    assert b_gradient.reshape(4, 5).tolist() == [[2.0, 0, 0, 1, 0]] * 4
    from_a, from_b = winners(isa, of, a, b, 2)
    assert (from_a.tolist(), from_b.tolist()) == ([-1, 0, -1, -1, 4], [-1, 3, -1, -1, 0])


@pytest.mark.parametrize("ring", [0, 2, 3])
def test_nan_and_infinity(isa, ring):
    of = case(20, 30, 40, covers=True)
    a, b = normal(len(of.a.col), torch.float32), normal(len(of.b.col), torch.float32, 1)
    a[::7], a[1::11], b[::5], b[2::13], b[3::17] = torch.nan, torch.inf, -torch.inf, 0, torch.nan
    expected = _definition(of, a, b, ring)
    for covers in (False, True):
        assert torch.allclose(numeric(isa, of, a, b, ring, covers), expected, rtol=0, atol=0, equal_nan=True)


def test_a_broken_promise_harms_no_memory(isa):
    of = CASES["plain"]
    a, b = small(len(of.a.col), torch.float32), small(len(of.b.col), torch.float32)
    assert numeric(isa, of, a, b, covers=True).shape == of.pattern.col.shape


def test_very_wide(isa):
    """As wide as columns go, with a few in use: neither time nor memory of the width."""
    last = 2**31 - 2
    a = Pattern(torch.tensor([0, 2, 3]), torch.tensor([0, 1, 1], dtype=torch.int32))
    b = Pattern(torch.tensor([0, 2, 4]), torch.tensor([5, last, 7, last], dtype=torch.int32))
    pattern = Pattern(torch.tensor([0, 4, 6]), torch.tensor([5, 6, 7, last, -1, last], dtype=torch.int32))
    of, a_values, b_values = (
        Case(a, b, pattern, last + 1),
        torch.tensor([1.0, 2, 3]),
        torch.tensor([1.0, 10, 100, 1000]),
    )
    assert numeric(isa, of, a_values, b_values).tolist() == [1, 0, 200, 2010, 0, 3000]
    assert numeric(isa, of, a_values, b_values, 2).tolist() == [2, torch.inf, 102, 11, torch.inf, 1003]
    found = gradients(isa, of, torch.tensor([1.0, 9, 2, 3, 9, 4]), a_values, b_values, True, True)
    assert [x.tolist() for x in found] == [[31, 3200, 4000], [1, 3, 4, 18]]
    assert winners(isa, of, a_values, b_values, 3)[1].tolist() == [0, -1, 2, 3, -1, 3]


# ---- Gradients ------------------------------------------------------------------------------------------------------
def _gradient_of_a(of: Case, g: Tensor, b: Tensor) -> Tensor:
    """In sixteen lanes by the place in b's row, folded by halves."""
    rows, out = reference.rows_of(of.a.crow), []
    for row, k in zip(rows.tolist(), of.a.col.tolist(), strict=True):
        dense = torch.zeros(of.columns, dtype=g.dtype)
        begin, end = of.pattern.crow[row], of.pattern.crow[row + 1]
        dense[of.pattern.col[begin:end].long()] = g[begin:end]
        begin, end = of.b.crow[k], of.b.crow[k + 1]
        products = dense[of.b.col[begin:end].long()] * b[begin:end]
        sums = torch.zeros(16, dtype=g.dtype)
        for piece in products.split(16):
            sums[: len(piece)] += piece
        for half in (8, 4, 2, 1):
            sums = sums[:half] + sums[half:]
        out.append(sums[0])
    return torch.stack(out) if out else b[:0]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients(isa, name, dtype):
    of = CASES[name]
    g, a, b = (normal(len(x.col), dtype, seed) for seed, x in enumerate((of.pattern, of.a, of.b)))
    wide_g, wide_a, wide_b = (reference.wide(x) for x in (g, a, b))
    expected_a = _gradient_of_a(of, wide_g, wide_b).to(dtype)
    # B's: in the order of a's rows, which is the reference's.
    _, expected_b = reference.gradients(wide_g, *of.a, wide_a, *of.b, wide_b, *of.pattern, of.columns, True, True)
    found_a, found_b = gradients(isa, of, g, a, b, True, True)
    assert bits(found_a) == bits(expected_a)
    assert torch.allclose(found_b, expected_b.to(dtype), rtol=1e-2 if dtype.itemsize == 2 else 1e-4, atol=1e-5)
    alone_a, nothing = gradients(isa, of, g, a, b, True, False)
    assert len(nothing) == 0
    nothing, alone_b = gradients(isa, of, g, a, b, False, True)
    assert len(nothing) == 0
    assert bits(alone_a, alone_b) == bits(found_a, found_b)
    assert bits(*gradients("scalar", of, g, a, b, True, True)) == bits(found_a, found_b)


def test_gradients_leave_nothing_to_the_next_row(isa):
    """A wide product's pattern may have columns that b has not, before and behind one that it has."""
    b = Pattern(torch.tensor([0, 1]), torch.tensor([500], dtype=torch.int32))
    a = Pattern(torch.tensor([0, 1, 2]), torch.tensor([0, 0], dtype=torch.int32))
    pattern = Pattern(torch.tensor([0, 3, 4]), torch.tensor([400, 500, 600, 300], dtype=torch.int32))
    of, ones = Case(a, b, pattern, 1 << 20), torch.ones(2)
    found = gradients(isa, of, torch.tensor([1.0, 2, 3, 4]), ones, torch.ones(1), True, True)
    assert [x.tolist() for x in found] == [[2, 0], [2]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_gradients_of_entries_that_meet_nothing(isa, dtype):
    """A block of rows whose part of b is empty has gradients of zero all the same."""
    b = pattern_of(np.arange(2)[:, None] < np.ones(1000, int))
    a = pattern_of(np.arange(2000)[:, None] // 1000 == np.arange(2))
    of = Case(a, b, pattern_of(np.ones((2000, 1), bool)), 1000)
    g, a_values, b_values = (torch.ones(len(x.col), dtype=dtype) for x in (of.pattern, of.a, of.b))
    left = [np.full(2000, 7, a_values.numpy().dtype) for _ in range(4)]
    del left  # so that memory which is not written shows
    found = gradients(isa, of, g, a_values, b_values, True, True)[0]
    assert torch.equal(found, (torch.arange(2000) < 1000).to(dtype))


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_gradients_in_blocks(isa, dtype, near):
    """Enough products for several blocks of rows, whose sums are the same for any number of threads.

    near: each block meets a part of b alone.
    """
    generator = np.random.default_rng(3)
    present = generator.random((900, 300)) < (0.9 if near else 0.06)
    if near:
        present &= abs(np.arange(900)[:, None] // 3 - np.arange(300)[None]) < 12
    of = case(900, 300, 500, 0.12)._replace(a=pattern_of(present))
    g, a, b = (normal(len(x.col), dtype, seed) for seed, x in enumerate((of.pattern, of.a, of.b)))
    found = [_threads(count, lambda: gradients(isa, of, g, a, b, True, True)) for count in (1, 2, 5, 40)]
    assert all(bits(*one) == bits(*found[0]) for one in found[1:])
    assert bits(*gradients("scalar", of, g, a, b, True, True)) == bits(*found[0])
    matrices = [
        sp.csr_array((x.double().numpy(), y.col.numpy(), y.crow.numpy()), shape=shape)
        for x, y, shape in ((g, of.pattern, (900, 500)), (a, of.a, (900, 300)), (b, of.b, (300, 500)))
    ]
    full_a, full_b = matrices[0] @ matrices[2].T, matrices[1].T @ matrices[0]
    for one, full, of_one in ((found[0][0], full_a, of.a), (found[0][1], full_b, of.b)):
        expected = torch.from_numpy(full.toarray())[reference.rows_of(of_one.crow), of_one.col.long()]
        tolerance = 4e-2 if dtype == torch.float16 else 1e-3 if dtype == torch.float32 else 1e-10
        assert torch.allclose(one.double(), expected, rtol=tolerance, atol=tolerance)


def test_gradients_of_nan_stay_where_they_are(isa):
    """A NaN of the gradient, or of a value, reaches what it is multiplied with and nothing else."""
    of = case(12, 20, 64, 0.5, covers=True)
    g, a, b = (normal(len(x.col), torch.float32, seed) for seed, x in enumerate((of.pattern, of.a, of.b)))
    clean = gradients(isa, of, g, a, b, True, True)
    g[of.pattern.crow[3]], b[of.b.crow[5]] = torch.nan, torch.nan
    found_a, found_b = gradients(isa, of, g, a, b, True, True)
    changed = reference.rows_of(of.a.crow)[found_a.isnan()]
    assert len(changed)
    assert set(changed.tolist()) <= set(range(12))
    other = (reference.rows_of(of.a.crow) != 3) & (of.a.col != 5)
    assert bits(found_a[other]) == bits(clean[0][other])
    column = of.b.col == of.pattern.col[of.pattern.crow[3]]
    assert not found_b[~column].isnan().any()
    assert bits(found_b[~column]) == bits(clean[1][~column])


# ---- Winners --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("ring", [2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32, torch.int64, torch.bfloat16])
def test_winners(isa, name, ring, dtype):
    """Many ties: the first of them wins."""
    of = CASES[name]
    a, b = small(len(of.a.col), dtype), small(len(of.b.col), dtype, 1)
    expected = reference.winners(*of.a, a, *of.b, b, *of.pattern, of.columns, ring)
    for found, wanted in zip(winners(isa, of, a, b, ring), expected, strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("ring", [2, 3])
def test_winners_among_nan_and_infinity(isa, ring):
    of = case(20, 30, 40, covers=True)
    a, b = normal(len(of.a.col), torch.float32), normal(len(of.b.col), torch.float32, 1)
    a[::7], a[1::11], b[::5], b[3::17] = torch.nan, torch.inf, -torch.inf, torch.nan
    expected = reference.winners(*of.a, a, *of.b, b, *of.pattern, of.columns, ring)
    found = winners(isa, of, a, b, ring)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    only_nothing = torch.full_like(a, torch.inf if ring == 2 else -torch.inf)
    assert (winners(isa, of, only_nothing, torch.ones_like(b), ring)[0] >= 0).all()


# ---- Threads, memory, refusals --------------------------------------------------------------------------------------
def test_threads_change_nothing(isa):
    of = case(3000, 200, 300, 0.05)
    a, b = normal(len(of.a.col), torch.float32), normal(len(of.b.col), torch.float32, 1)

    def call() -> list[bytes]:
        return bits(numeric(isa, of, a, b), numeric(isa, of, a, b, 2), *winners(isa, of, a, b, 2))

    first = _threads(1, call)
    assert _threads(2, call) == first
    assert _threads(5, call) == first


@pytest.mark.memory
def test_memory_does_not_grow(resident):
    of = case(8, 9, 300_000, 1e-4, covers=True)
    a, b, g = (normal(len(x.col), torch.float32) for x in (of.a, of.b, of.pattern))
    indices = [x for part in (of.a, of.b, of.pattern) for x in (part.crow, part.col.long())]
    operands = (*indices[:2], a, *indices[2:4], b)
    ops = torch.ops.warphash

    def call() -> None:
        ops.spgemm_numeric(*operands, *indices[4:], of.columns, 0, False)
        ops.spgemm_gradients(g, *operands, *indices[4:], of.columns, True, True)
        ops.spgemm_masked(*operands, of.columns, 0, *indices[4:])

    for _ in range(100):
        call()
    before = resident()
    for _ in range(1000):
        call()
    assert resident() - before < 4 << 20


@pytest.mark.parametrize("index", [torch.int32, torch.int64])
def test_operators_take_both_index_types(index):
    of = case(30, 40, 50, covers=True)
    a, b, g = (small(len(x.col), torch.float32, seed) for seed, x in enumerate((of.a, of.b, of.pattern)))
    indices = [x.to(index) for part in (of.a, of.b, of.pattern) for x in part]
    operands, ops = (*indices[:2], a, *indices[2:4], b), torch.ops.warphash
    assert torch.equal(ops.spgemm_numeric(*operands, *indices[4:], 50, 0, True), _definition(of, a, b))
    found = ops.spgemm_gradients(g, *operands, *indices[4:], 50, True, True)
    assert bits(*found) == bits(*gradients("scalar", of, g, a, b, True, True))
    found = ops.spgemm_winners(*operands, *indices[4:], 50, 2)
    assert bits(*found) == bits(*winners("scalar", of, a, b, 2))


def _broken() -> dict[str, tuple[Case, str]]:
    good = case(3, 4, 5, 1.0)

    def changed(part: str, pointers: list[int] | None = None, column: int | None = None) -> Case:
        crow, col = getattr(good, part)
        if pointers is not None:
            crow = torch.tensor(pointers)
        if column is not None:
            col = col.clone()
            col[-1] = column
        return good._replace(**{part: Pattern(crow, col)})

    return {
        "a ends early": (changed("a", [0, 4, 8, 11]), "a's row pointers"),
        "a descends": (changed("a", [0, 8, 4, 12]), "a's row pointers"),
        "b begins late": (changed("b", [1, 5, 10, 15, 20]), "b's row pointers"),
        "b goes beyond": (changed("b", [0, 5, 10, 15, 1 << 40]), "b's row pointers"),
        "a's column": (changed("a", column=4), r"a's columns must be in \[0, 4\), got 4 at entry 11"),
        "a's negative column": (changed("a", column=-1), "a's columns"),
        "b's column": (changed("b", column=5), r"b's columns must be in \[0, 5\), got 5 at entry 19"),
        "b's negative column": (changed("b", column=-(2**31)), "b's columns"),
    }


@pytest.mark.parametrize("name", _broken())
def test_broken_operands(isa, name):
    of, text = _broken()[name]
    a, b, g = (small(len(x.col), torch.float32) for x in (of.a, of.b, of.pattern))
    for call in (
        lambda: numeric(isa, of, a, b),
        lambda: numeric(isa, of, a, b, covers=True),
        lambda: gradients(isa, of, g, a, b, True, True),
        lambda: winners(isa, of, a, b, 2),
    ):
        with pytest.raises((ValueError, IndexError), match=text):
            call()


@pytest.mark.parametrize(
    ("pointers", "columns", "text"),
    [
        ([0, 1, 2], [0, 5], r"the pattern's columns must be in \[-1, 5\), got 5 at entry 1"),
        ([0, 1, 2], [-2, 0], r"the pattern's columns must be in \[-1, 5\), got -2 at entry 0"),
        ([0, 1, 2], [2**31 - 1, 0], "the pattern's columns"),
        ([0, 1, 3], [0, 1], "the pattern's row pointers"),
    ],
)
def test_broken_patterns(isa, pointers, columns, text):
    of = case(2, 3, 5, 1.0)
    of = of._replace(pattern=Pattern(torch.tensor(pointers), torch.tensor(columns, dtype=torch.int32)))
    a, b, g = torch.ones(6), torch.ones(15), torch.ones(len(columns))
    for call in (
        lambda: numeric(isa, of, a, b),
        lambda: numeric(isa, of, a, b, covers=True),
        lambda: gradients(isa, of, g, a, b, True, False),
        lambda: gradients(isa, of, g, a, b, True, True),
        lambda: winners(isa, of, a, b, 3),
    ):
        with pytest.raises((ValueError, IndexError), match=text):
            call()
    operands = (of.a.crow, of.a.col.long(), a, of.b.crow, of.b.col.long(), b)
    pattern = (of.pattern.crow, of.pattern.col.long())
    with pytest.raises((ValueError, IndexError), match=text):
        torch.ops.warphash.spgemm_numeric(*operands, *pattern, 5, 0, False)


def test_arguments_refused_by_the_operators():
    of = case(2, 3, 5, 1.0)
    ops, ones = torch.ops.warphash, torch.ones
    operands = (of.a.crow, of.a.col.long(), ones(6), of.b.crow, of.b.col.long(), ones(15))
    pattern = (of.pattern.crow, of.pattern.col.long())
    g = ones(len(of.pattern.col))
    for semiring, text in ((1, "or_and takes bool"), (4, "semiring must be")):
        with pytest.raises(RuntimeError, match=text):
            ops.spgemm_numeric(*operands, *pattern, 5, semiring, False)
    with pytest.raises(RuntimeError, match=r"semiring must be 2 \(min_plus\) or 3"):
        ops.spgemm_winners(*operands, *pattern, 5, 0)
    with pytest.raises(RuntimeError, match="columns must be in"):
        ops.spgemm_numeric(*operands, *pattern, 2**31, 0, False)
    longs = (*operands[:2], operands[2].long(), *operands[3:5], operands[5].long())
    with pytest.raises(RuntimeError, match="gradients are of float values"):
        ops.spgemm_gradients(g.long(), *longs, *pattern, 5, True, True)
    with pytest.raises(RuntimeError, match="must have a value for each entry"):
        ops.spgemm_gradients(g[1:], *operands, *pattern, 5, True, True)
    with pytest.raises(RuntimeError, match="must share their dtype"):
        ops.spgemm_numeric(*operands[:5], ones(15).double(), *pattern, 5, 0, False)
    with pytest.raises(RuntimeError, match="as many rows as a"):
        ops.spgemm_numeric(*operands, pattern[0][:-1], pattern[1][: pattern[0][-2]], 5, 0, False)
    with pytest.raises(RuntimeError, match="share the index dtype"):
        ops.spgemm_numeric(*operands, *(x.int() for x in pattern), 5, 0, False)
