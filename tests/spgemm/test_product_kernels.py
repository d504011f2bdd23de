# SPDX-License-Identifier: Apache-2.0
"""The product's kernels of each instruction set: the definition, bit for bit, on every way that a row can go."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from warphash import _C

from .samples_product import DTYPES, Matrix, as_dtype, by_definition, cases, from_rows, hubs, scattered, some_of

NAMES = tuple(cases())
Arrays = tuple[np.ndarray, ...]


@functools.cache
def _case(name: str) -> tuple[Matrix, Matrix]:
    return cases()[name]


def _equal_bits(found: Arrays, expected: Arrays) -> bool:
    return all(x.tobytes() == y.tobytes() for x, y in zip(found, expected, strict=True))


def _product(
    isa: str, a: Matrix, b: Matrix, semiring: int = 0, exclude: Matrix | None = None
) -> tuple[np.ndarray, ...]:
    """Counted first and made at once: with the same bits."""
    excluded = (None, None) if exclude is None else (exclude.crow, exclude.col)
    operands = (isa, *a[:3], *b[:3], b.columns, semiring, *excluded)
    product = _C.kernels.spgemm_product(*operands)
    assert _equal_bits(_C.kernels.spgemm_product(*operands, at_once=True), product)
    return product


def _pattern(isa: str, a: Matrix, b: Matrix, exclude: Matrix | None = None) -> tuple[np.ndarray, ...]:
    excluded = (None, None) if exclude is None else (exclude.crow, exclude.col)
    operands = (isa, *a[:2], *b[:2], b.columns, *excluded)
    pattern = _C.kernels.spgemm_pattern(*operands)
    assert _equal_bits(_C.kernels.spgemm_pattern(*operands, at_once=True), pattern)
    return pattern


def _same(found: Arrays, expected: Arrays, semiring: int = 0) -> None:
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])
    if len(found) == 2:
        return
    assert found[2].dtype == expected[2].dtype
    if found[2].dtype == np.uint16:
        found, expected = (torch.from_numpy(x[2]).view(torch.bfloat16).float().numpy() for x in (found, expected))
    else:
        found, expected = found[2], expected[2]
    # NaN is NaN whatever its payload. -0.0 is not 0.0 in sums; NumPy says of neither which one is the smaller.
    assert np.array_equal(found, expected, equal_nan=found.dtype.kind == "f")
    if found.dtype.kind == "f" and semiring == 0:
        numbers = ~np.isnan(found)
        assert np.array_equal(np.signbit(found)[numbers], np.signbit(expected)[numbers])


def _semirings(dtype: str) -> tuple[int, ...]:
    return (1,) if dtype == "bool" else (0, 2, 3)


@pytest.mark.parametrize("name", NAMES)
def test_by_definition(isa, name):
    a, b = _case(name)
    _same(_product(isa, a, b), by_definition(a, b, 0))
    _same(_pattern(isa, a, b), by_definition(a, b, 0)[:2])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name", ["empty rows", "small", "hubs", "runs", "rows that are alike", "dense", "short rows", "windows"]
)
def test_dtypes_and_semirings(isa, name, dtype):
    a, b = (as_dtype(matrix, dtype, seed) for seed, matrix in enumerate(_case(name)))
    for semiring in _semirings(dtype):
        found = _product(isa, a, b, semiring)
        _same(found, by_definition(a, b, semiring), semiring)
        _same(found, _product("scalar", a, b, semiring))


@pytest.mark.parametrize("name", NAMES)
def test_exclusion(isa, name):
    a, b = _case(name)
    exclude = some_of(a, b)
    expected = by_definition(a, b, 0, exclude)
    _same(_product(isa, a, b, 0, exclude), expected)
    _same(_pattern(isa, a, b, exclude), expected[:2])
    # Nothing of one row lingers in the next one, whatever was left out.
    for dtype, semiring in (("float64", 2), ("int32", 3), ("bool", 1)):
        x, y = as_dtype(a, dtype), as_dtype(b, dtype)
        _same(_product(isa, x, y, semiring, exclude), by_definition(x, y, semiring, exclude), semiring)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", ["small", "hubs", "short rows", "windows of runs", "one row of B each"])
def test_wide_indices(isa, name, dtype):
    a, b = (as_dtype(matrix, dtype) for matrix in _case(name))
    a, b = (matrix._replace(col=matrix.col.astype(np.int64)) for matrix in (a, b))
    found = _product(isa, a, b)
    assert found[1].dtype == np.int64
    _same(found, by_definition(a, b, 0))


def test_every_count_of_products(isa):
    """Rows of 1 … 300 products far apart: each size of the sort, its vectors full and not."""
    a = from_rows([np.arange(count) for count in range(301)], 300)
    for spread in (70_001, 1):
        b = from_rows([np.array([i * 7919 % 300 * spread]) for i in range(300)], 300 * 70_001)
        _same(_product(isa, a, b), by_definition(a, b, 0))


def test_ends_of_the_matrix(isa):
    """First and last columns, and values at the very end of B's arrays."""
    for columns in (1, 15, 16, 17, 63, 64, 65, 4096, 2**31 - 1):
        rows = [np.unique([0, columns - 1]), np.array([columns - 1]), np.unique([columns // 2, columns - 1])]
        b = from_rows(rows, columns)
        a = from_rows([np.array([0, 1, 2]), np.array([2]), np.array([1, 2])], 3)
        _same(_product(isa, a, b), by_definition(a, b, 0))


@pytest.mark.parametrize("name", ["hubs", "runs", "short rows", "windows of runs"])
def test_threads_change_nothing(isa, name):
    a, b = _case(name)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        found.append(_product(isa, a, b))
    torch.set_num_threads(before)
    for other in found[1:]:
        assert _equal_bits(other, found[0])


def test_blocks_that_wait_for_each_other(isa):
    """A few rows with most of the work among many short ones, on more threads than there are processors."""
    a, b = hubs(1500, 3), hubs(1500, 4)
    before = torch.get_num_threads()
    torch.set_num_threads(7)
    try:
        for _ in range(3):
            _same(_product(isa, a, b), by_definition(a, b, 0))
    finally:
        torch.set_num_threads(before)


def test_bad_operands(isa):
    a, b = scattered(4, 5, 3, 0), scattered(5, 6, 3, 1)

    def call(a: Matrix, b: Matrix, semiring: int = 0, exclude: Matrix | None = None) -> None:
        _product(isa, a, b, semiring, exclude)

    for wrong in (a.crow[::-1], a.crow + 1, np.where(np.arange(5) == 2, 10**12, a.crow)):
        with pytest.raises(ValueError, match="a's row pointers must ascend"):
            call(a._replace(crow=wrong.copy()), b)
        with pytest.raises(ValueError, match="the excluded pattern's row pointers"):
            call(a, b, exclude=scattered(4, 6, 2, 0)._replace(crow=wrong.copy()))
    with pytest.raises(ValueError, match="b's row pointers must ascend"):
        call(a, b._replace(crow=b.crow[::-1].copy()))
    for column in (-1, 5, 2**31 - 1):
        with pytest.raises(IndexError, match=r"a's columns must be in \[0, 5\)"):
            call(a._replace(col=np.full_like(a.col, column)), b)
    for column in (-1, 6, -(2**31)):
        wrong = b.col.copy()
        wrong[b.crow[1] if column < 0 else b.crow[1] - 1] = column
        with pytest.raises(IndexError, match=r"b's columns must be in \[0, 6\)"):
            call(from_rows([np.arange(5)] * 4, 5), b._replace(col=wrong))
    with pytest.raises(ValueError, match="b's columns must ascend strictly"):
        call(a, b._replace(col=np.zeros_like(b.col)))
    with pytest.raises(ValueError, match="excluded pattern must have the shape"):
        call(a, b, exclude=scattered(3, 6, 2, 0))
    for columns in ([3, 1], [2, 2], [-1, 2], [2, 6]):
        exclude = from_rows([np.array(columns), *[np.array([], int)] * 3], 6)
        with pytest.raises((ValueError, IndexError), match="the excluded pattern's columns must"):
            call(a, b, exclude=exclude)
    with pytest.raises(ValueError, match="semiring must be"):
        call(a, b, 4)
    with pytest.raises(ValueError, match="isa must be"):
        _product("sse", a, b)


def _tensors(matrix: Matrix) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return tuple(torch.from_numpy(x) for x in (matrix.crow.astype(np.int32), matrix.col, matrix.values))


def test_more_entries_than_int32_counts():
    """Refused before any value is computed; the count and the way out are named."""
    many = 50_000
    a = from_rows([np.array([0])] * many, 1)
    b = from_rows([np.arange(many)], many)
    for call, arguments in (
        (torch.ops.warphash.spgemm_matmul, (*_tensors(a), *_tensors(b), many, 0, None, None)),
        (torch.ops.warphash.spgemm_pattern, (*_tensors(a)[:2], *_tensors(b)[:2], many, None, None)),
    ):
        with pytest.raises(RuntimeError, match=r"2500000000 entries, more than int32.*int64 indices"):
            call(*arguments)


def test_operator_refusals():
    a, b = scattered(4, 5, 3, 0), scattered(5, 6, 3, 1)
    call = torch.ops.warphash.spgemm_matmul
    with pytest.raises(RuntimeError, match="take no bool values"):
        call(*_tensors(as_dtype(a, "bool")), *_tensors(as_dtype(b, "bool")), 6, 2, None, None)
    with pytest.raises(RuntimeError, match="or_and takes bool"):
        call(*_tensors(a), *_tensors(b), 6, 1, None, None)
    with pytest.raises(RuntimeError, match="share their dtype"):
        call(*_tensors(a), *_tensors(as_dtype(b, "float64")), 6, 0, None, None)
    with pytest.raises(RuntimeError, match="must both be given"):
        call(*_tensors(a), *_tensors(b), 6, 0, torch.zeros(5, dtype=torch.int32), None)
    with pytest.raises(RuntimeError, match="exclude must have as many rows as a"):
        call(*_tensors(a), *_tensors(b), 6, 0, torch.zeros(1, dtype=torch.int32), torch.zeros(0, dtype=torch.int32))


def test_bool_is_or_and():
    a, b = (as_dtype(matrix, "bool") for matrix in (hubs(90, 0), hubs(90, 1)))
    for semiring in (0, 1):
        found = torch.ops.warphash.spgemm_matmul(*_tensors(a), *_tensors(b), b.columns, semiring, None, None)
        assert found[0].dtype == found[1].dtype == torch.int32
        _same(tuple(x.numpy() for x in found), by_definition(a, b, 1))


LARGE = """
import resource, sys, numpy as np, scipy.sparse, torch, warphash
torch.set_num_threads(int(sys.argv[1]))
generator = np.random.default_rng(0)

def sparse(rows, columns, spread):
    col = np.sort(generator.random((rows, columns)).argpartition(40, 1)[:, :40] * spread, 1).ravel().astype(np.int32)
    values = generator.integers(-8, 9, 40 * rows).astype(np.float32)
    return scipy.sparse.csr_matrix((values, col, np.arange(rows + 1, dtype=np.int32) * 40), (rows, columns * spread))

a, b = sparse(20_000, 200, 1), sparse(200, 60, 2000)  # 60 entries a row, where there could be 1600: 256 MB
expected = a @ b
expected.sort_indices()
tensors = [torch.from_numpy(x) for m in (a, b) for x in (m.indptr, m.indices, m.data)]
if sys.argv[2] == "refused":
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (200 << 20), size + (200 << 20)))
crow, col, values = torch.ops.warphash.spgemm_matmul(*tensors, 60 * 2000, 0, None, None)
found = scipy.sparse.csr_matrix((values.numpy(), col.numpy(), crow.numpy()), expected.shape)
assert found.nnz > 1_100_000 and found.has_canonical_format and (abs(found - expected)).max() == 0
for part in (col, values):
    assert part.untyped_storage().nbytes() == part.numel() * part.element_size()
    assert torch.equal(part.clone(), part) and part.sort().values.shape == part.shape
if sys.argv[2] != "refused":
    # Tensors like all others: torch makes room in them for a sum with more entries.
    parts = torch.ops.warphash.spgemm_matmul(*tensors, 60 * 2000, 0, None, None)
    product = torch.sparse_csr_tensor(*parts, expected.shape)
    last = torch.full((20_000,), 60 * 2000 - 1, dtype=torch.int32)
    product += torch.sparse_csr_tensor(torch.arange(20_001, dtype=torch.int32), last, torch.ones(20_000), product.shape)
    assert product.sum(dtype=torch.float64).item() == expected.sum(dtype=np.float64) + 20_000
"""


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("reservation", ["moved", "copied", pytest.param("refused", marks=pytest.mark.memory)])
def test_large_products(threads, reservation):
    """Large enough to be made at once; in two passes where the system reserves no memory."""
    # Large arrays in pages of their own, whose place can be taken by those that were written; or among others.
    threshold = str(2**30 if reservation == "copied" else 2**16)
    run = subprocess.run(
        [sys.executable, "-c", LARGE, str(threads), reservation],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": threshold},
    )
    assert run.returncode == 0, run.stderr


TIGHT = """
import resource, numpy as np, torch, warphash
torch.set_num_threads(3)

def rows(number, step, width, columns):
    col = np.sort((np.arange(number)[:, None] * step + np.arange(width)) % columns, 1).ravel().astype(np.int32)
    crow = np.arange(number + 1, dtype=np.int32) * width
    return [torch.from_numpy(x) for x in (crow, col, np.ones(len(col), np.float32))]

a, b = rows(100, 1, 40, 200), rows(200, 37, 12_000, 2_000_000)
most = 100 * 40 * 12_000 * 8
entries = torch.ops.warphash.spgemm_matmul(*a, *b, 2_000_000, 0, None, None)[1].numel()
for more in range(0, 16 << 20, 600 << 10):
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + most + more, resource.RLIM_INFINITY))
    product = torch.ops.warphash.spgemm_matmul(*a, *b, 2_000_000, 0, None, None)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert product[1].numel() == entries
"""


@pytest.mark.memory
def test_reservation_that_leaves_little():
    """Where the rest of one pass finds no memory beside what is reserved, the product is made in two."""
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**16)}
    run = subprocess.run([sys.executable, "-c", TIGHT], capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 0, run.stderr


MEMORY = """
import sys, numpy as np, torch, warphash
from spgemm.samples_product import hubs, scattered, as_dtype
torch.set_num_threads(2)

def status(field):
    line = next(line for line in open("/proc/self/status") if line.startswith(field))
    return int(line.split()[1]) * 1024

def call(a, b, index):
    tensors = [torch.from_numpy(x.astype(index) if i < 2 else x) for m in (a, b) for i, x in enumerate(m[:3])]
    def run():
        return torch.ops.warphash.spgemm_matmul(*tensors, b.columns, 0, None, None)
    return run

small = [call(scattered(10, 10, 3, 0), scattered(10, n, 3, 1), np.int32) for n in (10, 5000, 2**30)]
for a, b, index in (
    (scattered(4000, 4000, 100, 0), scattered(4000, 6000, 60, 1), np.int32),
    (scattered(4000, 4000, 100, 0), scattered(4000, 6000, 60, 1), np.int64),
    (as_dtype(scattered(4000, 4000, 60, 0), "float16"), as_dtype(scattered(4000, 600_000, 60, 1), "float16"), np.int64),
):
    run = call(a, b, index)
    [f() for f in small]
    before = status("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")
    out = run()
    peak = status("VmHWM") - before
    size = sum(x.numel() * x.element_size() for x in out)
    print("peak", peak / size, size)
    del out
for f in small:
    for _ in range(200):
        f()
before = status("VmRSS")
for _ in range(1000):
    for f in small:
        f()
print("growth", status("VmRSS") - before)
"""


@pytest.fixture(scope="module")
def memory() -> dict[str, list[float]]:
    """What a process of its own needed: peaks over outputs, growth over small calls."""
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, cwd="tests")
    lines = [line.split() for line in run.stdout.splitlines()]
    return {name: [float(line[1]) for line in lines if line[0] == name] for name in ("peak", "growth")}


@pytest.mark.memory
def test_peak_is_the_output(memory):
    assert len(memory["peak"]) == 3
    assert max(memory["peak"]) <= 1.1, memory


@pytest.mark.memory
def test_small_calls_leave_nothing(memory):
    assert memory["growth"][0] < 1 << 20, memory
