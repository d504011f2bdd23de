# SPDX-License-Identifier: Apache-2.0
"""Every public function against its definition, bit for bit, over widths, sizes, k, masks and adversarial databases."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import warphash as wh
from torch import Tensor
from warphash.hamming import reference

from .samples import REAL, codes, mask, values

ham = wh.hamming
WIDTHS = (*range(21), 31, 32, 33, 64, 130)
# Around a vector's lanes, a group of codes, a tile and a part of the database.
DATABASE_SIZES = (0, 1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 500)
KS = (0, 1, 10, 41, 100, 600)
NARROW = (1, 4, 8, 17, 33)


def same(got: Any, expected: Any) -> None:
    """Asserts equal values, dtypes and shapes."""
    got, expected = (x if isinstance(x, tuple) else (x,) for x in (got, expected))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


# ---- pack and unpack ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("bits", [0, 1, 7, 8, 9, 15, 16, 31, 33, 63, 64, 65, 130])
def test_pack_is_the_definition(dtype: torch.dtype, bits: int) -> None:
    x = torch.randint(-3, 4, (11, bits))
    x = (x if dtype.is_signed else x.abs()).to(dtype)
    for threshold in (0.0, 1.0, 0.5) if dtype == torch.bool else (0.0, 1.0, 0.5, -2.0, 2.5, math.inf, -math.inf, 1, -1):
        same(ham.pack(x, threshold), reference.pack(x, threshold))


@pytest.mark.parametrize("dtype", [dtype for dtype in REAL if dtype.is_floating_point], ids=str)
def test_pack_of_special_values(dtype: torch.dtype) -> None:
    x = torch.tensor([math.nan, -0.0, 0.0, math.inf, -math.inf, -math.nan, 1e-30, -1e-30]).to(dtype)
    tiny = torch.tensor([1e-30, -1e-30]).to(dtype)
    expected = [False, True, True, True, False, False, True, bool(tiny[1] >= 0)]
    assert ham.unpack(ham.pack(x), 8).tolist() == expected
    assert ham.unpack(ham.pack(x, math.inf), 8).tolist() == [i == 3 for i in range(8)]
    assert ham.unpack(ham.pack(x, -math.inf), 8).tolist() == [i not in (0, 5) for i in range(8)]


def test_pack_compares_in_the_dtype_of_the_values() -> None:
    assert ham.pack(torch.tensor([0.1] * 8), 0.1).item() == 255  # 0.1 in float32 is above 0.1 in float64
    assert ham.pack(torch.tensor([0.1] * 8).half(), 0.1).item() == 255  # 0.1 in float16 is below 0.1 in float64
    assert ham.pack(torch.tensor([0.1], dtype=torch.float64), math.nextafter(0.1, 1)).item() == 0


def test_pack_of_large_integers_is_exact() -> None:
    big = torch.tensor([2**62 + 1, 2**62 - 1, -(2**63), 2**63 - 1])
    assert ham.unpack(ham.pack(big, 2**62), 4).tolist() == [True, False, False, True]
    unsigned = torch.tensor([2**63, 2**63 - 1, 2**64 - 1, 0], dtype=torch.uint64)
    assert ham.unpack(ham.pack(unsigned, 2**63), 4).tolist() == [True, False, True, False]
    assert ham.unpack(ham.pack(torch.tensor([-1, 0, 1, 2], dtype=torch.int8), 0.5), 4).tolist() == [
        False,
        False,
        True,
        True,
    ]
    assert ham.unpack(ham.pack(big, 2**62 + 1), 4).tolist() == [True, False, False, True]
    assert ham.unpack(ham.pack(big, 2**62 + 2), 4).tolist() == [False, False, False, True]


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_pack_of_eight_bit_floats(name: str) -> None:
    dtype = getattr(torch, name)
    x = torch.tensor([-2.0, -0.5, -0.0, 0.0, 0.25, 0.5, 1.0, math.nan]).to(dtype)
    assert ham.unpack(ham.pack(x), 8).tolist() == [False, False, True, True, True, True, True, False]
    assert ham.unpack(ham.pack(x, 0.5), 8).tolist() == [False] * 5 + [True, True, False]


def test_pack_keeps_leading_dimensions_and_pads_with_zeros() -> None:
    x = torch.ones(2, 3, 1, 13)
    packed = ham.pack(x)
    assert packed.shape == (2, 3, 1, 2)
    assert packed.unique().tolist() == [0b00011111, 255]
    assert ham.pack(torch.ones(3)).tolist() == [7]


def test_bit_order() -> None:
    """Bit j of a code is bit j % 8 of byte j // 8."""
    for j in range(24):
        x = torch.full((24,), -1.0)
        x[j] = 1.0
        assert ham.pack(x).tolist() == [1 << j % 8 if byte == j // 8 else 0 for byte in range(3)]


@pytest.mark.parametrize("bytes_", WIDTHS)
def test_unpack_is_the_definition(bytes_: int) -> None:
    packed = codes(9, bytes_)
    for bits in {0, 1, 8 * bytes_ // 2, max(0, 8 * bytes_ - 1), 8 * bytes_}:
        if bits <= 8 * bytes_:
            same(ham.unpack(packed, bits), reference.unpack(packed, bits))


# ---- Searches over widths -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("bytes_", WIDTHS)
def test_all_functions_at_every_width(bytes_: int) -> None:
    q, d = codes(6, bytes_, 1), codes(77, bytes_, 2)
    shared, own = mask(77), mask(6, 77)
    same(ham.cdist(q, d), reference.cdist(q, d))
    for allowed in (None, shared, own):
        for k in (0, 1, 10, 100):
            same(ham.topk(q, d, k, mask=allowed), reference.topk(q, d, k, allowed))
            same(ham.jaccard_topk(q, d, k, mask=allowed), reference.jaccard_topk(q, d, k, allowed))
        for radius in {0, 1, 4 * bytes_ - 2, 4 * bytes_, 8 * bytes_, 8 * bytes_ + 5}:
            if radius >= 0:
                same(ham.range_search(q, d, radius, mask=allowed), reference.range_search(q, d, radius, allowed))
        same(ham.histogram(q, d, mask=allowed), reference.histogram(q, d, allowed))
    for bits in {8 * bytes_, max(0, 8 * bytes_ - 3)}:
        weights = values(6, bits)
        if (bits + 7) // 8 == bytes_:
            same(ham.asymmetric_topk(weights, d, 10), reference.asymmetric_topk(weights, d, 10))


# ---- Searches over sizes, k and masks -------------------------------------------------------------------------------
@pytest.mark.parametrize("count", DATABASE_SIZES)
@pytest.mark.parametrize("k", KS)
def test_topk_over_sizes(count: int, k: int) -> None:
    for bytes_ in NARROW:
        q, d = codes(3, bytes_, 1), codes(count, bytes_, 2)
        same(ham.topk(q, d, k), reference.topk(q, d, k))
        same(ham.jaccard_topk(q, d, k), reference.jaccard_topk(q, d, k))
        weights = values(3, 8 * bytes_)
        same(ham.asymmetric_topk(weights, d, k), reference.asymmetric_topk(weights, d, k))


@pytest.mark.parametrize("queries", [0, 1, 2, 3, 5, 8, 33, 130])
def test_topk_over_query_counts(queries: int) -> None:
    for bytes_ in (8, 12, 32):
        q, d = codes(queries, bytes_, 1), codes(700, bytes_, 2)
        same(ham.topk(q, d, 10), reference.topk(q, d, 10))
        same(ham.range_search(q, d, 3 * bytes_), reference.range_search(q, d, 3 * bytes_))
        same(ham.histogram(q, d), reference.histogram(q, d))
        same(ham.jaccard_topk(q, d, 10), reference.jaccard_topk(q, d, 10))
        weights = values(queries, 8 * bytes_)
        same(ham.asymmetric_topk(weights, d, 10), reference.asymmetric_topk(weights, d, 10))


def _masks(queries: int, count: int) -> dict[str, Tensor]:
    one = torch.zeros(count, dtype=torch.bool)
    one[count // 2] = True
    rows = mask(queries, count)
    rows[0] = False
    return {
        "shared": mask(count),
        "per query, one row of nothing": rows,
        "nothing": torch.zeros(count, dtype=torch.bool),
        "everything": torch.ones(queries, count, dtype=torch.bool),
        "one code": one,
        "expanded": mask(count).expand(queries, count),
    }


@pytest.mark.parametrize("kind", _masks(1, 2))
@pytest.mark.parametrize("k", KS)
def test_masks(kind: str, k: int) -> None:
    for bytes_ in (4, 8, 19):
        q, d = codes(4, bytes_, 1), codes(333, bytes_, 2)
        allowed = _masks(4, 333)[kind]
        same(ham.topk(q, d, k, mask=allowed), reference.topk(q, d, k, allowed))
        same(ham.jaccard_topk(q, d, k, mask=allowed), reference.jaccard_topk(q, d, k, allowed))
        same(
            ham.range_search(q, d, 3 * bytes_ + k, mask=allowed), reference.range_search(q, d, 3 * bytes_ + k, allowed)
        )
        same(ham.histogram(q, d, mask=allowed), reference.histogram(q, d, allowed))


# ---- Adversarial databases ------------------------------------------------------------------------------------------
def _databases(count: int) -> dict[str, tuple[Tensor, Tensor]]:
    q = codes(3, 8, 1)
    spread = codes(count, 8, 2)
    order = torch.argsort(reference.cdist(q[:1], spread)[0], stable=True)
    far = (~q[:1]).repeat(count, 1)
    far[-5:] = q[0]
    return {
        "all equal": (q, spread[:1].repeat(count, 1)),
        "two values": (q, spread[:2].repeat(count // 2, 1)),
        "nearest last": (q, spread[order.flip(0)]),
        "nearest first": (q, spread[order]),
        "few near ones at the end": (q, far),
        "farthest": (q, (~q[:1]).repeat(count, 1)),
        "zeros": (torch.zeros(3, 8, dtype=torch.uint8), torch.zeros(count, 8, dtype=torch.uint8)),
    }


@pytest.mark.parametrize("kind", _databases(2))
@pytest.mark.parametrize("count", [64, 3000])
@pytest.mark.parametrize("k", [1, 10, 100, 5000])
def test_adversarial_order_and_ties(kind: str, count: int, k: int) -> None:
    q, d = _databases(count)[kind]
    same(ham.topk(q, d, k), reference.topk(q, d, k))
    same(ham.jaccard_topk(q, d, k), reference.jaccard_topk(q, d, k))
    for radius in (0, 20, 64):
        same(ham.range_search(q, d, radius), reference.range_search(q, d, radius))
    same(ham.histogram(q, d), reference.histogram(q, d))
    weights = 2.0 * ham.unpack(q, 64) - 1
    same(ham.asymmetric_topk(weights, d, k), reference.asymmetric_topk(weights, d, k))


def test_parts_of_the_database_are_merged_by_index() -> None:
    """More codes than one part holds, equal in every part."""
    q, d = codes(2, 4, 1), codes(97, 4, 2).repeat(400, 1)
    same(ham.topk(q, d, 1000), reference.topk(q, d, 1000))
    same(ham.histogram(q, d), reference.histogram(q, d))
    same(ham.range_search(q, d, 9), reference.range_search(q, d, 9))


# ---- Asymmetric scores and Jaccard ----------------------------------------------------------------------------------
def test_scores_of_special_queries() -> None:
    d = codes(50, 2)
    for weights in (
        torch.zeros(1, 16),
        torch.full((1, 16), -0.0),
        torch.tensor([[1e38, -1e38] * 8]),
        torch.tensor([[3e38] * 16]),  # overflows to infinities of both signs, whose sums are NaN
        torch.tensor([[1e-42] * 16]),
        torch.tensor([[2.0**24, 1.0] * 8]),  # the order of additions shows
    ):
        scores, indices = ham.asymmetric_topk(weights, d, 60, validate=False)
        expected, order = reference.asymmetric_topk(weights, d, 60)
        lost = expected.isnan()  # the reference sorts them last
        same((scores, indices), (expected.masked_fill(lost, -math.inf), order.masked_fill(lost, -1)))
        assert not (scores == 0).logical_and(scores.signbit()).any()  # -0 is +0


def test_a_score_of_nan_is_never_returned() -> None:
    weights = torch.tensor([[math.nan] + [1.0] * 15])
    scores, indices = ham.asymmetric_topk(weights, codes(20, 2), 4, validate=False)
    assert scores.tolist() == [[-math.inf] * 4]
    assert indices.tolist() == [[-1] * 4]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_scores_are_computed_in_float32(dtype: torch.dtype) -> None:
    weights, d = values(3, 44).to(dtype), codes(80, 6)
    scores, indices = ham.asymmetric_topk(weights, d, 9)
    assert scores.dtype == torch.float32
    same((scores, indices), ham.asymmetric_topk(weights.float(), d, 9))


def test_jaccard_of_empty_codes_is_one() -> None:
    empty, some = torch.zeros(1, 3, dtype=torch.uint8), torch.tensor([[0, 0, 0], [1, 0, 0]], dtype=torch.uint8)
    similarities, indices = ham.jaccard_topk(empty, some, 2)
    assert similarities.tolist() == [[1.0, 0.0]]
    assert indices.tolist() == [[0, 1]]


def test_short_rows_end_as_documented() -> None:
    q, d = codes(1, 3), codes(1, 3)
    assert ham.topk(q, d, 2)[0].tolist() == [[0, 2**31 - 1]]
    assert ham.topk(q, d, 2)[1].tolist() == [[0, -1]]
    assert ham.jaccard_topk(q, d, 2)[0].tolist() == [[1.0, -math.inf]]
    assert ham.asymmetric_topk(values(1, 24), d, 2)[1].tolist() == [[0, -1]]
    assert ham.asymmetric_topk(values(1, 24), d, 2)[0][0, 1] == -math.inf


def test_counts_take_anything_with_an_index() -> None:
    import numpy as np

    q, d = codes(2, 3), codes(9, 3)
    same(ham.topk(q, d, np.int64(4)), ham.topk(q, d, 4))
    same(ham.range_search(q, d, np.uint8(9)), ham.range_search(q, d, 9))
    same(ham.range_search(q, d, 2**70), ham.range_search(q, d, 24))


@pytest.mark.big
def test_more_than_two_billion_bytes() -> None:
    """Offsets beyond 2^31: a database of 2.2e9 bytes whose last codes are the nearest."""
    d = torch.zeros(275_000_001, 8, dtype=torch.uint8)
    q = torch.full((1, 8), 255, dtype=torch.uint8)
    d[-3:] = 255
    distances, indices = ham.topk(q, d, 4)
    assert distances.tolist() == [[0, 0, 0, 64]]
    assert indices.tolist() == [[274_999_998, 274_999_999, 275_000_000, 0]]
    assert ham.histogram(q, d)[0, [0, 64]].tolist() == [3, 274_999_998]
