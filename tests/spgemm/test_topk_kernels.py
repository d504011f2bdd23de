# SPDX-License-Identifier: Apache-2.0
"""Largest entries of a product's rows by each instruction set, on NumPy arrays: bit for bit a dense oracle's answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from warphash import _C

Csr = tuple[np.ndarray, np.ndarray, np.ndarray]


def sparse(rows, columns, density, seed, dtype=np.float32, values="positive") -> Csr:
    """A canonical CSR matrix with stored zeros among its entries where values are not positive."""
    generator = np.random.default_rng(seed)
    present = generator.random((rows, columns)) < density
    crow = np.concatenate([[0], present.sum(1).cumsum()]).astype(np.int64)
    col = present.nonzero()[1].astype(np.int32)
    if values == "positive":
        numbers = generator.random(len(col)) + 0.5
    elif values == "mixed":
        numbers = generator.integers(-3, 4, len(col)) / 2
    else:
        numbers = generator.choice(
            [1.0, -1.0, 0.0, np.inf, -np.inf, np.nan], len(col), p=[0.4, 0.3, 0.1, 0.08, 0.08, 0.04]
        )
    return crow, col, numbers.astype(dtype)


def bfloat16_bits(x: np.ndarray) -> np.ndarray:
    return torch.from_numpy(x.astype(np.float32)).bfloat16().view(torch.uint16).numpy()


def wide(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32) if values.dtype == np.float16 else values


def rounded(sums: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """As the values of the product's own dtype, to compare."""
    if dtype == np.uint16:
        return wide(bfloat16_bits(sums))
    with np.errstate(over="ignore"):
        return sums.astype(dtype)


def oracle(a: Csr, b: Csr, columns: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Dense sums in the order of a's columns and which of them are entries; every row sorted whole."""
    a_crow, a_col, a_values = a
    b_crow, b_col, b_values = b
    of_a, of_b = wide(a_values), wide(b_values)
    rows = len(a_crow) - 1
    values = np.full((rows, k), -np.inf, rounded(of_a[:0], a_values.dtype).dtype)
    indices = np.full((rows, k), -1, np.int64)
    for row in range(rows):
        sums = np.zeros(columns, of_a.dtype)
        stored = np.zeros(columns, bool)
        for i in range(a_crow[row], a_crow[row + 1]):
            part = slice(b_crow[a_col[i]], b_crow[a_col[i] + 1])
            with np.errstate(all="ignore"):
                sums[b_col[part]] += of_a[i] * of_b[part]
            stored[b_col[part]] = True
        where = stored.nonzero()[0]
        entries = rounded(sums[where], a_values.dtype)
        order = np.lexsort((where, -np.nan_to_num(entries.astype(np.float64), nan=0.0), np.isnan(entries)))[:k]
        values[row, : len(order)] = entries[order]
        indices[row, : len(order)] = where[order]
    return values, indices


def check(isa: str, a: Csr, b: Csr, columns: int, k: int) -> None:
    values, indices = _C.kernels.spgemm_topk(isa, *a, *b, columns, k)
    assert values.dtype == a[2].dtype
    assert values.shape == indices.shape == (len(a[0]) - 1, k)
    expected, where = oracle(a, b, columns, k)
    np.testing.assert_array_equal(indices, where)
    got = wide(values) if values.dtype == np.uint16 else values
    np.testing.assert_array_equal(got, expected)
    # Both zeros are equal above.
    assert np.array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(expected[~np.isnan(expected)]))


@pytest.mark.parametrize("values", ["positive", "mixed", "special"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.uint16], ids=["f32", "f64", "f16", "bf16"])
def test_against_dense(isa, dtype, values):
    """Rows with many and few products, more than one window of columns, stored zeros, NaN and infinities."""
    for columns, density, k in ((40, 0.3, 7), (5000, 0.2, 25), (9001, 0.002, 12), (300, 0.9, 400), (16, 0.5, 16)):
        a = sparse(12, 30, 0.5, 1, np.float32, values)
        b = sparse(30, columns, density, 2, np.float32, values)
        if dtype == np.uint16:
            a, b = (*a[:2], bfloat16_bits(a[2])), (*b[:2], bfloat16_bits(b[2]))
        else:
            a, b = (*a[:2], a[2].astype(dtype)), (*b[:2], b[2].astype(dtype))
        check(isa, a, b, columns, k)


@pytest.mark.parametrize("columns", [1, 7, 15, 16, 17, 31, 33, 64, 100, 4095, 4096, 4097, 8192, 8209])
def test_widths(isa, columns):
    """Windows and vectors that are not full."""
    for values in ("positive", "mixed"):
        a, b = sparse(5, 9, 0.6, 3, values=values), sparse(9, columns, 0.5, 4, values=values)
        for k in (1, 3, 20):
            check(isa, a, b, columns, k)


def test_long_rows_that_many_rows_meet(isa):
    """Rows of b that are spread out over a window, and beside them some that are not."""
    generator = np.random.default_rng(5)
    parts = [sparse(4, 10_000, density, 6 + i) for i, density in enumerate((0.9, 0.5, 0.12, 0.01))]
    crow = np.concatenate([[0], *[np.diff(part[0]) for part in parts]]).cumsum()
    b = crow, np.concatenate([part[1] for part in parts]), np.concatenate([part[2] for part in parts])
    a = sparse(40, 16, 0.7, 7)
    check(isa, a, b, 10_000, 30)
    # A negative value in the first window alone, then a NaN in the last one, then a factor of 0 and one of infinity.
    for place, value in ((0, -1.0), (-1, np.nan)):
        changed = b[2].copy()
        changed[place] = value
        check(isa, a, (*b[:2], changed), 10_000, 30)
    for value in (0.0, np.inf):
        changed = a[2].copy()
        changed[generator.integers(0, len(changed), 5)] = value
        check(isa, (*a[:2], changed), b, 10_000, 30)


def test_a_long_list_of_windows(isa):
    """Columns far apart, windows without any, the last column there can be."""
    columns = 2**31 - 1
    for last in (columns - 1, 131_072, 131_071):
        b = np.array([0, 3, 5]), np.array([0, 70_000, last, 5, last], np.int32), np.arange(1, 6, dtype=np.float32)
        a = np.array([0, 2, 3]), np.array([0, 1, 1], np.int32), np.array([1, 2, -1], np.float32)
        values, indices = _C.kernels.spgemm_topk(isa, *a, *b, columns, 5)
        assert indices.tolist() == [[last, 5, 70_000, 0, -1], [5, last, -1, -1, -1]]
        assert values.tolist() == [[13, 8, 2, 1, -np.inf], [-4, -5, -np.inf, -np.inf, -np.inf]]


@pytest.mark.parametrize("density", [1.0, 0.5, 0.01])
def test_equal_scores(isa, density):
    """All scores are equal: columns decide, whichever window or list they come from."""
    for columns in (50, 6000, 140_000):
        b = sparse(3, columns, density, 8)
        b[2][:] = 1
        a = np.array([0, 3, 3, 4]), np.array([0, 1, 2, 1], np.int32), np.array([1, 1, 1, -2], np.float32)
        check(isa, a, b, columns, 40)
        check(isa, a, b, columns, 1)


def test_vanishing_products(isa):
    """A product too small for any number still makes an entry, of value 0."""
    tiny = np.float32(1e-30)
    b = np.array([0, 4]), np.array([1, 3, 4, 9], np.int32), np.array([tiny, 1, tiny, 1e-9], np.float32)
    a = np.array([0, 1]), np.array([0], np.int32), np.array([tiny], np.float32)
    check(isa, a, b, 10, 6)
    values, indices = _C.kernels.spgemm_topk(isa, *a, *b, 10, 6)
    assert indices.tolist() == [[3, 9, 1, 4, -1, -1]]
    assert values[0, 2:4].tolist() == [0, 0]


def test_cancelled_sums(isa):
    """A sum that comes out as 0 is an entry."""
    b = np.array([0, 2, 4]), np.array([0, 2, 0, 2], np.int32), np.array([1, 2, 1, 1], np.float32)
    a = np.array([0, 2]), np.array([0, 1], np.int32), np.array([1, -1], np.float32)
    values, indices = _C.kernels.spgemm_topk(isa, *a, *b, 4, 3)
    assert indices.tolist() == [[2, 0, -1]]
    assert values.tolist() == [[1, 0, -np.inf]]


def test_flushed_denormals(isa):
    """Where the processor makes denormals zeros, a sum that becomes one is an entry still."""
    smallest = np.finfo(np.float32).tiny
    b = np.array([0, 1, 2]), np.array([3, 3], np.int32), np.array([smallest, -1.5 * smallest], np.float32)
    a = np.array([0, 2]), np.array([0, 1], np.int32), np.ones(2, np.float32)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor does not flush denormals")
    try:
        values, indices = _C.kernels.spgemm_topk(isa, *a, *b, 5, 2)
    finally:
        torch.set_flush_denormal(False)
    assert indices.tolist() == [[3, -1]]
    assert values.tolist() == [[0, -np.inf]]


@pytest.mark.parametrize("k", [0, 1, 99, 100, 101, 5000])
def test_any_k(isa, k):
    check(isa, sparse(3, 8, 0.8, 9), sparse(8, 100, 0.9, 10), 100, k)
    check(isa, sparse(3, 8, 0.8, 9), sparse(8, 3000, 0.9, 10), 3000, k)


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0), (1, 1, 1)])
def test_empty_sides(isa, shape):
    rows, inner, columns = shape
    check(isa, sparse(rows, inner, 1.0, 11), sparse(inner, columns, 1.0, 12), columns, 3)


def test_rows_without_products(isa):
    """Empty rows of a, and rows that meet only empty ones of b."""
    b = np.array([0, 0, 2, 2]), np.array([0, 3], np.int32), np.array([1, 2], np.float32)
    a = np.array([0, 0, 1, 3, 3]), np.array([0, 1, 2], np.int32), np.ones(3, np.float32)
    _, indices = _C.kernels.spgemm_topk(isa, *a, *b, 4, 2)
    assert indices.tolist() == [[-1, -1], [-1, -1], [3, 0], [-1, -1]]


def test_hubs(isa):
    """A row of a that meets all of b, a row of b that is full, a column that all rows have."""
    b = sparse(2000, 500, 0.01, 13)
    full = np.arange(500, dtype=np.int32)
    crow = np.concatenate([b[0], [b[0][-1] + 500]])
    b = crow, np.concatenate([b[1], full]), np.concatenate([b[2], np.ones(500, np.float32)])
    a = sparse(3, 2001, 1.0, 14)
    check(isa, a, b, 500, 20)


def test_threads_change_nothing(isa):
    a, b = sparse(300, 60, 0.4, 15, values="mixed"), sparse(60, 5000, 0.3, 16, values="mixed")
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        found.append(_C.kernels.spgemm_topk(isa, *a, *b, 5000, 20))
    torch.set_num_threads(before)
    for other in found[1:]:
        assert np.array_equal(found[0][0], other[0])
        assert np.array_equal(found[0][1], other[1])
    check(isa, *(tuple(part) for part in (a, b)), 5000, 20)


@pytest.mark.parametrize("index", [torch.int32, torch.int64])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_operator(index, dtype):
    """Both index dtypes, through torch, against the kernels."""
    a, b = sparse(6, 20, 0.4, 17), sparse(20, 200, 0.3, 18)
    given = [torch.from_numpy(x).to(index if i % 3 < 2 else dtype) for i, x in enumerate((*a, *b))]
    values, indices = torch.ops.warphash.spgemm_topk(*given, 200, 9)
    assert values.dtype == dtype
    assert indices.dtype == torch.int64
    as_numpy = [x.view(torch.uint16).numpy() if x.dtype == torch.bfloat16 else x.numpy() for x in given]
    for i in (0, 3):
        as_numpy[i] = as_numpy[i].astype(np.int64)
        as_numpy[i + 1] = as_numpy[i + 1].astype(np.int32)
    expected, where = oracle(tuple(as_numpy[:3]), tuple(as_numpy[3:]), 200, 9)
    np.testing.assert_array_equal(indices.numpy(), where)
    np.testing.assert_array_equal(values.double().numpy(), expected.astype(np.float64))


@pytest.mark.memory
def test_many_small_calls_leave_nothing_behind(resident):
    a, b = sparse(10, 40, 0.5, 22), sparse(40, 3000, 0.4, 23)
    call = _C.kernels.spgemm_topk
    for _ in range(50):
        call("scalar", *a, *b, 3000, 10)
    before = resident()
    for _ in range(1000):
        call("scalar", *a, *b, 3000, 10)
    assert resident() - before < 1 << 20


def broken(a: Csr, b: Csr) -> list[tuple[str, Csr, Csr, str]]:
    """Calls that must be refused, whatever they would read."""

    def changed(x: np.ndarray, place: int, value: int) -> np.ndarray:
        x = x.copy()
        x[place] = value
        return x

    pointers, row = "row pointers must ascend", "b's columns must ascend and be in"
    return [
        ("a begins late", (changed(a[0], 0, 1), *a[1:]), b, f"a's {pointers}"),
        ("a ends late", (changed(a[0], -1, 10**12), *a[1:]), b, f"a's {pointers}"),
        ("b descends", a, (changed(b[0], 2, -5), *b[1:]), f"b's {pointers}"),
        ("a's column too large", (a[0], changed(a[1], 1, 99), a[2]), b, "a's columns must be in"),
        ("a's column negative", (a[0], changed(a[1], 1, -1), a[2]), b, "a's columns must be in"),
        ("b's column too large", a, (b[0], changed(b[1], int(b[0][1]) - 1, 2**31 - 1), b[2]), row),
        ("b's column just too large", a, (b[0], changed(b[1], int(b[0][1]) - 1, 6000), b[2]), row),
        ("b's column negative", a, (b[0], changed(b[1], 3, -7), b[2]), row),
        ("b's columns go back", a, (b[0], changed(b[1], int(b[0][1]) - 1, 0), b[2]), row),
    ]


@pytest.mark.parametrize("case", range(9))
def test_broken_data(isa, case):
    a = np.array([0, 2, 4]), np.array([0, 2, 0, 1], np.int32), np.ones(4, np.float32)
    b = sparse(3, 6000, 0.5, 19)
    name, a, b, text = broken(a, b)[case]
    with pytest.raises(ValueError, match=text):
        _C.kernels.spgemm_topk(isa, *a, *b, 6000, 5)
    with pytest.raises((RuntimeError, ValueError), match=text):
        torch.ops.warphash.spgemm_topk(*(torch.from_numpy(x).long() if i % 3 < 2 else torch.from_numpy(x)
                                         for i, x in enumerate((*a, *b))), 6000, 5)  # fmt: skip
    assert name


def test_bad_arrays():
    a, b = sparse(2, 3, 1.0, 20), sparse(3, 4, 1.0, 21)
    call = _C.kernels.spgemm_topk
    with pytest.raises(ValueError, match="isa must be"):
        call("sse", *a, *b, 4, 1)
    with pytest.raises(ValueError, match="values must be"):
        call("scalar", *a[:2], a[2].astype(np.int32), *b, 4, 1)
    with pytest.raises(ValueError, match="k must not be negative"):
        call("scalar", *a, *b, 4, -1)
    with pytest.raises(ValueError, match="a's values must be contiguous, one value an entry"):
        call("scalar", a[0], a[1], a[2][1:], *b, 4, 1)
