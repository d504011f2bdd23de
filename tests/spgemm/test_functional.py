# SPDX-License-Identifier: Apache-2.0
"""The product: what SciPy and the definition say, every dtype, semiring and shape, masks, order, wide matrices."""

from __future__ import annotations

import gc
import itertools
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse
import torch
import warphash as wh
from hypothesis import given, settings
from hypothesis import strategies as st
from warphash.spgemm import csr as room

from spgemm.matrices import FLOATS, SEMIRINGS, VALUES, canonical, csr, expected, parts, random_csr, same, to_scipy

matmul = wh.spgemm.matmul
INDICES = (torch.int32, torch.int64)


def _known(semiring: str, dtype: torch.dtype) -> bool:
    return dtype != torch.bool or semiring in ("plus_times", "or_and")


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(0, 12),
    st.sampled_from([0.0, 0.1, 0.4, 1.0]),
    st.integers(0, 99),
    st.sampled_from(VALUES),
    st.sampled_from(list(itertools.product(INDICES, INDICES))),
    st.booleans(),
)
def test_scipy_agrees(rows, inner, columns, density, seed, dtype, indices, messy) -> None:
    a = random_csr(rows, inner, density, seed, dtype, indices[0], messy)
    b = random_csr(inner, columns, 0.3, seed + 1, dtype, indices[1], messy)
    c = matmul(a, b)
    product = to_scipy(a) @ to_scipy(b)
    wanted = torch.from_numpy(product.toarray())
    assert c.dtype == dtype
    assert c.crow_indices().dtype == torch.promote_types(*indices)
    assert torch.equal(c.to_dense().to(wanted.dtype), wanted)
    # SciPy leaves out what cancels; counted in ones nothing does.
    ones = [scipy.sparse.csr_array((np.ones(x._nnz()), *map(np.asarray, parts(x)[1::-1])), x.shape) for x in (a, b)]
    pattern = ones[0] @ ones[1]
    pattern.sort_indices()
    assert np.array_equal(c.crow_indices().numpy(), pattern.indptr)
    assert np.array_equal(c.col_indices().numpy(), pattern.indices)
    dropped = matmul(a, b, drop_zeros=True)
    product.eliminate_zeros()
    product.sort_indices()
    assert np.array_equal(dropped.col_indices().numpy(), product.indices)
    assert np.array_equal(dropped.crow_indices().numpy(), product.indptr)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 99),
    st.sampled_from([(s, d) for s in SEMIRINGS for d in VALUES if _known(s, d)]),
    st.booleans(),
    st.sampled_from([None, False, True]),
)
def test_the_definition_bit_for_bit(rows, inner, columns, seed, ring, messy, complement) -> None:
    semiring, dtype = ring
    a = random_csr(rows, inner, 0.4, seed, dtype, messy=messy, real=dtype.is_floating_point and not messy)
    b = random_csr(inner, columns, 0.4, seed + 1, dtype, messy=messy, real=dtype.is_floating_point and not messy)
    mask = None if complement is None else random_csr(rows, columns, 0.5, seed + 2, torch.bool, messy=messy)
    got = matmul(a, b, semiring=semiring, mask=mask, complement=bool(complement))
    assert same(got, expected(a, b, semiring, mask, bool(complement)))


@pytest.mark.parametrize("semiring", SEMIRINGS)
def test_a_mask_is_the_full_product_on_it(semiring: str) -> None:
    a, b = random_csr(40, 30, real=True), random_csr(30, 50, seed=1, real=True)
    mask = random_csr(40, 50, 0.3, 2)
    full = matmul(a, b, semiring=semiring)
    on = mask.to_dense().double().abs() >= 0  # stored zeros are part of a mask
    on[:] = False
    on[wh.spgemm.csr.rows_of(mask.crow_indices()).long(), mask.col_indices().long()] = True
    rows = wh.spgemm.csr.rows_of(full.crow_indices()).long()
    inside = on[rows, full.col_indices().long()]
    for complement in (False, True):
        got = matmul(a, b, semiring=semiring, mask=mask, complement=complement)
        kept = inside != complement
        assert torch.equal(got.values(), full.values()[kept])
        assert torch.equal(got.col_indices(), full.col_indices()[kept])


def test_masks_of_nothing_and_of_everything() -> None:
    a, b = random_csr(9, 8, real=True), random_csr(8, 7, seed=1, real=True)
    full = matmul(a, b)
    none, every = random_csr(9, 7, 0.0), random_csr(9, 7, 1.0)
    assert matmul(a, b, mask=none)._nnz() == 0
    assert same(matmul(a, b, mask=none, complement=True), full)
    assert same(matmul(a, b, mask=every), full)
    assert matmul(a, b, mask=every, complement=True)._nnz() == 0


@pytest.mark.parametrize(
    ("rows", "inner", "columns"), [(0, 0, 0), (0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 1, 1), (1, 300, 1), (70, 1, 70)]
)
@pytest.mark.parametrize("index", INDICES)
def test_shapes(rows: int, inner: int, columns: int, index: torch.dtype) -> None:
    a = random_csr(rows, inner, 1.0, index=index)
    b = random_csr(inner, columns, 1.0, seed=1, index=index)
    c = matmul(a, b)
    assert same(c, expected(a, b))
    for semiring in SEMIRINGS:
        assert same(matmul(a, b, semiring=semiring, mask=c), expected(a, b, semiring, c))


def test_hub_row_hub_column_and_empty_rows() -> None:
    size = 400
    present = torch.zeros(size, size, dtype=torch.bool)
    present[7], present[:, 9] = True, True
    present[100:200] = False
    crow = torch.cat([torch.zeros(1, dtype=torch.int64), present.sum(1).cumsum(0)])
    a = csr(crow, present.nonzero()[:, 1], torch.randn(int(crow[-1]), dtype=torch.float64), (size, size))
    assert same(matmul(a, a), expected(a, a))


def test_powers_of_one_matrix_and_its_transpose() -> None:
    a = random_csr(30, 30, 0.15, real=True)
    dense = a.to_dense()
    t = dense.T.contiguous().to_sparse_csr()
    torch.testing.assert_close(matmul(a, a).to_dense(), dense @ dense)
    torch.testing.assert_close(matmul(a, t).to_dense(), dense @ dense.T)
    # (A B)^T = B^T A^T
    b = random_csr(30, 20, 0.2, 1, real=True)
    left = matmul(a, b).to_dense().T
    torch.testing.assert_close(left, matmul(b.to_dense().T.contiguous().to_sparse_csr(), t).to_dense())


def test_the_product_of_a_vector() -> None:
    a, b = random_csr(200, 300, 0.05, real=True), random_csr(300, 100, 0.05, 1, real=True)
    x = torch.randn(100, dtype=torch.float64)
    torch.testing.assert_close(matmul(a, b).to_dense() @ x, a.to_dense() @ (b.to_dense() @ x))


def test_identity_and_permutation() -> None:
    a = random_csr(20, 20, 0.3, real=True, index=torch.int64)
    eye = csr(torch.arange(21), torch.arange(20), torch.ones(20, dtype=torch.float64), (20, 20))
    assert same(matmul(a, eye), a)
    assert same(matmul(eye, a), a)
    order = torch.randperm(20)
    permutation = csr(torch.arange(21), order, torch.ones(20, dtype=torch.float64), (20, 20))
    assert torch.equal(matmul(permutation, a).to_dense(), a.to_dense()[order])


def test_structural_zeros_stay() -> None:
    a = csr([0, 2], [0, 1], [1.0, 1.0], (1, 2))
    b = csr([0, 2, 4], [0, 1, 0, 1], [1.0, 2.0, -1.0, 3.0], (2, 2))
    c = matmul(a, b)
    assert c.col_indices().tolist() == [0, 1]
    assert c.values().tolist() == [0.0, 5.0]
    assert matmul(a, b, drop_zeros=True).col_indices().tolist() == [1]
    nan = csr([0, 1], [0], [torch.nan], (1, 1))
    assert matmul(nan, nan, drop_zeros=True)._nnz() == 1


def test_drop_zeros_drops_what_an_empty_sum_is() -> None:
    a = csr([0, 2], [0, 1], [torch.inf, 0.0], (1, 2))
    b = csr([0, 1, 2], [0, 1], [0.0, 0.0], (2, 2))
    assert matmul(a, b, semiring="min_plus", drop_zeros=True).col_indices().tolist() == [1]
    assert matmul(a, b, semiring="or_and", drop_zeros=True)._nnz() == 0


def test_nan_and_infinity_reach_only_their_own_entries() -> None:
    for value in (torch.nan, torch.inf, -torch.inf):
        a = random_csr(20, 15, 0.3, real=True)
        b = random_csr(15, 25, 0.3, 1, real=True)
        values = a.values().clone()
        values[7] = value
        row, inner = int(wh.spgemm.csr.rows_of(a.crow_indices())[7]), int(a.col_indices()[7])
        odd = matmul(wh.spgemm.csr.build(a.crow_indices(), a.col_indices(), values, a.shape), b)
        touched = torch.zeros(20, 25, dtype=torch.bool)
        touched[row, b.to_dense()[inner] != 0] = True
        assert torch.equal(~odd.to_dense().isfinite(), touched)


def test_nan_wins_and_ors_as_true() -> None:
    a = csr([0, 2], [0, 1], [torch.nan, -torch.inf], (1, 2))
    b = csr([0, 1, 2], [0, 0], [1.0, 1.0], (2, 1))
    for semiring in ("min_plus", "max_times"):
        assert matmul(a, b, semiring=semiring).values().isnan().all()
    got = matmul(csr([0, 1], [0], [torch.nan], (1, 1)), csr([0, 1], [0], [2.0], (1, 1)), semiring="or_and")
    assert got.dtype == torch.bool
    assert got.values().tolist() == [True]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_summed_in_float32(dtype: torch.dtype) -> None:
    count = 3000
    a = csr([0, count], torch.arange(count), torch.full((count,), 1.0, dtype=dtype), (1, count))
    b = csr(torch.arange(count + 1), torch.zeros(count, dtype=torch.int64), torch.ones(count, dtype=dtype), (count, 1))
    assert matmul(a, b).values().tolist() == [torch.tensor(3000.0, dtype=dtype).item()]
    big = csr([0, 2], [0, 1], torch.tensor([60000.0, -60000.0]).to(dtype), (1, 2))
    twos = csr([0, 1, 2], [0, 0], torch.tensor([2.0, 2.0], dtype=dtype), (2, 1))
    assert matmul(big, twos).values().tolist() == [0.0]


def test_integers_wrap_around() -> None:
    for dtype in (torch.int32, torch.int64):
        most = torch.iinfo(dtype).max
        a = csr([0, 2], [0, 1], torch.tensor([most, 1], dtype=dtype), (1, 2))
        b = csr([0, 1, 2], [0, 0], torch.tensor([1, 1], dtype=dtype), (2, 1))
        assert matmul(a, b).values().tolist() == [torch.iinfo(dtype).min]


# ---- Order, wide matrices, parts ------------------------------------------------------------------------------------
@pytest.mark.parametrize("semiring", SEMIRINGS)
def test_duplicates_are_combined_by_the_semiring(semiring: str) -> None:
    for dtype in VALUES:
        if not _known(semiring, dtype):
            continue
        a, b = random_csr(9, 8, 0.4, 1, dtype, messy=True), random_csr(8, 7, 0.4, 2, dtype, messy=True)
        clean = [canonical(x, semiring) for x in (a, b)]
        assert same(matmul(a, b, semiring=semiring), matmul(*clean, semiring=semiring))


def test_nan_among_duplicates() -> None:
    a = csr([0, 3], [0, 0, 0], [-torch.inf, torch.nan, 1.0], (1, 1))
    b = csr([0, 1], [0], [1.0], (1, 1))
    for semiring in SEMIRINGS[2:]:
        assert matmul(a, b, semiring=semiring).values().isnan().all()


def test_unsorted_masks() -> None:
    a, b = random_csr(9, 8, 0.4, 1), random_csr(8, 7, 0.4, 2)
    mask = random_csr(9, 7, 0.5, 3, messy=True)
    assert same(matmul(a, b, mask=mask), matmul(a, b, mask=canonical(mask)))


def test_validate_off_gives_the_same() -> None:
    a, b = random_csr(9, 8, 0.4, 1), random_csr(8, 7, 0.4, 2)
    assert same(matmul(a, b, validate=False), matmul(a, b))
    assert torch.equal(wh.spgemm.topk(a, b, 3, validate=False)[1], wh.spgemm.topk(a, b, 3)[1])


def test_columns_beyond_32_bits() -> None:
    wide = 2**40
    col = torch.tensor([5, 2**31 - 1, 2**31, wide - 1])
    b = csr([0, 2, 4], col, [1.0, 2.0, 3.0, 4.0], (2, wide))
    a = csr([0, 1, 3], [1, 0, 1], [10.0, 100.0, 1000.0], (2, 2))
    c = matmul(a, b)
    assert c.shape == (2, wide)
    assert c.col_indices().tolist() == [2**31, wide - 1, 5, 2**31 - 1, 2**31, wide - 1]
    assert c.values().tolist() == [30.0, 40.0, 100.0, 200.0, 3000.0, 4000.0]
    mask = csr([0, 2, 4], [7, 2**31, 0, wide - 1], torch.ones(4), (2, wide))
    assert matmul(a, b, mask=mask).col_indices().tolist() == [2**31, wide - 1]
    assert matmul(a, b, mask=mask, complement=True).col_indices().tolist() == [wide - 1, 5, 2**31 - 1, 2**31]
    values, found = wh.spgemm.topk(a, b, 3)
    assert found.tolist() == [[wide - 1, 2**31, -1], [wide - 1, 2**31, 2**31 - 1]]
    assert values.tolist() == [[40.0, 30.0, -torch.inf], [4000.0, 3000.0, 200.0]]
    plan = wh.spgemm.plan(a, b)
    assert torch.equal(plan.col, c.col_indices())
    assert torch.equal(plan.matmul(a, b), c.values())
    assert matmul(a, csr([0, 0, 0], [], torch.zeros(0), (2, wide))).shape == (2, wide)
    assert wh.spgemm.topk(a, csr([0, 0, 0], [], torch.zeros(0), (2, wide)), 2)[1].tolist() == [[-1, -1]] * 2


def test_narrow_limits_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the limits of columns and inner indices where small matrices meet them."""
    a, b = random_csr(20, 30, 0.2, real=True, messy=True), random_csr(30, 40, 0.05, 1, real=True, messy=True)
    mask = random_csr(20, 40, 0.4, 2, messy=True)

    def answers() -> list[torch.Tensor]:
        first, second = (x.detach().clone().requires_grad_() for x in (a, b))
        c = matmul(first, second)
        c.values().sin().sum().backward()
        plan = wh.spgemm.plan(a, b, semiring="min_plus")
        masked = matmul(a, b, mask=mask)
        values, indices = wh.spgemm.topk(a, b, 5)
        grads = [x.grad.values() for x in (first, second)]
        return [*parts(c), *grads, plan.col, plan.matmul(a, b), *parts(masked), values, indices]

    plain = answers()
    monkeypatch.setattr(room, "MOST_COLUMNS", 10)
    for x, y in zip(answers(), plain, strict=True):
        assert torch.equal(x, y)


def test_row_chunks_are_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = random_csr(50, 30, 0.2, real=True), random_csr(30, 40, 0.1, 1, real=True)
    mask = random_csr(50, 40, 0.4, 2)
    whole = {}
    for name, options in {
        "plain": {},
        "min_plus": {"semiring": "min_plus"},
        "or_and": {"semiring": "or_and"},
        "masked": {"mask": mask},
        "complement": {"mask": mask, "complement": True},
        "dropped": {"drop_zeros": True},
    }.items():
        whole[name] = matmul(a, b, **options)
        for most in (700, 2000, 10**9):
            row = 0
            for begin, piece in wh.spgemm.row_chunks(a, b, max_bytes=most, **options):
                assert begin == row
                row += piece.shape[0]
                assert sum(x.numel() * x.element_size() for x in parts(piece)) <= most
                start, stop = whole[name].crow_indices()[[begin, row]].tolist()
                assert torch.equal(piece.values(), whole[name].values()[start:stop])
                assert torch.equal(piece.col_indices(), whole[name].col_indices()[start:stop])
            assert row == 50


def test_row_chunks_of_no_rows() -> None:
    pieces = list(wh.spgemm.row_chunks(random_csr(0, 3), random_csr(3, 4), max_bytes=100))
    assert [(begin, piece.shape) for begin, piece in pieces] == [(0, (0, 4))]


def test_row_chunks_carry_gradients() -> None:
    a, b = (random_csr(*shape, 0.2, real=True).requires_grad_() for shape in ((50, 30), (30, 40)))
    sum(piece.values().sin().sum() for _, piece in wh.spgemm.row_chunks(a, b, max_bytes=2000)).backward()
    grads = [x.grad.values().clone() for x in (a, b)]
    a.grad = b.grad = None
    matmul(a, b).values().sin().sum().backward()
    torch.testing.assert_close(grads, [x.grad.values() for x in (a, b)])


@pytest.mark.parametrize("semiring", SEMIRINGS)
@pytest.mark.parametrize("together", [1, 50, 2**16])
def test_matmul_many_is_the_loop(semiring: str, together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wh.spgemm.functional, "TOGETHER_COLUMNS", together)
    shapes = [(5, 7, 9), (0, 3, 4), (20, 30, 25), (3, 0, 2), (3, 4, 0), (6, 6, 6)]
    a = [random_csr(m, k, 0.3, i, messy=True) for i, (m, k, _) in enumerate(shapes)]
    b = [random_csr(k, n, 0.3, i, messy=True) for i, (_, k, n) in enumerate(shapes)]
    a[5] = b[5] = random_csr(6, 6, index=torch.int64)
    for got, x, y in zip(wh.spgemm.matmul_many(a, b, semiring=semiring), a, b, strict=True):
        assert same(got, matmul(x, y, semiring=semiring))
    assert wh.spgemm.matmul_many([], []) == []


def test_matmul_many_carries_gradients() -> None:
    a = [random_csr(5, 6, 0.4, i, real=True).requires_grad_() for i in range(3)]
    b = [random_csr(6, 4, 0.4, i, real=True).requires_grad_() for i in range(3)]
    sum(c.values().sin().sum() for c in wh.spgemm.matmul_many(a, b)).backward()
    for x, y in zip(a, b, strict=True):
        alone = [z.detach().clone().requires_grad_() for z in (x, y)]
        matmul(*alone).values().sin().sum().backward()
        torch.testing.assert_close([x.grad.values(), y.grad.values()], [z.grad.values() for z in alone])


# ---- The largest entries --------------------------------------------------------------------------------------------
@settings(max_examples=80, deadline=None)
@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 12), st.integers(0, 99),
       st.sampled_from(FLOATS), st.booleans())  # fmt: skip
def test_topk_is_the_definition(rows, inner, columns, k, seed, dtype, messy) -> None:
    a = random_csr(rows, inner, 0.4, seed, dtype, messy=messy)
    b = random_csr(inner, columns, 0.4, seed + 1, dtype, torch.int64, messy=messy)
    values, indices = wh.spgemm.topk(a, b, k)
    x, y = parts(canonical(a)), parts(canonical(b))
    wanted = wh.spgemm.reference.topk(x[0].long(), x[1].long(), x[2], *y, columns, k)
    assert torch.equal(indices, wanted[1])
    assert torch.equal(values, wanted[0])
    assert values.shape == indices.shape == (rows, k)


def test_topk_of_all_is_the_product() -> None:
    a, b = random_csr(30, 20, 0.2, real=True), random_csr(20, 25, 0.2, 1, real=True)
    values, indices = wh.spgemm.topk(a, b, 25)
    kept = indices >= 0
    dense = torch.zeros(30, 25, dtype=torch.float64)
    dense[kept.nonzero()[:, 0], indices[kept]] = values[kept]
    assert torch.equal(dense, matmul(a, b).to_dense())
    assert int(kept.sum()) == matmul(a, b)._nnz()


def test_topk_puts_nan_last() -> None:
    a = csr([0, 3], [0, 1, 2], [1.0, torch.nan, -torch.inf], (1, 3))
    b = csr([0, 1, 2, 3], [2, 0, 1], [1.0, 1.0, 1.0], (3, 3))
    values, indices = wh.spgemm.topk(a, b, 4)
    assert indices.tolist() == [[2, 1, 0, -1]]
    assert values[0, 2].isnan()


# ---- The house's rules ----------------------------------------------------------------------------------------------
def test_no_warning_and_no_change_of_operands() -> None:
    a, b = random_csr(9, 8, 0.4, messy=True), random_csr(8, 7, 0.4, messy=True)
    before = [x.clone() for y in (a, b) for x in parts(y)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matmul(a, b)
    assert all(torch.equal(x, y) for x, y in zip([x for y in (a, b) for x in parts(y)], before, strict=True))


def test_threads_change_nothing() -> None:
    a = random_csr(600, 600, 0.02, real=True)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            results.append(matmul(a, a))
    finally:
        torch.set_num_threads(threads)
    assert all(same(x, results[0]) for x in results)


@pytest.mark.memory
def test_many_small_calls_keep_no_memory(resident: Callable[[], int]) -> None:
    a, b = random_csr(30, 20, 0.2), random_csr(20, 40, 0.2)
    for _ in range(200):
        matmul(a, b)
    gc.collect()
    before = resident()
    for _ in range(1000):
        matmul(a, b)
        wh.spgemm.topk(a, b, 3)
    gc.collect()
    assert resident() - before < 2**22


def test_the_default_device_does_not_matter() -> None:
    a = csr([0, 2, 3], [0, 1, 1], torch.tensor([1.0, 2, 3]), (2, 2))
    index = wh.retrieval.SparseIndex(a)
    wanted = matmul(a, a).to_dense()
    with torch.device("meta"):
        for c in (
            matmul(a, a),
            wh.spgemm.plan(a, a).csr(wh.spgemm.plan(a, a).matmul(a, a)),
            *wh.spgemm.matmul_many([a, a], [a, a]),
            *(piece for _, piece in wh.spgemm.row_chunks(a, a, max_bytes=1000)),
            wh.nn.GraphPower(2)(a)[1],
        ):
            assert c.device.type == "cpu"
            assert torch.equal(c.to_dense(), wanted)
        powers = [wh.nn.GraphPower(2, kind=kind)(a)[1] for kind in ("reach", "shells", "distances")]
        powers += wh.nn.GraphPower(2, normalize="symmetric", self_loops=True)(a)
        tokens = [wh.nn.neighborhood_tokens(a, max_hops=2, walks=walks) for walks in (None, 2)]
        rows = wh.retrieval.sparse_rows([[0, 1], []], [[1.0, 2.0], []], 2)
        index.add(rows)
        found = index.search(rows, 3)[1], index.documents
    for x in (*powers, *tokens, rows, *found):
        assert x.device.type == "cpu"


def test_b_without_entries() -> None:
    """What is fetched ahead of its use lies nowhere then."""
    a, b = random_csr(40, 30, real=True), random_csr(30, 50, 0.0, 1)
    mask = random_csr(40, 50, 0.5, 2)
    assert matmul(a, b)._nnz() == 0
    assert matmul(a, b, mask=mask)._nnz() == 0
    parts = [part for x in (a, b, mask) for part in (x.crow_indices(), x.col_indices(), x.values())]
    assert not torch.ops.warphash.spgemm_numeric(*parts[:8], 50, 0, False).any()
    assert (wh.spgemm.topk(a, b, 2)[1] == -1).all()
