# SPDX-License-Identifier: Apache-2.0
"""What is refused, and that the text names the argument, the place and the way round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import warphash as wh

from spgemm.matrices import csr, random_csr, to_scipy, with_values

A, B = random_csr(9, 8, 0.4, 1), random_csr(8, 7, 0.4, 2)
DENSE = torch.ones(9, 8, dtype=torch.float64)

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "matmul": wh.spgemm.matmul,
    "topk": lambda a, b, **options: wh.spgemm.topk(a, b, 3, **options),
    "plan": wh.spgemm.plan,
    "row_chunks": lambda a, b, **options: wh.spgemm.row_chunks(a, b, max_bytes=10**6, **options),
}


@pytest.fixture(params=FUNCTIONS)
def function(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Every public function of two matrices."""
    return FUNCTIONS[request.param]


def _sparse(convert: str, *arguments: Any) -> Any:
    return getattr(DENSE[:8], convert)(*arguments)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (DENSE, r"got layout torch.strided: \.to_sparse_csr\(\) makes one"),
        (DENSE[0], r"got layout torch.strided: \.to_sparse_csr\(\)"),
        (_sparse("to_sparse"), r"got layout torch.sparse_coo: \.to_sparse_csr\(\) makes one"),
        (_sparse("to_sparse_csc"), r"got layout torch.sparse_csc: \.to_sparse_csr\(\) makes one"),
        (_sparse("to_sparse_bsr", (2, 2)), r"got layout torch.sparse_bsr: \.to_sparse_csr\(\) makes one"),
        (_sparse("to_sparse_bsc", (2, 2)), r"got layout torch.sparse_bsc: \.to_sparse_csr\(\) makes one"),
        (DENSE.numpy(), "got ndarray"),
        (DENSE.tolist(), "got list"),
        (None, "got NoneType"),
        (
            to_scipy(A),
            r"got csr_array; of a SciPy matrix x in CSR, torch.sparse_csr_tensor\(x.indptr, x.indices, x.data",
        ),
    ],
)
def test_other_kinds_of_matrices(function: Callable[..., Any], bad: Any, text: str) -> None:
    with pytest.raises(TypeError, match=r"^a must be a torch.sparse_csr tensor, .*" + text):
        function(bad, B)
    with pytest.raises(TypeError, match=r"^b must be a torch.sparse_csr tensor, .*" + text):
        function(A, bad)


def test_nested_tensors(function: Callable[..., Any]) -> None:
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)
    with pytest.raises(TypeError, match=r"^a must be a torch.sparse_csr tensor, got layout nested"):
        function(nested, B)


def test_batches_and_dense_dimensions(function: Callable[..., Any]) -> None:
    batch = torch.ones(2, 9, 8).to_sparse_csr()
    with pytest.raises(ValueError, match=r"^a must be 2-D .*a batch of shape \(2, 9, 8\): spgemm.matmul_many .*plan"):
        function(batch, B)
    blocks = torch.ones(9, 8, 2).to_sparse_csr(dense_dim=1)
    with pytest.raises(ValueError, match=r"^a must be 2-D .*dense dimensions of shape \(9, 8, 2\)"):
        function(blocks, B)


def test_shapes(function: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"^b must have as many rows as a has columns, 8, got .*\(9, 8\) and \(9, 8\)"):
        function(A, A)
    if function is not FUNCTIONS["topk"]:
        with pytest.raises(ValueError, match=r"^mask must have the shape of the product, \(9, 7\), got \(8, 7\)"):
            function(A, B, mask=B)


def test_dtypes(function: Callable[..., Any]) -> None:
    if function is FUNCTIONS["plan"]:
        return  # values are not looked at
    for dtype in (torch.complex64, torch.int16, torch.uint8):
        with pytest.raises(TypeError, match=rf"^a must have values of float16.* or bool, got {dtype}"):
            function(with_values(A, A.values().to(dtype)), B)
    with pytest.raises(TypeError, match=r"^b must have values of the dtype of a, torch.float64, got torch.float32"):
        function(A, with_values(B, B.values().float()))


def test_topk_needs_floats() -> None:
    for dtype in (torch.int32, torch.int64, torch.bool):
        with pytest.raises(TypeError, match=r"^a must have values of float16, bfloat16, float32 or float64, got"):
            wh.spgemm.topk(with_values(A, A.values().to(dtype)), with_values(B, B.values().to(dtype)), 2)


def test_devices(function: Callable[..., Any]) -> None:
    on_meta = B.to("meta")
    with pytest.raises(ValueError, match=r"^b must (be on the device of a, cpu, got meta|hold data)"):
        function(A, on_meta)
    if function is not FUNCTIONS["topk"]:
        with pytest.raises(ValueError, match=r"^mask must be on the device of a, cpu, got meta"):
            function(A, B, mask=random_csr(9, 7).to("meta"))
        with pytest.raises(ValueError, match=r"^a must hold data, got a tensor on the meta device"):
            function(A.to("meta"), on_meta)


@pytest.mark.parametrize("validate", [True, False])
def test_parts_that_do_not_belong_together(function: Callable[..., Any], validate: bool) -> None:
    crow, col, values = A.crow_indices(), A.col_indices(), A.values()
    for parts, error, text in (
        ((crow, col, values[:-1]), ValueError, r"a value for each column index, got col_indices\(\) of shape \(\d+,\)"),
        ((crow, col, torch.cat([values, values])), ValueError, r"a value for each column index, got"),
        ((crow, col[:-1], values), ValueError, r"a value for each column index, got"),
        ((crow[:-1], col, values), ValueError, r"10 row pointers for 9 rows, got crow_indices\(\) of shape \(9,\)"),
        ((torch.cat([crow, crow[-1:]]), col, values), ValueError, r"10 row pointers for 9 rows, got .* \(11,\)"),
        ((crow[:0], col[:0], values[:0]), ValueError, r"10 row pointers for 9 rows, got .* \(0,\)"),
        ((crow.int(), col.long(), values), TypeError, r"indices of int32 or int64, of one dtype, got crow_indices\(\)"),
        ((crow.short(), col.short(), values), TypeError, r"indices of int32 or int64, of one dtype, got .*int16"),
    ):
        broken = torch.sparse_csr_tensor(*parts, (9, 8), check_invariants=False)
        with pytest.raises(error, match="^a must have " + text):
            function(broken, B, validate=validate)
        with pytest.raises(error, match="^documents must have " + text):
            wh.retrieval.SparseIndex(broken)


@pytest.mark.parametrize("index", [torch.int32, torch.int64])
def test_broken_patterns(function: Callable[..., Any], index: torch.dtype) -> None:
    crow, col, values = [0, 1, 3, 4], [0, 1, 3, 2], torch.ones(4, dtype=torch.float64)
    good = csr(crow, col, values, (3, 4), index)
    right = csr([0, 1, 1, 1, 2], [0, 1], values[:2], (4, 2), index)
    function(good, right)
    for bad, text in (
        ([1, 1, 3, 4], r"crow_indices\(\)\[0\] = 1"),
        ([0, 3, 1, 4], r"crow_indices\(\)\[2\] = 1 after 3"),
        ([0, 1, 3, 3], r"crow_indices\(\)\[3\] = 3 after 3"),
        ([0, 1, 3, 9], r"crow_indices\(\)\[3\] = 9 after 3"),
        ([0, -1, 3, 4], r"crow_indices\(\)\[1\] = -1 after 0"),
    ):
        broken = csr(bad, col, values, (3, 4), index)
        with pytest.raises(ValueError, match=r"^a must have row pointers that ascend from 0 to 4, got " + text):
            function(broken, right)
    with pytest.raises(
        ValueError, match=r"^b must have row pointers that ascend from 0 to 2, got crow_indices\(\)\[4\]"
    ):
        function(good, csr([0, 1, 1, 1, 7], [0, 1], values[:2], (4, 2), index))
    for place, value in ((0, 4), (2, -1), (3, 2**31 - 1)):
        wrong = list(col)
        wrong[place] = value
        with pytest.raises(
            ValueError, match=rf"^a must have column indices in \[0, 4\), got col_indices\(\)\[{place}\] = {value}$"
        ):
            function(csr(crow, wrong, values, (3, 4), index), right)
    with pytest.raises(ValueError, match=r"^b must have column indices in \[0, 2\), got col_indices\(\)\[1\] = 2"):
        function(good, csr([0, 1, 1, 1, 2], [0, 2], values[:2], (4, 2), index))
    if function is not FUNCTIONS["topk"]:
        with pytest.raises(
            ValueError, match=r"^mask must have column indices in \[0, 2\), got col_indices\(\)\[0\] = 5"
        ):
            function(good, right, mask=csr([0, 1, 1, 1], [5], values[:1], (3, 2), index))


def test_indices_beyond_32_bits_that_are_not_in_range() -> None:
    with pytest.raises(
        ValueError, match=r"^a must have column indices in \[0, 4\), got col_indices\(\)\[0\] = 4294967297"
    ):
        wh.spgemm.matmul(csr([0, 1], [2**32 + 1], [1.0], (1, 4)), csr([0] * 5, [], torch.zeros(0), (4, 2)))


def test_semirings_and_masks() -> None:
    mask = random_csr(9, 7)
    for function in (FUNCTIONS["matmul"], FUNCTIONS["plan"], FUNCTIONS["row_chunks"]):
        for bad in ("plus", "PLUS_TIMES", None, 0, ["plus_times"], np.array(["a", "b"])):
            with pytest.raises(
                ValueError, match=r"^semiring must be one of plus_times, or_and, min_plus, max_times, got"
            ):
                function(A, B, semiring=bad)
        with pytest.raises(ValueError, match=r"^complement needs a mask, got none"):
            function(A, B, complement=True)
        with pytest.raises(TypeError, match=r"^complement must be a bool, got int"):
            function(A, B, mask=mask, complement=1)
        with pytest.raises(TypeError, match=r"^mask must be a torch.sparse_csr tensor, got layout torch.strided"):
            function(A, B, mask=mask.to_dense())


@pytest.mark.parametrize("bad", [1, 0, "x", "", None, [True], 1.0, torch.tensor(True)])
def test_switches_are_bools(function: Callable[..., Any], bad: Any) -> None:
    mask = random_csr(9, 7)
    text = rf"must be a bool, got {type(bad).__name__}$"
    with pytest.raises(TypeError, match="^validate " + text):
        function(A, B, validate=bad)
    if function is not FUNCTIONS["topk"]:
        with pytest.raises(TypeError, match="^complement " + text):
            function(A, B, mask=mask, complement=bad)
        function(A, B, mask=mask, complement=np.True_, validate=np.False_)
    if function in (FUNCTIONS["matmul"], FUNCTIONS["row_chunks"]):
        with pytest.raises(TypeError, match="^drop_zeros " + text):
            function(A, B, drop_zeros=bad)
    with pytest.raises(TypeError, match="^drop_zeros " + text):
        wh.spgemm.matmul_many([A], [B], drop_zeros=bad)
    with pytest.raises(TypeError, match="^validate " + text):
        wh.spgemm.matmul_many([A], [B], validate=bad)


def test_bool_in_semirings_of_numbers() -> None:
    a, b = (with_values(x, x.values() > 0) for x in (A, B))
    for semiring in ("min_plus", "max_times"):
        with pytest.raises(TypeError, match=rf"^a must have numbers as values for semiring {semiring}, got torch.bool"):
            wh.spgemm.matmul(a, b, semiring=semiring)


def test_or_and_says_that_it_has_no_gradient() -> None:
    a, b = A.clone().requires_grad_(), B.clone().requires_grad_()
    for pair, name in (((a, B), "a"), ((A, b), "b")):
        text = rf"^{name} requires a gradient, but semiring or_and has none: pass {name}.detach\(\)"
        with pytest.raises(ValueError, match=text):
            wh.spgemm.matmul(*pair, semiring="or_and")
    with torch.no_grad():
        assert wh.spgemm.matmul(a, b, semiring="or_and").dtype == torch.bool


def test_counts() -> None:
    for bad, error, text in (
        (-1, ValueError, "^k must be at least 0, got -1"),
        (2.0, TypeError, "^k must be an int, got float"),
        (True, TypeError, "^k must be an int, got bool"),
        ("3", TypeError, "^k must be an int, got str"),
        (2**60, ValueError, "^k must be at most"),
    ):
        with pytest.raises(error, match=text):
            wh.spgemm.topk(A, B, bad)
    assert wh.spgemm.topk(A, B, np.int64(2))[0].shape == (9, 2)


def test_row_chunks_that_cannot_fit() -> None:
    with pytest.raises(
        ValueError, match=r"^max_bytes must be at least \d+ for row \d+, which may have \d+ entries, got 20"
    ):
        wh.spgemm.row_chunks(A, B, max_bytes=20)
    with pytest.raises(ValueError, match=r"^max_bytes must be at least 1, got 0"):
        wh.spgemm.row_chunks(A, B, max_bytes=0)
    with pytest.raises(TypeError, match=r"^max_bytes must be an int, got float"):
        wh.spgemm.row_chunks(A, B, max_bytes=1e6)


def test_matmul_many() -> None:
    many = wh.spgemm.matmul_many
    with pytest.raises(ValueError, match=r"^b must have as many matrices as a, 2, got 1"):
        many([A, A], [B])
    with pytest.raises(TypeError, match=r"^a\[1\] must be a torch.sparse_csr tensor, got layout torch.strided"):
        many([A, DENSE], [B, B])
    with pytest.raises(ValueError, match=r"^b\[1\] must have as many rows as a\[1\] has columns, 8"):
        many([A, A], [B, A])
    with pytest.raises(TypeError, match=r"^a\[1\] must have the dtype of a\[0\], torch.float64, got torch.float32"):
        many([A, with_values(A, A.values().float())], [B, with_values(B, B.values().float())])
    with pytest.raises(ValueError, match=r"^b\[0\] must have column indices in"):
        many([A], [with_values(csr(B.crow_indices(), B.col_indices() + 7, B.values(), (8, 7)), B.values())])
    for bad in (A, "ab", 3):
        with pytest.raises(TypeError, match=r"^a must be a list of matrices, got"):
            many(bad, [B])


def test_more_entries_than_int32_counts() -> None:
    many = 50_000
    left = csr(range(many + 1), [0] * many, torch.ones(many), (many, 1), torch.int32)
    right = csr([0, many], range(many), torch.ones(many), (1, many), torch.int32)
    for function in (wh.spgemm.matmul, wh.spgemm.plan):
        with pytest.raises(ValueError, match=r"^the product has 2500000000 entries, more than int32 .* int64 indices$"):
            function(left, right)


def test_shapes_that_torch_does_not_hold() -> None:
    tall = csr([0, 1, 1, 1, 1], [0], torch.ones(1), (4, 1))
    wide = csr([0, 1], [5], torch.ones(1), (1, 2**62))
    with pytest.raises(ValueError, match=r"^torch holds no tensor of shape \(4, 4611686018427387904\)"):
        wh.spgemm.matmul(tall, wide)
    assert wh.spgemm.topk(tall, wide, 1)[1].tolist() == [[5], [-1], [-1], [-1]]
    with pytest.raises(ValueError, match=r"^torch holds no tensor of shape \(1, 9223372036854775808\)"):
        wh.retrieval.sparse_rows([[1]], None, 2**63)
