# SPDX-License-Identifier: Apache-2.0
"""Masked products of each instruction set: the definition, bit for bit."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from warphash.spgemm import reference

from .arrays import CASES, RINGS, Case, Pattern, bits, case, masked, masked_pattern, normal, pattern_of, small


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "ring"), RINGS)
def test_products(isa, name, dtype, ring):
    of = CASES[name]
    make = normal if dtype.is_floating_point else small
    a, b = make(len(of.a.col), dtype), make(len(of.b.col), dtype, 1)
    crow, col, values = reference.masked(*of.a, a, *of.b, b, of.columns, ring, *of.pattern)
    found = masked(isa, of, a, b, ring)
    assert torch.equal(found[0], crow)
    assert torch.equal(found[1], col.long())
    assert bits(found[2]) == bits(values)


@pytest.mark.parametrize("name", CASES)
def test_patterns(isa, name):
    of = CASES[name]
    crow, col = reference.masked_pattern(*of.a, *of.b, of.columns, *of.pattern)
    found = masked_pattern(isa, of)
    assert torch.equal(found[0], crow)
    assert torch.equal(found[1], col.long())


@pytest.mark.parametrize("share", [0.001, 0.02, 0.9])
def test_against_scipy(isa, share):
    """Rows of more products than are put aside at a time; masks short enough for rows of b to be searched."""
    of = case(60, 300, 900, 0.2)
    of = of._replace(pattern=pattern_of(np.random.default_rng(2).random((60, 900)) < share))
    a, b = small(len(of.a.col), torch.float32) + 3, small(len(of.b.col), torch.float32, 1) + 3
    matrices = [
        sp.csr_array((x.numpy(), y.col.numpy(), y.crow.numpy()), shape=shape)
        for x, y, shape in ((a, of.a, (60, 300)), (b, of.b, (300, 900)))
    ]
    mask = sp.csr_array((np.ones(len(of.pattern.col)), of.pattern.col.numpy(), of.pattern.crow.numpy()), (60, 900))
    expected = (matrices[0] @ matrices[1]).multiply(mask).tocsr()
    expected.sort_indices()
    crow, col, values = masked(isa, of, a, b)
    assert np.array_equal(crow, expected.indptr)
    assert np.array_equal(col, expected.indices)
    assert np.array_equal(values, expected.data)


def test_triangles(isa):
    """The classic use: triangles of a graph, each counted once."""
    generator = np.random.default_rng(5)
    graph = np.triu(generator.random((80, 80)) < 0.2, 1)
    graph |= graph.T
    lower = pattern_of(np.tril(graph, -1))
    ones = torch.ones(len(lower.col), dtype=torch.int64)
    _, _, values = masked(isa, Case(lower, lower, lower, 80), ones, ones)
    whole = graph.astype(int)
    assert values.sum() == np.trace(whole @ whole @ whole) // 6


def test_structural_zeros_stay(isa):
    of = case(4, 6, 8, 1.0)
    crow, _, values = masked(isa, of, torch.zeros(24), torch.ones(48))
    assert len(values) == len(of.pattern.col)
    assert torch.equal(crow, of.pattern.crow)
    assert not values.any()


def test_very_wide(isa):
    last = 2**31 - 2
    a = Pattern(torch.tensor([0, 2, 3]), torch.tensor([0, 1, 1], dtype=torch.int32))
    b = Pattern(torch.tensor([0, 2, 4]), torch.tensor([5, last, 7, last], dtype=torch.int32))
    mask = Pattern(torch.tensor([0, 4, 6]), torch.tensor([5, 6, 7, last, 4, last], dtype=torch.int32))
    of = Case(a, b, mask, last + 1)
    crow, col, values = masked(isa, of, torch.tensor([1.0, 2, 3]), torch.tensor([1.0, 10, 100, 1000]), 2)
    assert (crow.tolist(), col.tolist()) == ([0, 3, 4], [5, 7, last, last])
    assert values.tolist() == [2, 102, 11, 1003]
    assert [x.tolist() for x in masked_pattern(isa, of)] == [crow.tolist(), col.tolist()]


def test_threads_change_nothing(isa):
    of = case(3000, 200, 300, 0.05)
    a, b = normal(len(of.a.col), torch.float32), normal(len(of.b.col), torch.float32, 1)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        found.append(bits(*masked(isa, of, a, b), *masked_pattern(isa, of)))
    torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("index", [torch.int32, torch.int64])
def test_operators_keep_the_index_type(index):
    of = case(30, 40, 50)
    a, b = small(len(of.a.col), torch.float64), small(len(of.b.col), torch.float64, 1)
    indices = [x.to(index) for part in (of.a, of.b, of.pattern) for x in part]
    crow, col, values = torch.ops.warphash.spgemm_masked(*indices[:2], a, *indices[2:4], b, 50, 0, *indices[4:])
    expected = masked("scalar", of, a, b)
    assert crow.dtype == col.dtype == index
    assert torch.equal(crow.long(), expected[0])
    assert torch.equal(col.long(), expected[1])
    assert torch.equal(values, expected[2])
    found = torch.ops.warphash.spgemm_masked_pattern(*indices[:4], 50, *indices[4:])
    assert torch.equal(found[0], crow)
    assert torch.equal(found[1], col)


@pytest.mark.parametrize(
    ("pointers", "columns", "text"),
    [
        ([0, 1, 2], [0, 5], r"the mask's columns must be in \[-1, 5\), got 5 at entry 1"),
        ([0, 1, 2], [-2, 0], "the mask's columns"),
        ([0, 2, 1], [0, 1], "the mask's row pointers"),
    ],
)
def test_broken_masks(isa, pointers, columns, text):
    of = case(2, 3, 5, 1.0)
    of = of._replace(pattern=Pattern(torch.tensor(pointers), torch.tensor(columns, dtype=torch.int32)))
    for call in (lambda: masked(isa, of, torch.ones(6), torch.ones(15)), lambda: masked_pattern(isa, of)):
        with pytest.raises((ValueError, IndexError), match=text):
            call()
    operands = (of.a.crow, of.a.col.long(), of.b.crow, of.b.col.long(), 5, of.pattern.crow, of.pattern.col.long())
    with pytest.raises((ValueError, IndexError), match=text):
        torch.ops.warphash.spgemm_masked_pattern(*operands)


@pytest.mark.parametrize("call", [masked, masked_pattern])
def test_other_threads_of_python_run_meanwhile(isa, call):
    """The interpreter's lock is not held while kernels work."""
    of = case(500, 500, 700, 1.0)
    of = of._replace(pattern=pattern_of(np.random.default_rng(2).random((500, 700)) < 0.5))
    values = (
        () if call is masked_pattern else (normal(len(of.a.col), torch.float64), normal(len(of.b.col), torch.float64))
    )
    times: list[float] = []

    def work() -> None:
        times.append(time.perf_counter())
        call(isa, of, *values)
        times.append(time.perf_counter())

    thread = threading.Thread(target=work)
    thread.start()
    seen = []
    while thread.is_alive():
        seen.append(time.perf_counter())
        time.sleep(0.001)
    begin, end = times
    assert any(begin + 0.2 * (end - begin) < moment < begin + 0.8 * (end - begin) for moment in seen)
