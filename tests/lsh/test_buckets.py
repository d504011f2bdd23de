# SPDX-License-Identifier: Apache-2.0
"""Bucket tables: the sort's promises, look-ups by brute force, sort_lsh as published, derivatives of sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import warphash as wh
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from .samples_buckets import CODES, codes, values


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


# ---- sorting -------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(("tables", "items"), [(1, 200_001), (2, 70_000), (9, 40_000), (3, 1000)])
@pytest.mark.parametrize("buckets", [1, 200, 2049, 70_000])
def test_sort_is_numpys(tables, items, buckets):
    named = codes(tables, items, below=buckets, dtype=torch.int32)
    table = wh.lsh.bucket_sort(named, buckets)
    assert np.array_equal(table.order.numpy(), np.argsort(named.numpy(), axis=1, kind="stable"))
    places = torch.arange(items).expand(tables, -1)
    assert torch.equal(table.inverse.gather(1, table.order), places)
    assert torch.equal(table.order.gather(1, table.inverse), places)
    counts = torch.stack([torch.bincount(row, minlength=buckets) for row in named])
    assert torch.equal(table.offsets.diff(dim=1), counts)
    assert (table.offsets[:, 0] == 0).all()
    assert (table.offsets[:, -1] == items).all()
    assert table.num_buckets == buckets


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("buckets", [300, 5000])
@pytest.mark.parametrize("place", [0, 99_999, 150_000])
def test_a_code_outside_is_found_wherever_it_is(buckets, place):
    named = codes(1, 200_000, below=buckets, dtype=torch.int32)
    for wrong in (buckets, -1, 2**31 - 1, -(2**31)):
        named[0, place] = wrong
        with pytest.raises(IndexError, match=rf"^codes must be in \[0, {buckets}\), got {wrong}"):
            wh.lsh.bucket_sort(named, buckets)


@pytest.mark.parametrize("dtype", CODES)
def test_the_ends_of_dtypes(dtype):
    limits = torch.iinfo(dtype)
    top = min(limits.max, 70_000)
    named = torch.tensor([top, 0, top, 5], dtype=dtype)
    assert wh.lsh.bucket_sort(named, top + 1).order.tolist() == [1, 3, 0, 2]
    if limits.min < 0:
        with pytest.raises(IndexError, match=rf"got {limits.min}"):
            wh.lsh.bucket_sort(torch.tensor([limits.min], dtype=dtype), 10)


@pytest.mark.memory
def test_a_result_of_no_memory_is_refused():
    with pytest.raises(MemoryError, match=r"^not enough memory: 35184372088864 bytes wanted for a result of shape"):
        wh.lsh.bucket_sort(codes(4, 10), 2**40)


def test_numpy_in_numpy_out():
    table = wh.lsh.bucket_sort(np.array([2, 0, 2], np.int16), 3)
    assert [type(part) for part in table] == [np.ndarray] * 3
    offsets, found = wh.lsh.bucket_query(table, np.array([2]))
    assert (offsets.tolist(), found.tolist()) == ([0, 2], [0, 2])
    assert table.num_buckets == 3


def test_golden():
    named = torch.tensor([[5, 1, 5, 0, 1, 7], [7, 7, 7, 0, 0, 3]])
    table = wh.lsh.bucket_sort(named, 8)
    assert table.order.tolist() == [[3, 1, 4, 0, 2, 5], [3, 4, 5, 0, 1, 2]]
    assert table.inverse.tolist() == [[3, 1, 4, 0, 2, 5], [3, 4, 5, 0, 1, 2]]
    assert table.offsets.tolist() == [[0, 1, 3, 3, 3, 3, 5, 5, 6], [0, 2, 2, 2, 3, 3, 3, 3, 6]]
    offsets, found = wh.lsh.bucket_query(table, torch.tensor([[5, 0, 2], [7, 7, 1]]))
    assert (offsets.tolist(), found.tolist()) == ([0, 3, 7, 7], [0, 1, 2, 0, 1, 2, 3])


# ---- look-ups ------------------------------------------------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(0, 60), st.integers(1, 12), st.integers(0, 8), st.integers(0, 2**20))
def test_candidates_are_those_of_brute_force(tables, items, buckets, queries, seed):
    named = codes(tables, items, below=buckets, seed=seed)
    asked = codes(tables, queries, below=buckets, seed=seed + 1)
    offsets, found = wh.lsh.bucket_query(wh.lsh.bucket_sort(named, buckets), asked)
    for query in range(queries):
        expected = (named == asked[:, query : query + 1]).any(0).nonzero().flatten()
        assert torch.equal(found[offsets[query] : offsets[query + 1]], expected)


def test_a_single_table_takes_flat_codes():
    table = wh.lsh.bucket_sort(torch.tensor([1, 0, 1]), 2)
    offsets, found = wh.lsh.bucket_query(table, torch.tensor([1, 0]))
    assert (offsets.tolist(), found.tolist()) == ([0, 2, 3], [0, 2, 1])


def test_what_is_no_table():
    with pytest.raises(TypeError, match=r"^table must be a BucketTable, as bucket_sort gives it, got tuple"):
        wh.lsh.bucket_query(tuple(wh.lsh.bucket_sort(codes(5), 10)), codes(1))


# ---- sorting by code -----------------------------------------------------------------------------------------------
def _gray(bits: int) -> Tensor:
    """The reflected code of each rank."""
    ranks = torch.arange(1 << bits)
    return ranks ^ (ranks >> 1)


@pytest.mark.parametrize("bits", [0, 1, 3, 7, 16])
def test_sort_lsh_is_the_published_recipe(bits):
    x = values(2, 3, 500, 24)
    planes = wh.lsh.random_planes(24, bits, seed=1)
    table = wh.lsh.sort_lsh(x, planes)
    signs = torch.einsum("...d,db->...b", x.double(), planes.double()) >= 0
    named = (signs * 2 ** torch.arange(bits)).sum(-1)
    rank_of = torch.empty(1 << bits, dtype=torch.int64).scatter_(0, _gray(bits), torch.arange(1 << bits))
    ranks, order = rank_of[named].sort(dim=-1, stable=True)
    assert torch.equal(table.order, order)
    assert torch.equal(table.inverse.gather(-1, order), torch.arange(500).expand(2, 3, -1))
    edges = torch.arange((1 << bits) + 1).expand(2, 3, -1).contiguous()
    assert torch.equal(table.offsets, torch.searchsorted(ranks.contiguous(), edges))


def test_neighbouring_buckets_differ_in_one_sign():
    planes = torch.eye(5)
    corners = torch.tensor([[1.0 if code >> bit & 1 else -1.0 for bit in range(5)] for code in range(32)])
    table = wh.lsh.sort_lsh(corners, planes)
    assert table.offsets.tolist() == list(range(33))
    steps = table.order[1:] ^ table.order[:-1]
    assert all(int(step).bit_count() == 1 for step in steps)


@pytest.mark.parametrize(
    ("x", "planes", "error", "text"),
    [
        (values(4), wh.lsh.random_planes(4, 2, seed=0), ValueError, r"^x must be \[..., N, dim\]"),
        (values(3, 4), wh.lsh.random_planes(4, 17, seed=0), ValueError, r"^planes must be .* at most 16 bits"),
        (values(3, 4), values(4), ValueError, r"^planes must be \[dim, bits\]"),
        (values(3, 4), wh.lsh.random_planes(5, 2, seed=0), ValueError, r"^planes must have"),
        (values(3, 4).int(), wh.lsh.random_planes(4, 2, seed=0), TypeError, r"^x must be"),
        (values(3, 4), wh.lsh.random_planes(5, 0, seed=0), ValueError, r"^planes must have"),
        (values(3, 4).int(), wh.lsh.random_planes(4, 0, seed=0), TypeError, r"^x must be"),
    ],
)
def test_sort_lsh_refuses(x, planes, error, text):
    with pytest.raises(error, match=text):
        wh.lsh.sort_lsh(x, planes)


# ---- sums ----------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("tables", "buckets"), [(1, 3), (1, 5000), (24, 8), (2, 1)])
def test_sums_do_not_depend_on_how_they_are_cut(dtype, tables, buckets):
    x, named = values(2, 1, 3000, 17, dtype=dtype), codes(2, tables, 3000, below=buckets, lowest=-1)
    found = wh.lsh.bucket_sum(x, named, buckets)
    wide = x.float() if dtype.itemsize == 2 else x
    expected = wide.new_zeros(2, tables, buckets, 17)
    for b in range(2):
        for t in range(tables):
            kept = named[b, t] >= 0
            # index_add on one thread adds in the order of the rows.
            expected[b, t].index_add_(0, named[b, t][kept], wide[b, 0][kept])
    assert torch.equal(found, expected.to(dtype))


def test_values_are_not_repeated_in_memory():
    x, named = values(1, 1, 4, 3).double(), codes(1, 2, 4, below=3)
    tables = [wh.lsh.bucket_sum(x[0, 0], named[0, t], 3) for t in range(2)]
    assert torch.equal(wh.lsh.bucket_sum(x, named, 3), torch.stack(tables).unsqueeze(0))
    # 2^16 tables over values that would be 64 GiB if each had its own.
    many = wh.lsh.bucket_sum(values(1, 1024, 256), torch.full((1,), -1).expand(1 << 16, 1024), 1)
    assert many.shape == (1 << 16, 1, 256)
    assert not many.any()


def test_each_is_the_adjoint_of_the_other():
    x, table = values(2, 1, 30, 5).double(), values(2, 4, 6, 5, seed=1).double()
    named = codes(2, 4, 30, below=6, lowest=-1)
    through_sum = (wh.lsh.bucket_sum(x, named, 6) * table).sum()
    through_mean = 4 * (wh.lsh.bucket_gather_mean(table, named) * x.squeeze(1)).sum()
    torch.testing.assert_close(through_sum, through_mean)


def test_derivatives():
    named = codes(2, 3, 5, below=4, lowest=-1)
    x, table = values(2, 1, 5, 3).double().requires_grad_(), values(2, 3, 4, 3).double().requires_grad_()
    for function, argument in (
        (lambda x: wh.lsh.bucket_sum(x, named, 4), x),
        (lambda x: wh.lsh.bucket_sum(x, named, 4).square(), x),
        (lambda table: wh.lsh.bucket_gather_mean(table, named), table),
        (lambda table: wh.lsh.bucket_gather_mean(table, named).sin(), table),
    ):
        assert torch.autograd.gradcheck(function, argument)
        assert torch.autograd.gradgradcheck(function, argument)


@pytest.mark.parametrize("name", ["sum", "mean"])
def test_second_derivatives_inside_of_a_graph(name):
    named = codes(2, 3, 9, below=4, lowest=-1)
    if name == "sum":
        x = values(2, 1, 9, 3).requires_grad_()
        inner = lambda y: wh.lsh.bucket_sum(y, named, 4).pow(3).sum()  # noqa: E731
    else:
        x = values(2, 3, 4, 5).requires_grad_()
        inner = lambda y: wh.lsh.bucket_gather_mean(y, named).pow(3).sum()  # noqa: E731

    def penalty(x: Tensor) -> Tensor:
        return torch.func.grad(inner)(x).square().sum()

    expected = torch.autograd.grad(penalty(x), x)[0]
    assert expected.abs().sum() > 0
    compiled = torch.compile(penalty, fullgraph=True)
    torch.testing.assert_close(torch.autograd.grad(compiled(x), x)[0], expected)


def test_an_encoder_is_one_graph():
    """Hash, sums by bucket, means over tables, as attention by hashing has them, with the gradient to its inputs."""
    planes = wh.lsh.random_planes(6, 12, seed=1).view(6, 4, 3)

    def interest(history: Tensor, candidates: Tensor) -> Tensor:
        named = [wh.lsh.simhash_codes(x.detach(), planes).mT for x in (history, candidates)]
        table = wh.lsh.bucket_sum(history.unsqueeze(1), named[0], 8)
        return wh.lsh.bucket_gather_mean(table, named[1])

    history, candidates = values(2, 20, 6).requires_grad_(), values(2, 5, 6, seed=1)
    expected = interest(history, candidates)
    (gradient,) = torch.autograd.grad(expected.sin().sum(), history)
    found = torch.compile(interest, fullgraph=True)(history, candidates)
    assert torch.equal(found, expected)
    assert torch.equal(torch.autograd.grad(found.sin().sum(), history)[0], gradient)


def test_sort_lsh_is_one_graph():
    x, planes = values(2, 50, 6), wh.lsh.random_planes(6, 3, seed=1)
    found = torch.compile(wh.lsh.sort_lsh, fullgraph=True)(x, planes)
    assert found.num_buckets == 8
    assert all(torch.equal(a, b) for a, b in zip(found, wh.lsh.sort_lsh(x, planes), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_autocast_changes_nothing(dtype):
    x, named = values(2, 1, 9, 3, dtype=dtype), codes(2, 3, 9, below=4)
    sums = wh.lsh.bucket_sum(x, named, 4)
    means = wh.lsh.bucket_gather_mean(sums, named)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = wh.lsh.bucket_sum(x, named, 4)
        assert found.dtype == dtype
        assert torch.equal(found, sums)
        assert torch.equal(wh.lsh.bucket_gather_mean(sums, named), means)
