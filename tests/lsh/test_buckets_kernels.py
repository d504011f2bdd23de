# SPDX-License-Identifier: Apache-2.0
"""Sums of each instruction set on NumPy arrays, paths of the sort and the look-ups that small calls miss, goldens."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import warphash as wh
from torch import Tensor
from warphash import _C

from .samples_buckets import FLOATS, codes, values

kernels = _C.kernels
WIDTHS = (*range(1, 35), 63, 64, 65, 127, 129)


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Several thread counts, more than the machine's among them."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def array(x: Tensor) -> np.ndarray:
    """NumPy has no bfloat16: its bits stand for it."""
    return x.view(torch.uint16).numpy() if x.dtype == torch.bfloat16 else x.numpy()


def wide(x: Tensor) -> np.ndarray:
    """What sums are made in."""
    return x.double().numpy() if x.dtype == torch.float64 else x.float().numpy()


def summed(x: Tensor, named: Tensor, buckets: int) -> Tensor:
    """Sums in the order of the rows, rounded once."""
    rows = wide(x)
    sums = np.zeros((*named.shape[:2], buckets, x.shape[2]), rows.dtype)
    for batch, table, item in np.ndindex(*named.shape):
        code = int(named[batch, table, item])
        if code >= 0:
            sums[batch, table, code] += rows[batch, item]
    return torch.from_numpy(sums).to(x.dtype)


def gathered(table: Tensor, named: Tensor) -> Tensor:
    """Sums in the order of the tables, rounded once."""
    rows = wide(table)
    sums = np.zeros((table.shape[0], named.shape[2], table.shape[3]), rows.dtype)
    for batch, number, item in np.ndindex(*named.shape):
        code = int(named[batch, number, item])
        if code >= 0:
            sums[batch, item] += rows[batch, number, code]
    return torch.from_numpy(sums).to(table.dtype)


# ---- sums of each instruction set ----------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("code_dtype", [torch.int32, torch.int64])
def test_sums_of_every_width(isa: str, dtype: torch.dtype, code_dtype: torch.dtype) -> None:
    for width in WIDTHS:
        x, table = values(2, 11, width, dtype=dtype), values(2, 3, 4, width, dtype=dtype)
        named = codes(2, 3, 11, below=4, lowest=-1, seed=width, dtype=code_dtype)
        found = kernels.lsh_bucket_sum(isa, array(x), named.numpy(), 4)
        assert np.array_equal(found, array(summed(x, named, 4))), width
        found = kernels.lsh_bucket_gather_sum(isa, array(table), named.numpy())
        assert np.array_equal(found, array(gathered(table, named))), width


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1, 4000), (3, 20, 8), (1, 5, 300)], ids=str)
def test_sums_on_several_threads(isa: str, threads: int, dtype: torch.dtype, shape: tuple[int, int, int]) -> None:
    batch, tables, buckets = shape
    x, named = values(batch, 1500, 17, dtype=dtype), codes(batch, tables, 1500, below=buckets, lowest=-1)
    table = values(batch, tables, buckets, 17, dtype=dtype)
    for name, arguments in (
        ("lsh_bucket_sum", (array(x), named.numpy(), buckets)),
        ("lsh_bucket_gather_sum", (array(table), named.numpy())),
    ):
        found = getattr(kernels, name)(isa, *arguments)
        torch.set_num_threads(1)
        assert np.array_equal(found, getattr(kernels, name)("scalar", *arguments))
        torch.set_num_threads(threads)


@pytest.mark.parametrize("dtype", FLOATS)
def test_sums_of_what_is_no_number(isa: str, dtype: torch.dtype) -> None:
    """Infinities, NaN and numbers below the normal ones are added like others; a sum starts from 0.0, not -0.0."""
    tiny = torch.finfo(dtype).smallest_normal / 4
    inf, nan = float("inf"), float("nan")
    rows = torch.tensor([[inf, -inf, nan, -0.0, tiny], [1.0, inf, 1.0, -0.0, tiny]], dtype=torch.float64)
    x = rows.to(dtype).unsqueeze(0).repeat(1, 1, 4)
    found = kernels.lsh_bucket_sum(isa, array(x), np.zeros((1, 1, 2), np.int32), 1)
    sums = torch.from_numpy(found.view(np.int16)).view(dtype) if dtype.itemsize == 2 else torch.from_numpy(found)
    expected = torch.tensor([inf, nan, nan, 0.0, 2 * tiny], dtype=dtype).repeat(4)
    assert torch.equal(sums.flatten().nan_to_num(7.0), expected.nan_to_num(7.0))
    assert not sums.signbit()[..., 3::5].any()


def test_kernels_refuse(isa: str) -> None:
    x, named = np.zeros((1, 2, 3), np.float32), np.zeros((1, 1, 2), np.int32)
    with pytest.raises(IndexError, match=r"^codes must be below 1, got 5"):
        kernels.lsh_bucket_sum(isa, x, named + np.int32(5), 1)
    with pytest.raises(IndexError, match=r"^codes must be below 4, got 4"):
        kernels.lsh_bucket_gather_sum(isa, np.zeros((1, 1, 4, 3)), named + np.int32(4))
    for arguments in (
        (x.astype(np.int32), named, 1),
        (x, named[0], 1),
        (x, named.astype(np.int16), 1),
        (x[0], named, 1),
    ):
        with pytest.raises(ValueError, match="must be"):
            kernels.lsh_bucket_sum(isa, *arguments)


# ---- the sort's paths ----------------------------------------------------------------------------------------------
def skewed(tables: int, items: int, buckets: int) -> Tensor:
    """Half of all items in one bucket, the others anywhere; the last bucket is taken."""
    named = codes(tables, items, below=buckets, dtype=torch.int32, seed=items)
    named[:, ::2] = buckets // 3
    named[:, -1] = buckets - 1
    return named


# Up to 2^20 buckets one pass, above two digits; places are asked for ahead from 2^18 items on.
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(("tables", "items"), [(1, 300_001), (2, 70_000), (11, 300)])
@pytest.mark.parametrize("buckets", [1, 256, 2049, 70_000, 2**20, 2**20 + 1, 3_000_000])
def test_every_path_sorts_as_numpy(tables: int, items: int, buckets: int) -> None:
    named = skewed(tables, items, buckets)
    table = wh.lsh.bucket_sort(named, buckets)
    assert np.array_equal(table.order.numpy(), np.argsort(named.numpy(), axis=1, kind="stable"))
    assert torch.equal(table.inverse.gather(1, table.order), torch.arange(items).expand(tables, -1))
    for row, offsets in zip(named, table.offsets, strict=True):
        assert offsets[0] == 0
        assert torch.equal(offsets.diff(), torch.bincount(row, minlength=buckets))


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("items", [63, 64, 65, 65_535, 65_537, 300_001])
def test_all_codes_equal(items: int) -> None:
    for code, buckets in ((0, 1), (5, 7), (2**21, 2**21 + 1)):
        table = wh.lsh.bucket_sort(torch.full((items,), code), buckets)
        assert torch.equal(table.order, torch.arange(items))
        assert torch.equal(table.inverse, table.order)
        assert table.offsets[code] == 0
        assert (table.offsets[code + 1 :] == items).all()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("buckets", [2**20, 2**20 + 5])
def test_a_code_outside_of_many_buckets(buckets: int) -> None:
    named = codes(1, 100_000, below=buckets)
    for wrong in (buckets, -1, 2**62, -(2**63)):
        named[0, 77_777] = wrong
        with pytest.raises(IndexError, match=rf"^codes must be in \[0, {buckets}\), got {wrong}"):
            wh.lsh.bucket_sort(named, buckets)


# ---- look-ups ------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("tables", [1, 2, 3, 4, 5, 6, 7, 8, 11, 16])
def test_lists_of_every_number_of_tables_are_merged(tables: int) -> None:
    named = codes(tables, 3001, below=37, seed=tables)
    named[-1] = named[0]  # equal lists
    asked = codes(tables, 300, below=40, seed=1) % 37
    offsets, found = wh.lsh.bucket_query(wh.lsh.bucket_sort(named, 37), asked)
    for query in range(300):
        expected = (named == asked[:, query : query + 1]).any(0).nonzero().flatten()
        assert torch.equal(found[offsets[query] : offsets[query + 1]], expected)


def unions(order: np.ndarray, offsets: np.ndarray, asked: np.ndarray) -> list[list[int]]:
    """The distinct items of each query's buckets, ascending."""

    def union(query: np.ndarray) -> list[int]:
        buckets = [order[t, offsets[t, code] : offsets[t, code + 1]] for t, code in enumerate(query)]
        return np.unique(np.concatenate(buckets)).tolist()

    return [union(query) for query in asked.T]


def looked_up(isa: str, order: np.ndarray, offsets: np.ndarray, asked: np.ndarray) -> list[list[int]]:
    counts, found = _C.kernels.lsh_bucket_query(isa, order, offsets, asked)
    assert counts.sum() == len(found)
    return [part.tolist() for part in np.split(found, counts.cumsum()[:-1])]


@pytest.mark.parametrize("sizes", [(0, 1), (0, 9), (7, 18), (15, 17), (30, 34), (0, 100), (500, 3000)])
@pytest.mark.parametrize("tables", [1, 2, 3, 5, 8, 13])
def test_lists_of_every_length_are_merged(isa: str, tables: int, sizes: tuple[int, int]) -> None:
    random = np.random.default_rng(tables)
    counts = random.integers(*sizes, (tables, 20), endpoint=True)
    items = max(1, int(counts.sum(1).max()))
    offsets = np.concatenate([np.zeros((tables, 1), np.int64), counts.cumsum(1)], 1)
    order = np.zeros((tables, items), np.int64)
    for below in (items + 1, 3 * items + 5, 2**31 - 1):
        numbers = np.arange(below) if below < 10**6 else np.unique(random.integers(0, below, 2 * items))
        for t, code in itertools.product(range(tables), range(20)):
            part = order[t, offsets[t, code] : offsets[t, code + 1]]
            part[:] = np.sort(random.permutation(numbers)[: len(part)])
        asked = random.integers(0, 20, (tables, 70))
        assert looked_up(isa, order, offsets, asked) == unions(order, offsets, asked)


@pytest.mark.parametrize("large", [2**31 - 2, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 3, 2**62, -1, -(2**31)])
@pytest.mark.parametrize("place", [0, 7, 8, 16, 39])
def test_numbers_of_any_size_are_looked_up(isa: str, place: int, large: int) -> None:
    order = np.arange(120, dtype=np.int64).reshape(3, 40)
    order[1, place] = large
    order.sort(1)
    offsets = np.array([[0, 40]] * 3)
    assert looked_up(isa, order, offsets, np.zeros((3, 2), np.int64)) == [np.unique(order).tolist()] * 2


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("place", [0, 63, 64, 999])
def test_a_query_outside_is_found_wherever_it_is(place: int) -> None:
    table = wh.lsh.bucket_sort(codes(3, 500, below=9), 9)
    asked = codes(3, 1000, below=9)
    asked[2, place] = 9
    with pytest.raises(IndexError, match=r"^query_codes must be in \[0, 9\), got 9"):
        wh.lsh.bucket_query(table, asked)


@pytest.mark.big
def test_a_table_of_more_than_two_to_the_31_items() -> None:
    """Pages that nobody writes take no memory, so that only the addresses are large."""
    items = 2**31 + 100
    order = torch.from_numpy(np.zeros((1, items), np.int64))
    order[0, -50:] = torch.arange(items - 50, items)
    offsets = torch.tensor([[0, 0, items - 50, items]])
    table = wh.lsh.BucketTable(order, order, offsets)
    starts, found = wh.lsh.bucket_query(table, torch.tensor([[2, 0]]))
    assert starts.tolist() == [0, 50, 50]
    assert torch.equal(found, order[0, -50:])


# ---- goldens -------------------------------------------------------------------------------------------------------
def digest(*parts: Tensor) -> str:
    """A hash of all values."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part.contiguous().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()[:16]


def mixed(count: int, below: int, seed: int) -> Tensor:
    """Codes that depend on no generator of torch or NumPy."""
    numbers = np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    numbers ^= numbers >> np.uint64(29)
    return torch.from_numpy((numbers * np.uint64(0xBF58476D1CE4E5B9) >> np.uint64(33)).astype(np.int64) % below)


def test_golden_tables_and_sums() -> None:
    table = wh.lsh.bucket_sort(mixed(4000, 300, 1).view(4, 1000), 300)
    assert digest(*table) == "1f3dd5cac5f889bb"
    assert digest(*wh.lsh.bucket_query(table, mixed(80, 300, 2).view(4, 20))) == "df5da69a32dc2e40"
    x = (mixed(6000, 2000, 3) - 1000).view(1, 200, 30)
    named = mixed(1600, 9, 4).view(1, 8, 200) - 1
    for dtype, expected in (
        (torch.float32, "289b0a78e700cbe6"),
        (torch.float64, "31eec8ffda3c6521"),
        (torch.float16, "dc09498bcb44523d"),
        (torch.bfloat16, "aafaa518aad64a60"),
    ):
        sums = wh.lsh.bucket_sum((x / 7.0).to(dtype).unsqueeze(1), named, 8)
        assert digest(sums, wh.lsh.bucket_gather_mean(sums, named)) == expected


def test_golden_order_of_vectors() -> None:
    x = (mixed(2 * 500 * 24, 2001, 5) - 1000).float().view(2, 500, 24)
    assert digest(*wh.lsh.sort_lsh(x, wh.lsh.random_planes(24, 7, seed=3, kind="rademacher"))) == "f6934f6f60764f0a"
